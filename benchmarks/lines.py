"""The ratio table as data: what is measured against what, and the ratio that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import Contender, Sample

Value = Callable[[Sample], float]
QUICK = frozenset({"1a", "1b", "2a", "3a", "4a", "5a", "5b", "6a", "7a", "8a", "10a", "10b", "11a", "12b"})


def rate(sample: Sample) -> float:
    """Units per second."""
    return sample.rate


def cpu_rate(sample: Sample) -> float:
    """Units per second of processor time."""
    return sample.cpu_rate


def peak(sample: Sample) -> float:
    """Bytes of memory over idle."""
    return float(sample.peak_bytes)


def shown(sample: Sample) -> float:
    """What the pass itself returned."""
    return sample.units


def microseconds(sample: Sample) -> float:
    """Microseconds of processor time per unit; for one process equal to the time on a free machine."""
    return 1e6 / sample.cpu_rate


def wall_microseconds(sample: Sample) -> float:
    """Microseconds per unit."""
    return 1e6 / sample.rate


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: ``value`` of ``ours`` over the best of ``rivals``, divided by ``scale``.

    Without rivals the value itself is meant.  ``least`` tells whether the gate is a lower bound.
    """

    number: str
    what: str
    ours: Contender
    rivals: tuple[Contender, ...] = ()
    gate: float = 1.0
    least: bool = True
    value: Value = rate
    scale: float = 1.0
    unit: str = "x"
    ranks: int = 1

    def ratio(self, ours: Sample, rivals: list[Sample]) -> float:
        """Return the number that the gate is about."""
        best = max(map(self.value, rivals)) if rivals else 1.0
        return self.value(ours) / best / self.scale

    @property
    def quick(self) -> bool:
        """Whether the line belongs to a minute's check."""
        return self.number in QUICK

    def holds(self, ratio: float) -> bool:
        """Return whether a ratio is good enough."""
        return ratio >= self.gate if self.least else ratio <= self.gate


def _here(data: str, label: str = "here", **arguments: Any) -> Contender:
    return Contender("read_here", data, arguments, label)


def _arrow(data: str) -> tuple[Contender, ...]:
    return (
        Contender("pyarrow_batches", data),
        Contender("pyarrow_batches", data, {"pre_buffer": False}, "pyarrow without pre_buffer"),
    )


def _product(ranks: int, shown: str, label: str, **keys: Any) -> Contender:
    named = {name.replace("__", "."): value for name, value in keys.items()}
    return Contender("product", "dlrm", {"ranks": ranks, "keys": named, "shown": shown}, label)


def _synthetic(ranks: int, step_s: float, steps: int) -> Contender:
    return _product(
        ranks,
        "train_au_mean_percentage",
        f"{ranks} ranks",
        workflow__generate_data="false",
        workflow__evaluation="false",
        dataset__format="synthetic",
        dataset__num_samples_per_file=steps * ranks,
        dataset__num_files_train=1,
        reader__batch_size=1,
        train__epochs=1,
        train__computation_time=step_s,
    )


_GROUP_ROWS = 16_384
_COLUMNS = "[{name: a, dtype: float32, size: 40}]"


def _job(ranks: int, shown: str, *, generate: bool, files: int, rows: int = 131_072, steps: int = -1) -> Contender:
    return _product(
        ranks,
        shown,
        f"{ranks} ranks" if steps < 0 else f"{files} files",
        workflow__generate_data=str(generate).lower(),
        workflow__train=str(not generate).lower(),
        workflow__evaluation="false",
        dataset__data_folder=f"{'made' if generate else 'read'}-{files}-{ranks}",
        dataset__num_files_train=files,
        dataset__num_files_eval=0,
        dataset__num_subfolders_train=0,
        dataset__num_samples_per_file=rows,
        dataset__parquet__columns=_COLUMNS,
        dataset__parquet__row_group_size=_GROUP_ROWS,
        # What compresses takes processor time to decode; random bytes are stored as they are, and copied.
        dataset__compression="gzip" if steps < 0 else "none",
        **({"dataset__compression_level": 1} if steps < 0 else {}),
        dataset__parquet__compressibility=0.5 if steps < 0 else 0,
        reader__batch_size=_GROUP_ROWS if steps < 0 else 1_024,  # or ranks wait for the one whose step needs a block
        reader__read_threads=0,
        reader__write_threads=0,
        reader__evict_cache="false",
        train__epochs=5 if steps < 0 else 1,
        train__total_training_steps=steps,
        train__computation_time=0,
    )


def _reading() -> list[Line]:
    best = (
        *_arrow("dlrm"),
        Contender("polars_batches"),
        Contender("polars_whole"),
        Contender("duckdb_batches"),
    )
    official = _here("dlrm200", mode="row_group")
    return [
        Line("1a", "DLRM-like epoch, against the best of pyarrow, polars, duckdb", _here("dlrm"), best, 0.9),
        Line("1b", "DLRM-like epoch, against raw pread", _here("dlrm"), (Contender("raw_chunks"),), 0.6),
        Line("2a", "40 of 200 columns, against pyarrow's iter_batches", official, _arrow("dlrm200")[:1], 2.0),
        Line("2b", "40 of 200 columns, against pyarrow's best setting", official, _arrow("dlrm200"), 2.0),
        Line("3a", "fixed-size lists, against pyarrow", _here("lists", batch=1_024), _arrow("lists"), 4.0),
        Line("3b", "flux schema, against pyarrow", _here("flux", batch=8), _arrow("flux"), 4.0),
        *(
            Line(f"4{letter}", f"{data}, against pyarrow", _here(data), _arrow(data), 1.0)
            for letter, data in zip(
                "abcdef", ("dlrm-snappy", "dlrm-lz4", "dlrm-zstd", "dlrm-gzip", "texts", "nested"), strict=True
            )
        ),
    ]


def _loop() -> list[Line]:
    steps = Contender("steps_here", "one-column", {"loader": "direct"}, "here")
    worker = Contender("steps_here", "one-column", {"loader": "pytorch", "read_threads": 1}, "one worker")
    bounded: Mapping[str, Any] = {"least": False, "unit": "us"}
    au: Mapping[str, Any] = {"value": shown, "unit": "%"}
    return [
        Line("5a", "time of a step, in process", steps, (), 20, value=microseconds, **bounded),
        Line("5b", "time of a step, one PyTorch worker", worker, (), 300, value=wall_microseconds, **bounded),
        Line("6a", "AU without reading, 0.4 ms steps, 1 rank", _synthetic(1, 0.0004, 2_000), (), 95, **au),
        Line("6b", "AU without reading, 0.4 ms steps, 2 ranks", _synthetic(2, 0.0004, 2_000), (), 95, ranks=2, **au),
        Line("6c", "AU without reading, 5 ms steps, 2 ranks", _synthetic(2, 0.005, 200), (), 99, ranks=2, **au),
    ]


def _generating() -> list[Line]:
    def here(data: str, **arguments: Any) -> Contender:
        return Contender("generate_here", data, arguments, "generate")

    dictionary = Contender("pyarrow_writes", "dlrm", {"dictionary": True}, "pyarrow with dictionaries")
    record = Contender("upstream_record", "record", {}, "list of bytes with dictionary")
    return [
        Line("7a", "generator, DLRM-like, against pyarrow", here("dlrm"), (Contender("pyarrow_writes"),), 0.8),
        Line("7b", "generator, flux, against pyarrow", here("flux"), (Contender("pyarrow_writes", "flux"),), 0.8),
        Line(
            "7c", "generator to disk, against a plain write", here("dlrm", disk=True), (Contender("plain_write"),), 0.95
        ),
        Line("8a", "generator, DLRM-like, bytes per CPU s", here("dlrm", threads=0), (dictionary,), 5, value=cpu_rate),
        Line("8b", "generator, records, bytes per CPU s", here("record", threads=0), (record,), 10, value=cpu_rate),
    ]


def _scaling(help_s: float = 0.3) -> list[Line]:
    bounded: Mapping[str, Any] = {"least": False}
    group = 65_536 * 160
    trained = "train_throughput_mean_samples_per_second"
    many = _job(1, "runs", generate=False, files=1_000, rows=1_024, steps=1)
    few = _job(1, "runs", generate=False, files=10, rows=1_024, steps=1)
    one_help = Contender("command", "dlrm", {"arguments": ["-m", "dlio_benchmark.main", "--help"]}, "help")
    read = [_here(data) for data in ("groups-8", "groups-64")]
    write = [Contender("generate_here", data, {}, "generate") for data in ("groups-8", "groups-64")]
    memory: Mapping[str, Any] = {"value": peak, "scale": group, "unit": "row groups", **bounded}
    two: Mapping[str, Any] = {"value": shown, "ranks": 2}
    return [
        Line(
            "9a",
            "generation, 2 ranks against 1",
            _job(2, "generation", generate=True, files=8),
            (_job(1, "generation", generate=True, files=8),),
            1.8,
            **two,
        ),
        Line(
            "9b",
            "training, 2 ranks against 1",
            _job(2, trained, generate=False, files=8),
            (_job(1, trained, generate=False, files=8),),
            1.8,
            **two,
        ),
        Line("10a", "memory of reading 8 row groups", read[0], (), 3, **memory),
        Line("10b", "memory of reading 64 row groups", read[1], (), 3, **memory),
        Line("10c", "memory of writing 8 row groups", write[0], (), 3, **memory),
        Line("10d", "memory of writing 64 row groups", write[1], (), 3, **memory),
        Line("11a", "dlio_benchmark --help", one_help, (), help_s, value=lambda s: s.wall_s, unit="s", **bounded),
        Line(
            "11b", "a run of one step, 1,000 files against 10", many, (few,), 1.2, value=lambda s: s.wall_s, **bounded
        ),
    ]


def _shuffling() -> list[Line]:
    large, small = _here("dlrm", mode="row_group"), _here("dlrm-windows", mode="row_group")
    rows = _here("dlrm", "rows", mode="row_group", sample_shuffle="seed")
    groups = _here("dlrm", "row groups", mode="row_group", sample_shuffle="seed", shuffle_scope="row_group")
    windows = _here("dlrm-windows", "windows", mode="row_group", sample_shuffle="seed", shuffle_window=4)
    return [
        Line("12a", "shuffle of rows in row groups of 65,536, against none", rows, (large,), 0.5),
        Line("12b", "shuffle of row groups, against none", groups, (large,), 0.95),
        Line("12c", "shuffle in windows of 4 row groups of 8,192, against none", windows, (small,), 0.5),
    ]


def lines() -> list[Line]:
    """Return the whole table."""
    return [*_reading(), *_loop(), *_generating(), *_scaling(), *_shuffling()]
