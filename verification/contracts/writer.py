"""What every writer of Parquet data sets promises, judged by pyarrow and duckdb from the files alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.engine.generate import Writer, planned_files
from dlio_benchmark.plan.world import World
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage
from verification import oracle
from verification.evidence import Recorder

MakeWriter = Callable[[Workload, World], Writer]
Tree = Mapping[str, Any]

CODECS = ("none", "snappy", "gzip", "zstd", "lz4")
COLUMNS: Sequence[Mapping[str, Any]] = (
    {"name": "single", "dtype": "float32", "size": 3},
    {"name": "double", "dtype": "float64"},
    {"name": "text", "dtype": "string", "size": 12},
    {"name": "octets", "dtype": "binary", "size": 9},
    {"name": "flag", "dtype": "bool"},
    {"name": "values", "dtype": "list", "size": 5},
)
TYPES = {
    "single": "fixed_size_list<element: float not null>[3]",
    "double": "double",
    "text": "string",
    "octets": "binary",
    "flag": "bool",
    "values": "fixed_size_list<element: float not null>[5]",
}
DTYPE_OF = {str(column["name"]): str(column["dtype"]) for column in COLUMNS}


def workload_of(*, files: int = 2, rows: int = 40, codec: str = "none", group: int = 16, **parquet: Any) -> Workload:
    """Return a workload of small files with all the claimed types."""
    dataset: dict[str, Any] = {
        "format": "parquet",
        "num_files_train": files,
        "num_samples_per_file": rows,
        "compression": codec,
        "parquet": {"columns": list(COLUMNS), "row_group_size": group} | parquet,
    }
    return decode({"framework": "pytorch", "dataset": dataset}, strict=True).workload


def written(make: MakeWriter, workload: Workload, folder: Path, ranks: int = 1) -> list[Path]:
    """Write the data set of ``workload`` with so many ranks, one after the other, and return its files."""
    storage = LocalStorage(str(folder))
    for rank in range(ranks):
        writer = make(workload, World(rank, ranks))
        for file in planned_files(workload.dataset, World(rank, ranks)):
            for part in writer.parts(file):
                writer.write(part, storage)
    return sorted(folder.rglob("*.parquet"))


def every_chunk_has_the_codec(evidence: Recorder, make: MakeWriter, codec: str, folder: Path) -> None:
    """Hold that each column chunk of each file has the codec that was asked for."""
    paths = written(make, workload_of(codec=codec), folder)
    found = oracle.codecs(paths)
    evidence.hold(found.total(), what="column chunks looked at", at_least=2 * 3 * len(COLUMNS), unit="chunks")
    evidence.hold(found.total() - found[codec], what="chunks of another codec", at_most=0, unit="chunks")


def the_codec_changes_the_size(evidence: Recorder, make: MakeWriter, codec: str, folder: Path) -> None:
    """Hold that text, which has six random bits in eight, shrinks with a codec that can use it, chunk by chunk."""
    text = [{"name": "a", "dtype": "string", "size": 4000}, {"name": "b", "dtype": "string", "size": 4000}]
    plain, packed = (
        written(make, workload_of(codec=word, columns=text, compressibility=0.5), folder / word)
        for word in ("none", codec)
    )
    for name in ("a", "b"):
        before = sum(oracle.footer(path).needed([name]) for path in plain)
        after = sum(oracle.footer(path).needed([name]) for path in packed)
        evidence.hold(round(after / before, 3), what="stored bytes with the codec, against without", at_most=0.9)


def row_groups_are_exact(evidence: Recorder, make: MakeWriter, rows: int, group: int, folder: Path) -> None:
    """Hold that all row groups but the last have exactly the configured rows, and the last the rest."""
    wanted = tuple(min(group, rows - start) for start in range(0, rows, group))
    for path in written(make, workload_of(rows=rows, group=group), folder):
        found = oracle.footer(path)
        evidence.equal(found.row_groups, wanted, what="rows of each row group")
        evidence.equal(found.rows, rows, what="rows of a file")


def types_are_those_configured(evidence: Recorder, make: MakeWriter, folder: Path) -> None:
    """Hold that the files' Arrow types are those of the configuration, in its order."""
    for path in written(make, workload_of(), folder):
        found = oracle.footer(path).types
        evidence.equal(list(found), list(TYPES), what="names of the columns")
        for name, kind in found.items():
            evidence.equal(kind, TYPES[name], what="type of a column")


def values_are_of_their_types(evidence: Recorder, make: MakeWriter, folder: Path) -> None:
    """Hold that values lie in their domain, use its width, and are not all the same."""
    for path in written(make, workload_of(rows=64), folder):
        rows = oracle.rows(path)
        evidence.equal(len(rows), 64, what="rows read")
        for name, check in _DOMAINS.items():
            problem = check([row[name] for row in rows])
            evidence.equal(problem, "", what=f"values of {DTYPE_OF[name]}")


def _numbers(values: Iterable[float], least_distinct: int) -> str:
    values = list(values)
    if not all(isinstance(value, float) and math.isfinite(value) for value in values):
        return "not all are finite floats"
    return "" if len(set(values)) >= least_distinct else f"{len(set(values))} different ones of {len(values)}"


def _vectors(size: int) -> Callable[[Sequence[Any]], str]:
    def check(values: Sequence[Any]) -> str:
        if any(len(value) != size for value in values):
            return f"not all have {size} elements"
        return _numbers([number for value in values for number in value], len(values) * size * 9 // 10)

    return check


def _doubles(values: Sequence[Any]) -> str:
    wide = [value for value in values if isinstance(value, float) and float(np.float32(value)) != value]
    return _numbers(values, len(values)) or ("" if len(wide) > len(values) // 2 else "no more precise than float32")


def _texts(kind: type[str] | type[bytes], size: int) -> Callable[[Sequence[Any]], str]:
    def check(values: Sequence[Any]) -> str:
        if not all(isinstance(value, kind) and len(value) == size for value in values):
            return f"not all are {kind.__name__} of length {size}"
        return "" if len(set(values)) == len(values) else "some repeat"

    return check


def _flags(values: Sequence[Any]) -> str:
    share = Counter(values)
    return "" if set(share) == {False, True} and min(share.values()) > len(values) // 8 else f"{dict(share)}"


_DOMAINS: Mapping[str, Callable[[Sequence[Any]], str]] = {
    "single": _vectors(3),
    "double": _doubles,
    "text": _texts(str, 12),
    "octets": _texts(bytes, 9),
    "flag": _flags,
    "values": _vectors(5),
}


def rows_are_all_different(evidence: Recorder, make: MakeWriter, folder: Path) -> None:
    """Hold that no row of the data set occurs twice, in a row group, in a file or in two files, and engines agree."""
    seen: Counter[str] = Counter()
    for path in written(make, workload_of(files=3), folder):
        rows = oracle.rows(path)
        seen.update(repr(row) for row in rows)
        evidence.equal(oracle.first_difference(oracle.rows_by_duckdb(path), rows), "", what="duckdb against pyarrow")
    evidence.hold(seen.total() - len(seen), what="rows that occur again", at_most=0, unit="rows")


def the_same_bytes_for_any_ranks(evidence: Recorder, make: MakeWriter, ranks: int, folder: Path) -> None:
    """Hold that several ranks write the files of one, byte for byte, and that a second time gives them again."""
    workload = workload_of(files=5)
    alone = _bodies(written(make, workload, folder / "alone"), folder / "alone")
    together = _bodies(written(make, workload, folder / "together", ranks), folder / "together")
    evidence.equal(sorted(together), sorted(alone), what="names of the files")
    differing = [name for name, body in alone.items() if together.get(name) != body]
    evidence.equal(differing, [], what="files that depend on the ranks or differ when written again")
    evidence.equal(len(set(alone.values())), len(alone), what="files with a content of their own")


def _bodies(paths: Iterable[Path], folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


# -- partitions -----------------------------------------------------------------------------------------------------
PARTITIONS: Mapping[str, tuple[Column, str]] = {
    "plain": (Column("part", ColumnType.STRING, 4), "part"),
    "slash": (Column("pa/rt", ColumnType.BOOL), "pa%2Frt"),
    "percent": (Column("50% off", ColumnType.INT8), "50%25%20off"),
}
PARTED = 2 * 64
"""Rows of the data set in partitions."""


def partitions_hold_every_row_once(evidence: Recorder, make: MakeWriter, value: str, folder: Path) -> None:
    """Hold that hive folders, in whose names everything is escaped, hold each row once and lead nowhere else."""
    _, escaped = PARTITIONS[value]
    whole, parted = partitioned(value, parted=False), partitioned(value, parted=True)
    paths = written(make, parted, folder / "parted")
    evidence.hold(len(paths), what="files in partitions", at_least=4, unit="files")
    for path in paths:
        split, part, _ = path.relative_to(folder / "parted").parts[:3]
        evidence.equal(len(path.relative_to(folder / "parted").parts), 3, what="folders down to a file")
        evidence.equal((split, part.partition("=")[0]), ("train", escaped), what="names of the folders")
        evidence.equal(list(oracle.footer(path).types), list(TYPES), what="columns in a partition")
    one = [repr({name: row[name] for name in TYPES}) for row in _rows(written(make, whole, folder / "whole"))]
    evidence.equal(len(one), PARTED, what="rows of the data set")
    evidence.equal(sorted(map(repr, _rows(paths))) == sorted(one), True, what="rows are those without partitions")
    evidence.cover("value", value)


def _rows(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [row for path in paths for row in oracle.rows(path)]


def partitioned(value: str, *, parted: bool, files: int = 2, rows: int = 64) -> Workload:
    """Return a workload with a column of `PARTITIONS`, parted by it or not; a configuration may not have its name."""
    column, _ = PARTITIONS[value]
    partition = column.name if parted else None
    base = workload_of(files=files, rows=rows)
    parquet = replace(base.dataset.parquet, columns=(column, *base.dataset.parquet.columns), partition_by=partition)
    return replace(base, dataset=replace(base.dataset, parquet=parquet))


class _StoppedError(Exception):
    """The storage gave up in the middle of a file."""


class _Stopping(MemoryStorage):
    """A storage whose n-th write fails."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def open_output(self, path: str) -> Any:
        out, storage = super().open_output(path), self
        write = out.write

        def counted(chunk: bytes | memoryview) -> int:
            storage.left -= 1
            if storage.left < 0:
                raise _StoppedError
            return write(chunk)

        out.write = counted  # type: ignore[method-assign]
        return out


def an_interrupted_file_has_no_name(evidence: Recorder, make: MakeWriter) -> None:
    """Hold that a file whose writing stops at any write is not there under its final name."""
    large = [{"name": "large", "dtype": "float64", "size": 4096}]
    workload = workload_of(files=1, rows=400, group=40, columns=large)
    (file,) = planned_files(workload.dataset, World())
    for writes in range(200):
        storage = _Stopping(writes)
        try:
            make(workload, World()).write(file, storage)
        except _StoppedError:
            evidence.equal(sorted(storage.files), [], what="files seen after an interruption")
            continue
        evidence.hold(writes, what="writes after which it was interrupted", at_least=2, unit="writes")
        evidence.equal(sorted(storage.files), [file.path], what="files seen after a whole write")
        return
    raise AssertionError("the file is never whole")


class WriterContract(ABC):
    """Subclass this, say `make`, and pytest runs the contract on your writer."""

    @abstractmethod
    def make(self, workload: Workload, world: World) -> Writer:
        """Return the writer under test, as one rank of ``world`` has it."""

    def test_every_chunk_has_the_codec(self, evidence: Recorder, tmp_path: Path) -> None:
        for codec in CODECS:
            every_chunk_has_the_codec(evidence, self.make, codec, tmp_path / codec)

    def test_row_groups_are_exact(self, evidence: Recorder, tmp_path: Path) -> None:
        for rows, group in ((48, 16), (40, 16), (10, 16), (3, 1), (1, 5)):
            row_groups_are_exact(evidence, self.make, rows, group, tmp_path / f"{rows}-{group}")

    def test_types_are_those_configured(self, evidence: Recorder, tmp_path: Path) -> None:
        types_are_those_configured(evidence, self.make, tmp_path)

    def test_values_are_of_their_types(self, evidence: Recorder, tmp_path: Path) -> None:
        values_are_of_their_types(evidence, self.make, tmp_path)

    def test_rows_are_all_different(self, evidence: Recorder, tmp_path: Path) -> None:
        rows_are_all_different(evidence, self.make, tmp_path)

    def test_the_same_bytes_for_any_ranks(self, evidence: Recorder, tmp_path: Path) -> None:
        for ranks in (2, 3):
            the_same_bytes_for_any_ranks(evidence, self.make, ranks, tmp_path / str(ranks))

    def test_an_interrupted_file_has_no_name(self, evidence: Recorder) -> None:
        an_interrupted_file_has_no_name(evidence, self.make)
