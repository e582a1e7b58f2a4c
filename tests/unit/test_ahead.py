"""What is read ahead: the loads of the plan in order, within the budget, whoever does the jobs in which order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.batch import Block
from dlio_benchmark.clock import FakeClock
from dlio_benchmark.data_loader import threads
from dlio_benchmark.data_loader.ahead import Ahead, Budget, Job, Load, Opening
from dlio_benchmark.data_loader.base import Source
from dlio_benchmark.data_loader.threads import ThreadsLoader
from dlio_benchmark.errors import DataMissingError, StorageError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.reader.base import BlockRead, BlockShape

BLOCK_ROWS, BLOCK_BYTES = 2, 10


class Blocks:
    """An open file of blocks of two rows; a block of a name in ``broken`` cannot be read."""

    footer_bytes = 1

    def __init__(self, path: str, blocks: int, reader: Files) -> None:
        self.path, self.reader = path, reader
        self.shapes: Sequence[BlockShape] = [BlockShape(BLOCK_ROWS, 1, BLOCK_BYTES, 1)] * blocks
        self.closed = 0

    def read(self, index: int) -> BlockRead:
        assert not self.closed
        name = f"{self.path}/{index}"
        self.reader.read(name)
        if name in self.reader.broken:
            raise StorageError(name)
        return BlockRead(Block(BLOCK_ROWS), 1, BLOCK_BYTES, BLOCK_BYTES, 1, io_ns=0, decode_ns=0)

    def close(self) -> None:
        self.closed += 1


class Files:
    """A reader of files with so many blocks each; those in ``broken`` cannot be opened."""

    decode = "none"

    def __init__(self, blocks: Sequence[int], broken: frozenset[str] = frozenset()) -> None:
        self.blocks, self.broken = blocks, broken
        self.opened: list[Blocks] = []

    def open(self, path: str) -> Blocks:
        if path in self.broken:
            raise DataMissingError(path)
        self.opened.append(Blocks(path, self.blocks[int(path)], self))
        return self.opened[-1]

    def read(self, name: str) -> None:
        """Be told that a block is read."""

    @property
    def plan(self) -> EpochPlan:
        return EpochPlan(np.array([BLOCK_ROWS * blocks for blocks in self.blocks]), BLOCK_ROWS)

    @property
    def names(self) -> list[str]:
        return [f"{file}/{block}" for file, blocks in enumerate(self.blocks) for block in range(blocks)]


def ahead_of(files: Files, budget: Budget, openings: int = 2) -> Ahead:
    return Ahead(files.plan, str, budget, openings)


def finished(job: Job, source: Source) -> Job:
    job.do(source)
    closing = job.finish()
    if closing is not None:
        closing.close()
    job.hand_over()
    return job


def begun(ahead: Ahead, source: Source) -> list[Load]:
    """Open what is to be opened, and return the loads that may be begun."""
    loads: list[Load] = []
    while (job := ahead.job()) is not None:
        if isinstance(job, Load):
            loads.append(job)
        else:
            finished(job, source)
    return loads


def check(flying: Sequence[Load], budget: Budget) -> None:
    """Hold the loads in flight, the latest of them the last, against the budget."""
    assert len(flying) <= 1 or sum(load.bytes for load in flying) <= budget.bytes
    assert len(flying) <= max(1, budget.loads) or sum(load.rows for load in flying[:-1]) < budget.rows
    assert all(load.bytes <= max(BLOCK_BYTES, min(budget.bytes, budget.load_bytes)) for load in flying)


broken_places = st.frozensets(
    st.builds("{}/{}".format, st.integers(0, 3), st.integers(0, 2)) | st.integers(0, 3).map(str), max_size=2
)


@given(
    data=st.data(),
    blocks=st.lists(st.integers(1, 5), max_size=5),
    broken=broken_places,
    budget=st.builds(
        Budget,
        bytes=st.integers(0, 4).map(BLOCK_BYTES.__mul__),
        loads=st.integers(1, 3),
        rows=st.integers(0, 8),
        load_bytes=st.integers(0, 3).map(BLOCK_BYTES.__mul__),
    ),
    openings=st.integers(1, 3),
    leave_after=st.none() | st.integers(0, 5),
)
def test_the_loads_come_in_order_within_the_budget_and_every_file_is_closed(
    data: st.DataObject,
    blocks: list[int],
    broken: frozenset[str],
    budget: Budget,
    openings: int,
    leave_after: int | None,
) -> None:
    files = Files(blocks, broken)
    source, ahead = Source(files, FakeClock()), ahead_of(files, budget, openings)
    doing: list[Job] = []
    flying: list[Load] = []
    got: list[str] = []
    error: BaseException | None = None
    taken = 0
    slot = ahead.slot(0)
    while error is None and taken != leave_after:
        ready = slot.done.locked() is False
        job = None if len(doing) == 3 or (ready and data.draw(st.booleans(), "take first")) else ahead.job()
        if job is not None:
            doing.append(job)
            flying += [job] if isinstance(job, Load) else []
            check(flying, budget)
        elif ready:
            load, slot_error = slot.load, slot.error
            error = slot_error if load is None else load.error
            if load is None or error is not None:
                break
            got += [f"{load.file.path}/{piece.block}" for piece in load.pieces]
            taken += 1
            flying.remove(load)
            ahead.release(load)
            slot = ahead.slot(taken)
        elif doing:
            finished(doing.pop(data.draw(st.integers(0, len(doing) - 1), "done")), source)
        else:
            assert ahead.is_over, "nobody does anything, and the loop waits"
            assert not slot.done.locked()
    for file in ahead.stop():
        file.close()
    assert ahead.job() is None
    for job in doing:
        finished(job, source)
    assert all(file.closed == 1 for file in files.opened)
    names = files.names
    assert got == names[: len(got)]
    if error is not None:
        assert str(error) in broken
        first = next(at for at, name in enumerate(names) if broken & {name, name.split("/")[0]})
        assert first - max(1, budget.load_bytes // BLOCK_BYTES) < len(got) <= first
    elif leave_after is None:
        assert got == names


def test_loads_count_against_the_budget_by_their_bytes() -> None:
    files = Files([9])
    source, ahead = Source(files, FakeClock()), ahead_of(files, Budget(bytes=25, loads=9, load_bytes=0))
    first, second = begun(ahead, source)
    ahead.release(first)
    assert len(begun(ahead, source)) == 1
    ahead.release(second)
    assert len(begun(ahead, source)) == 1


def test_a_load_beyond_the_budget_is_admitted_alone() -> None:
    files = Files([9])
    source, ahead = Source(files, FakeClock()), ahead_of(files, Budget(bytes=1, loads=9))
    (only,) = begun(ahead, source)
    ahead.release(only)
    assert len(begun(ahead, source)) == 1


def test_more_loads_than_the_budget_are_admitted_while_they_hold_few_rows() -> None:
    files = Files([9])
    source, ahead = Source(files, FakeClock()), ahead_of(files, Budget(loads=1, rows=5, load_bytes=0))
    assert len(begun(ahead, source)) == 3
    files = Files([9])
    assert len(begun(ahead_of(files, Budget(loads=1, rows=6, load_bytes=0)), source)) == 3


def test_files_are_opened_ahead_but_not_before_the_first_load() -> None:
    files = Files([1] * 9)
    source, ahead = Source(files, FakeClock()), ahead_of(files, Budget(loads=1), openings=3)
    jobs: list[type] = []
    while (job := ahead.job()) is not None:
        jobs.append(type(finished(job, source)))
    assert jobs == [Opening, Load] + [Opening] * (1 + 3)  # that of the next load, and three more


class Meeting(Files):
    """A reader whose reads take ``took_ns``, and from the second on wait for each other in twos."""

    def __init__(self, blocks: int, clock: FakeClock, took_ns: int) -> None:
        super().__init__([blocks])
        self.clock, self.took_ns = clock, took_ns
        self.reads = 0
        self.two = threading.Barrier(2, timeout=60)

    def read(self, name: str) -> None:
        self.reads += 1
        self.clock.advance(self.took_ns)
        if not name.endswith("/0"):
            self.two.wait()


@pytest.mark.parametrize(("took_ns", "patience_s"), [(10**6, 1000.0), (0, 0.001)], ids=["took-long", "was-waited-for"])
def test_all_threads_read_once_the_storage_lets_wait(
    took_ns: int, patience_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_PATIENCE_S", patience_s)
    clock = FakeClock()
    files = Meeting(9, clock, took_ns)
    loader = ThreadsLoader(Source(files, clock), 2, Budget(loads=2, load_bytes=0))
    assert len(list(loader.batches(files.plan, str, Tally()))) == files.reads == 9
    loader.close()


class Slow(Files):
    """A reader whose reads take a second."""

    def __init__(self, blocks: Sequence[int], clock: FakeClock) -> None:
        super().__init__(blocks)
        self.clock = clock

    def read(self, name: str) -> None:
        self.clock.advance(10**9)


class Scarce(threading.Thread):
    """Threads of which there is one."""

    def start(self) -> None:
        if self.name != "read-0":
            raise RuntimeError("there are no more threads")
        super().start()


@pytest.mark.parametrize("blocks", [[9], [1] * 9], ids=["one-file", "many-files"])
def test_a_thread_that_cannot_be_started_is_an_error(blocks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_PATIENCE_S", 1000.0)
    monkeypatch.setattr(threading, "Thread", Scarce)
    clock = FakeClock()
    files = Slow(blocks, clock)
    loader = ThreadsLoader(Source(files, clock), 4, Budget(loads=3, load_bytes=0))
    batches = loader.batches(files.plan, str, Tally())
    with pytest.raises(RuntimeError, match="no more threads"):
        list(batches)
    loader.close()
    assert all(file.closed == 1 for file in files.opened)


class Alone(Files):
    """A reader that knows how many read at once."""

    most = now = 0

    def read(self, name: str) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(100):
            threading.Event().wait(0)
        self.now -= 1


def test_one_thread_reads_what_memory_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_PATIENCE_S", 1000.0)
    files = Alone([40])
    loader = ThreadsLoader(Source(files, FakeClock()), 4, Budget(loads=4, load_bytes=0))
    assert len(list(loader.batches(files.plan, str, Tally()))) == 40
    loader.close()
    assert files.most == 1


def test_a_plan_that_cannot_be_walked_is_an_error() -> None:
    files = Files([1, 1])
    source: Any = Source(files, FakeClock())

    def paths(number: int) -> str:
        return ["0"][number]

    loader = ThreadsLoader(source, 1)
    with pytest.raises(IndexError):
        list(loader.batches(files.plan, paths, Tally()))
    loader.close()
    assert all(file.closed for file in files.opened)
