"""What is measured, one function per contender: each returns a pass that can be made again and again.

A pass returns how many units (rows or bytes) it made.  Imports stand in the functions, so that a process loads what
its contender needs and nothing else.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.datasets import BATCH, DataSet, write_table

Pass = Callable[[], float]


def read_here(data: DataSet, root: str, *, loader: str | None = None, batch: int = BATCH, **reader: Any) -> Pass:
    """Read an epoch through the training loop, as the product does by default."""
    import numpy as np

    from dlio_benchmark.clock import RealClock
    from dlio_benchmark.comm import Solo
    from dlio_benchmark.common.enumerations import (
        DataLoaderType,
        DatasetType,
        FormatType,
        ReadMode,
        Shuffle,
        ShuffleScope,
    )
    from dlio_benchmark.config.duration import Duration
    from dlio_benchmark.config.model import Dataset, Parquet, ReaderSection, Workload
    from dlio_benchmark.engine.parts import loader_of, reader_of
    from dlio_benchmark.engine.train import Compute, run_pass
    from dlio_benchmark.engine.train import Pass as Todo
    from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
    from dlio_benchmark.storage.local import LocalStorage

    mode = ReadMode(reader.pop("mode", "default"))
    shuffled = Shuffle(reader.get("sample_shuffle", "off"))
    scope = ShuffleScope(reader.get("shuffle_scope", "window"))
    section = ReaderSection(
        data_loader=None if loader is None else DataLoaderType(loader),
        read_threads=reader.get("read_threads"),
        batch_size=batch,
        sample_shuffle=shuffled,
        shuffle_scope=scope,
        shuffle_window=reader.get("shuffle_window", 1),
    )
    parquet = Parquet(columns=data.columns, row_group_size=data.group_rows, read_mode=mode)
    workload = Workload(dataset=Dataset(format=FormatType.PARQUET, parquet=parquet), reader=section)
    clock = RealClock()
    files = reader_of(workload, LocalStorage(f"{root}/{data.name}"), clock)
    chosen = loader_of(workload, files, clock=clock, rank=0, ranks_on_host=1).loader
    compute = Compute(Duration(), clock, np.random.default_rng(0))
    key = None if shuffled is Shuffle.OFF else 7
    plan = EpochPlan(np.full(data.files, data.rows), batch, shuffling=Shuffling(samples=key, scope=scope))

    def one_pass() -> float:
        todo = Todo(1, DatasetType.TRAIN, plan, lambda number: f"{number}.parquet")
        phase = run_pass(todo, chosen, compute, clock=clock, comm=Solo())
        if phase.tally.bytes_requested > 1.02 * phase.tally.bytes_promised:
            raise AssertionError(phase.tally)
        return phase.tally.rows

    return one_pass


def steps_here(data: DataSet, root: str, **how: Any) -> Pass:
    """Make steps of 100 rows; the units are steps."""
    epoch = read_here(data, root, batch=100, mode="row_group", **how)
    return lambda: epoch() / 100


def pyarrow_batches(data: DataSet, root: str, *, pre_buffer: bool = True) -> Pass:
    """Iterate over record batches of the wanted columns, file by file."""
    import pyarrow.parquet as pq

    def one_pass() -> float:
        rows = 0
        for path in data.paths(root):
            with pq.ParquetFile(path, pre_buffer=pre_buffer) as file:
                for batch in file.iter_batches(BATCH, columns=list(data.wanted)):
                    rows += batch.num_rows
        return rows

    return one_pass


def polars_batches(data: DataSet, root: str) -> Pass:
    """Stream the wanted columns through polars."""
    import polars as pl

    def one_pass() -> float:
        frame = pl.scan_parquet(data.paths(root)).select(data.wanted)
        return float(sum(batch.height for batch in frame.collect_batches(chunk_size=BATCH, maintain_order=True)))

    return one_pass


def polars_whole(data: DataSet, root: str) -> Pass:
    """Collect the wanted columns with polars' streaming engine; all of them are in memory at the end."""
    import polars as pl

    return lambda: pl.scan_parquet(data.paths(root)).select(data.wanted).collect(engine="streaming").height


def duckdb_batches(data: DataSet, root: str) -> Pass:
    """Fetch the wanted columns from duckdb as record batches."""
    import duckdb

    connection = duckdb.connect()
    names = ", ".join(f'"{name}"' for name in data.wanted)

    def one_pass() -> float:
        query = connection.execute(f"SELECT {names} FROM read_parquet({data.paths(root)!r})")
        return float(sum(batch.num_rows for batch in query.to_arrow_reader(BATCH)))

    return one_pass


def raw_chunks(data: DataSet, root: str) -> Pass:
    """Read the bytes of the wanted chunks with pread into one buffer, adjacent chunks together."""
    import pyarrow.parquet as pq

    def runs(path: str) -> Iterator[tuple[int, int]]:
        metadata = pq.read_metadata(path)
        start = stop = 0
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(place)
                if chunk.path_in_schema.split(".")[0] not in data.wanted:
                    continue
                first = chunk.dictionary_page_offset or chunk.data_page_offset
                if first != stop or stop - start > 16 << 20:
                    if stop > start:
                        yield start, stop - start
                    start = stop = first
                stop += chunk.total_compressed_size
        yield start, stop - start

    known = {path: list(runs(path)) for path in data.paths(root)}
    memory = memoryview(bytearray(max(length for found in known.values() for _, length in found)))

    def one_pass() -> float:
        for path, found in known.items():
            fd = os.open(path, os.O_RDONLY)
            for start, length in found:
                os.preadv(fd, [memory[:length]], start)
            os.close(fd)
        return data.files * data.rows

    return one_pass


class _Null:
    """A storage that keeps nothing."""

    def open_output(self, _path: str) -> _Null:
        return self

    def write(self, chunk: bytes | memoryview) -> int:
        return memoryview(chunk).nbytes

    def __enter__(self) -> _Null:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def generate_here(data: DataSet, root: str, *, disk: bool = False, threads: int | None = None) -> Pass:
    """Generate and write one file to nowhere, or to the disk; the units are bytes of payload."""
    from dlio_benchmark.common.enumerations import Compression, DatasetType
    from dlio_benchmark.plan.generation import PlannedFile
    from dlio_benchmark.storage.local import LocalStorage

    writer = data.files_of(len(os.sched_getaffinity(0)) if threads is None else threads)
    payload = data.payload_bytes / data.files
    storage: Any = LocalStorage(f"{root}/written") if disk else _Null()

    names = (
        f"here-{os.getpid()}-{number}.parquet" for number in itertools.count()
    )  # replacing a file takes time of its own

    def one_pass() -> float:
        written = writer.write(PlannedFile(DatasetType.TRAIN, 0, next(names), data.rows), storage)
        if data.codec is Compression.NONE and written.bytes > 1.02 * payload:
            raise AssertionError(f"{written.bytes} bytes for a payload of {payload}")
        return payload

    return one_pass


def pyarrow_writes(data: DataSet, _root: str, *, dictionary: bool = False) -> Pass:
    """Write a table that was made before with pyarrow to nowhere, in the settings that are used here."""
    import pyarrow as pa

    table = data.table()

    def one_pass() -> float:
        more = {"use_dictionary": True, "write_statistics": True} if dictionary else {}
        write_table(data, table, pa.PythonFile(_Sink(), "w"), **more)
        return data.payload_bytes / data.files

    return one_pass


class _Sink:
    """A writable file for pyarrow that keeps nothing."""

    closed = False

    def write(self, chunk: Any) -> int:
        return memoryview(chunk).nbytes

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None


def plain_write(data: DataSet, root: str) -> Pass:
    """Write as many bytes as a file's payload to the disk, in pieces of 4 MiB, and force them down."""
    from benchmarks.datasets import random_bytes

    piece = random_bytes(4 << 20)
    payload = data.payload_bytes // data.files
    os.makedirs(f"{root}/written", exist_ok=True)
    names = (f"{root}/written/plain-{os.getpid()}-{number}" for number in itertools.count())

    def one_pass() -> float:
        fd = os.open(next(names), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        for start in range(0, payload, len(piece)):
            os.write(fd, piece[: payload - start])
        os.fsync(fd)
        os.close(fd)
        return payload

    return one_pass


def upstream_record(data: DataSet, _root: str) -> Pass:
    """Write records as lists of bytes with a dictionary, as the older generator does."""
    import pyarrow as pa

    from benchmarks.datasets import random_bytes

    size = data.columns[0].size
    values = pa.FixedSizeListArray.from_arrays(pa.array(random_bytes(size * data.rows), pa.uint8()), size)
    table = pa.table({"data": values.cast(pa.list_(pa.uint8()))})

    def one_pass() -> float:
        write_table(data, table, pa.PythonFile(_Sink(), "w"), use_dictionary=True, write_statistics=True)
        return float(size * data.rows)

    return one_pass


def command(_data: DataSet, _root: str, *, arguments: list[str]) -> Pass:
    """Run a Python command to its end."""

    def one_pass() -> float:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        return 1

    return one_pass


def product(_data: DataSet, root: str, *, ranks: int, keys: dict[str, Any], shown: str) -> Pass:
    """Run the console program on ``ranks`` ranks; its data set is in memory where there is such a place.

    ``shown`` is a key of the result's metrics, ``generation`` for the bytes per second of its generation, or ``runs``
    for whole runs.
    """
    place = in_memory(root)
    folder = os.path.join(place, str(keys.get("dataset.data_folder", "none")))
    launcher = [os.path.join(os.path.dirname(sys.executable), "mpirun"), "-n", str(ranks)] if ranks > 1 else []

    def run(out: str, **more: Any) -> str:
        named = {**keys, "storage.storage_root": place, "output.folder": out, **more}
        words = [f"++workload.{name}={value}" for name, value in named.items()]
        start = [*launcher, sys.executable, "-m", "dlio_benchmark.main", "workload=default", f"++hydra.run.dir={out}"]
        done = subprocess.run([*start, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout[-500:] + done.stderr[-1000:])
        return done.stdout + done.stderr

    def one_pass() -> float:
        if shown == "generation":
            shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=place) as out:
            said = run(out)
            if shown == "runs":
                return 1
            if shown == "generation":
                found = re.search(r"(\d+) bytes in ([0-9.]+) s", said)
                return float(found[1]) / float(found[2]) if found else 0.0
            with open(f"{out}/summary.json") as file:
                return float(json.load(file)["metric"][shown])

    os.makedirs(place, exist_ok=True)
    if shown != "generation" and keys.get("dataset.format") != "synthetic":
        with tempfile.TemporaryDirectory(dir=place) as out:
            run(out, **{"workflow.generate_data": "true", "workflow.train": "false"})
    return one_pass


def in_memory(root: str) -> str:
    """Return a folder in memory that belongs to ``root``, or one below it."""
    return os.path.join("/dev/shm" if os.access("/dev/shm", os.W_OK) else root, f"bench-{os.path.basename(root)}")


def cleared(root: str) -> None:
    """Remove what passes have written."""
    for folder in (f"{root}/written", in_memory(root)):
        shutil.rmtree(folder, ignore_errors=True)


CONTENDERS: Mapping[str, Callable[..., Pass]] = {
    function.__name__: function
    for function in (
        read_here,
        steps_here,
        pyarrow_batches,
        polars_batches,
        polars_whole,
        duckdb_batches,
        raw_chunks,
        generate_here,
        pyarrow_writes,
        plain_write,
        upstream_record,
        command,
        product,
    )
}
