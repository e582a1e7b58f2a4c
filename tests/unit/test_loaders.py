"""The threads loader gives what the reference loader gives, and counts the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlio_benchmark.clock import FakeClock, RealClock
from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType, ReadMode, ShuffleScope
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.data_loader.ahead import Budget
from dlio_benchmark.data_loader.base import Loader, Preprocessing, Source
from dlio_benchmark.data_loader.direct import DirectLoader
from dlio_benchmark.data_loader.threads import ThreadsLoader
from dlio_benchmark.errors import DataMissingError, ParquetFileError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.plan.world import World
from dlio_benchmark.reader.base import BlockRead, BlockShape
from dlio_benchmark.reader.null import NullReader
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage

COLUMNS = (Column("n", ColumnType.INT64), Column("v", ColumnType.FLOAT32, 3), Column("s", ColumnType.STRING))
ROWS = (17, 0, 40, 5)


@pytest.fixture(scope="module")
def storage() -> MemoryStorage:
    out = MemoryStorage()
    writer = ParquetFiles(COLUMNS, Compression.SNAPPY, row_group_size=6)
    for index, rows in enumerate(ROWS):
        writer.write(PlannedFile(DatasetType.TRAIN, index, f"{index}.parquet", rows), out)
    return out


def path_of(number: int) -> str:
    return f"{number}.parquet"


def source(storage: MemoryStorage, mode: ReadMode = ReadMode.ROW_GROUP, window: int = 1) -> Source:
    return Source(ParquetRows(storage, COLUMNS, mode, group_window=window), RealClock())


def values(loader: Loader, plan: EpochPlan) -> tuple[list[tuple[object, ...]], Tally]:
    tally = Tally()
    rows: list[tuple[object, ...]] = []
    for batch in loader.batches(plan, path_of, tally):
        table = batch.to_arrow()
        rows += zip(*(map(str, table[name].to_pylist()) for name in batch.names), strict=True)
    loader.close()
    return rows, tally


PLANS = st.builds(
    EpochPlan,
    rows=st.just(np.array(ROWS)),
    batch=st.integers(1, 20),
    world=st.sampled_from([World(0, 1), World(0, 2), World(1, 2), World(2, 3)]),
    shuffling=st.builds(
        Shuffling,
        files=st.none() | st.integers(0, 9),
        samples=st.none() | st.integers(0, 9),
        scope=st.sampled_from(ShuffleScope),
    ),
    most_steps=st.none() | st.integers(0, 3),
)


@settings(max_examples=40)
@given(
    plan=PLANS,
    threads=st.integers(1, 3),
    blocks=st.integers(1, 4),
    budget=st.sampled_from([1, 500, 2**20]),
    load=st.sampled_from([0, 200, 2**20]),
    mode=st.sampled_from([ReadMode.ROW_GROUP, ReadMode.DEFAULT]),
    window=st.integers(1, 3),
)
def test_threads_give_the_batches_and_counts_of_the_reference(
    storage: MemoryStorage,
    plan: EpochPlan,
    threads: int,
    blocks: int,
    budget: int,
    load: int,
    mode: ReadMode,
    window: int,
) -> None:
    expected, counted = values(DirectLoader(source(storage, mode, window)), plan)
    got, tally = values(
        ThreadsLoader(source(storage, mode, window), threads, Budget(budget, blocks, load_bytes=load)), plan
    )
    assert got == expected
    assert len(got) == len(plan) * plan.batch
    for name in ("rows", "row_groups", "blocks", "files", "bytes_promised", "bytes_requested", "bytes_read"):
        assert getattr(tally, name) == getattr(counted, name), name
    assert tally.bytes_read == tally.bytes_promised


@settings(max_examples=30)
@given(
    size=st.integers(1, 4),
    batch=st.integers(1, 9),
    scope=st.none() | st.sampled_from(ShuffleScope),
    epoch=st.integers(1, 3),
)
def test_the_ranks_together_deliver_each_row_at_most_once_and_nearly_all(
    storage: MemoryStorage, size: int, batch: int, scope: ShuffleScope | None, epoch: int
) -> None:
    seen: list[tuple[object, ...]] = []
    for rank in range(size):
        shuffling = Shuffling() if scope is None else Shuffling(epoch, epoch, scope)
        plan = EpochPlan(np.array(ROWS), batch, World(rank, size), shuffling)
        seen += values(DirectLoader(source(storage)), plan)[0]
    assert len(set(seen)) == len(seen) == sum(ROWS) - plan.rows_left_out
    assert plan.rows_left_out < batch * size


def test_the_reader_sees_each_block_once_per_epoch(storage: MemoryStorage) -> None:
    plan = EpochPlan(np.array(ROWS), 1)
    loader = ThreadsLoader(source(storage), 2)
    tallies = []
    for _ in range(3):
        tally = Tally()
        assert sum(len(batch) for batch in loader.batches(plan, path_of, tally)) == sum(ROWS)
        tallies.append(tally)
    loader.close()
    assert {tally.row_groups for tally in tallies} == {3 + 7 + 1}
    assert {tally.files for tally in tallies} == {3}
    assert len({tally.bytes_read for tally in tallies}) == 1


class Watched:
    """A reader that keeps count of the blocks that are read but not yet taken by the loop."""

    decode = "none"

    def __init__(self, inner: ParquetRows) -> None:
        self.inner, self.reads = inner, 0
        self.lock = threading.Lock()

    def open(self, path: str) -> Watched:
        self.file = self.inner.open(path)
        self.path, self.footer_bytes, self.shapes = path, 0, self.file.shapes
        return self

    def read(self, index: int):  # type: ignore[no-untyped-def]
        with self.lock:
            self.reads += 1
        return self.file.read(index)

    def close(self) -> None:
        self.file.close()


@pytest.mark.parametrize("loads", [1, 2, 3])
@pytest.mark.parametrize("together", [1, 2])
def test_no_more_blocks_are_read_ahead_than_the_budget_allows(
    storage: MemoryStorage, loads: int, together: int
) -> None:
    watched = Watched(ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP))
    shape = watched.open("2.parquet").shapes[0]
    watched.close()
    load_bytes = together * max(shape.decoded_bytes, shape.stored_bytes)
    loader = ThreadsLoader(Source(watched, RealClock()), 2, Budget(2**20, loads, load_bytes=load_bytes))
    batches: Iterator[object] = loader.batches(EpochPlan(np.array([0, 0, 40]), 6), path_of, Tally())
    for taken, _ in enumerate(batches, start=1):
        assert watched.reads <= taken + loads * together
    loader.close()


def test_blocks_that_are_put_together_stay_within_the_budget(storage: MemoryStorage) -> None:
    watched = Watched(ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP))
    shape = watched.open("2.parquet").shapes[0]
    watched.close()
    two = 2 * max(shape.decoded_bytes, shape.stored_bytes)
    loader = ThreadsLoader(Source(watched, RealClock()), 2, Budget(two, loads=9))
    for taken, _ in enumerate(loader.batches(EpochPlan(np.array([0, 0, 40]), 6), path_of, Tally()), start=1):
        assert watched.reads <= taken + 2
    loader.close()


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_an_error_of_the_reader_reaches_the_loop(storage: MemoryStorage, threads: int) -> None:
    broken = MemoryStorage()
    broken.files = dict(storage.files)
    body = bytearray(broken.files["2.parquet"])
    body[:] = body[: len(body) // 2]
    broken.files["2.parquet"] = bytes(body)
    loader: Loader = ThreadsLoader(source(broken), threads) if threads else DirectLoader(source(broken))
    with pytest.raises(ParquetFileError, match=r"2\.parquet"):
        values(loader, EpochPlan(np.array(ROWS), 1))
    loader.close()


def test_a_missing_file_is_named(storage: MemoryStorage) -> None:
    loader = ThreadsLoader(source(storage), 2)
    with pytest.raises(DataMissingError, match=r"4\.parquet"):
        values(loader, EpochPlan(np.array([*ROWS, 3]), 1))


def test_leaving_an_epoch_early_stops_its_threads(storage: MemoryStorage) -> None:
    before = set(threading.enumerate())
    loader = ThreadsLoader(source(storage), 2)
    batches = loader.batches(EpochPlan(np.array(ROWS), 1), path_of, Tally())
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    loader.close()
    assert set(threading.enumerate()) <= before


class FailingFile:
    """A file whose blocks fail: the first at once, the others not before ``ended``."""

    footer_bytes: int = 0
    closed = False

    def __init__(self, path: str, ended: threading.Event) -> None:
        self.path = path
        self.shapes: Sequence[BlockShape] = [BlockShape(1, 1, 1, 1)] * 4
        self.ended = ended
        self.reads: list[int] = []

    def read(self, index: int) -> BlockRead:
        self.reads.append(index)
        assert index == 0 or self.ended.wait(60)
        msg = f"block {index} is damaged"
        raise ParquetFileError(msg)

    def close(self) -> None:
        self.closed = True


class FailingReader:
    """Opens failing files, and keeps them."""

    decode = "full"

    def __init__(self) -> None:
        self.files: list[FailingFile] = []
        self.ended = threading.Event()

    def open(self, path: str) -> FailingFile:
        self.files.append(FailingFile(path, self.ended))
        return self.files[-1]


def test_after_a_failure_nothing_more_is_begun_and_every_file_is_closed() -> None:
    reader = FailingReader()
    loader = ThreadsLoader(Source(reader, RealClock()), 1, Budget(loads=4, load_bytes=0))
    with pytest.raises(ParquetFileError, match="block 0"):
        list(loader.batches(EpochPlan(np.array([4, 4, 4]), 1), path_of, Tally()))
    reader.ended.set()
    loader.close()
    assert set(reader.files[0].reads) <= {0, 1}
    assert all(file.closed for file in reader.files)


class Contradicting(list[BlockShape]):
    """Shapes of blocks that cannot be."""

    def __iter__(self) -> Iterator[BlockShape]:
        msg = "the footer lets column chunks overlap"
        raise ParquetFileError(msg)


class Only:
    """A reader that knows one file."""

    decode = "full"

    def __init__(self, file: FailingFile) -> None:
        self.file = file

    def open(self, _path: str) -> FailingFile:
        return self.file


@pytest.mark.parametrize("shapes", [[], Contradicting()])
@pytest.mark.parametrize("threads", [0, 1])
def test_a_file_of_which_nothing_can_be_read_is_closed_and_counted(shapes: list[BlockShape], threads: int) -> None:
    reader = FailingReader()
    opened = reader.open("0")
    opened.shapes, opened.footer_bytes = shapes, 5
    only = Source(Only(opened), RealClock())
    loader: Loader = ThreadsLoader(only, threads) if threads else DirectLoader(only)
    tally = Tally()
    with nullcontext() if type(shapes) is list else pytest.raises(ParquetFileError, match="overlap"):
        assert list(loader.batches(EpochPlan(np.array([3]), 1), path_of, tally)) == []
        assert (tally.files, tally.footer_bytes) == (1, 5)
    loader.close()
    assert opened.closed


def test_preprocessing_takes_its_time_per_sample(storage: MemoryStorage) -> None:
    clock = FakeClock()
    work = Preprocessing(Duration("constant", (0.5,)), clock, np.random.default_rng(0))
    loader = DirectLoader(replace(source(storage), clock=clock, preprocessing=work))
    _, tally = values(loader, EpochPlan(np.array(ROWS), 1))
    assert clock.now_ns() == tally.preprocess_ns == round(sum(ROWS) * 0.5e9)


def test_the_null_reader_delivers_rows_and_reads_nothing() -> None:
    loader = ThreadsLoader(Source(NullReader(100, 10), RealClock()), 2)
    tally = Tally()
    plan = EpochPlan(np.array([100, 100]), 7)
    assert len(list(loader.batches(plan, path_of, tally))) == len(plan)
    loader.close()
    assert (tally.rows, tally.bytes_read) == (len(plan) * 7, 0)
