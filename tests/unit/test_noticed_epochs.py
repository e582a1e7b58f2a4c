"""Small wrongs of an epoch of the threads loader: who is hired, what a thread does, and how all are left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from test_ahead import BLOCK_ROWS, Files, ahead_of, finished

from dlio_benchmark.clock import FakeClock
from dlio_benchmark.data_loader.ahead import Ahead, Budget, Job, Load, Opening, Slot
from dlio_benchmark.data_loader.base import Source
from dlio_benchmark.data_loader.threads import ThreadsLoader, _Epoch
from dlio_benchmark.errors import StorageError
from dlio_benchmark.metrics.events import Tally


# -- an epoch, in one thread -------------------------------------------------------------------------------------------
class Told(threading.Condition):
    """A condition that notes who is told; whoever would wait has ``act`` done instead."""

    def __init__(self, act: Callable[[], None] | None = None) -> None:
        super().__init__(threading.Lock())
        self.act, self.told = act, list[str]()

    def wait(self, timeout: float | None = None) -> bool:
        assert self.act is not None, "somebody would have to wait"
        self.told.append("wait")
        self.act()
        return True

    def notify(self, n: int = 1) -> None:
        self.told.append("one")

    def notify_all(self) -> None:
        self.told.append("all")


def epoch_of(files: Files, budget: Budget | None = None, most: int = 2) -> tuple[_Epoch, Told]:
    ahead = ahead_of(files, budget or Budget(load_bytes=0, loads=99))
    epoch, told = _Epoch(Source(files, FakeClock(10**6)), ahead, most), Told()
    epoch._changed = told
    return epoch, told


def test_a_thread_does_job_after_job_and_tells_the_others_when_there_is_none() -> None:
    epoch, told = epoch_of(Files([2, 1]))
    done: list[type] = []
    job: Job | None = None
    while (job := epoch._job(job)) is not None:
        done.append(type(job))
        assert (epoch._busy, epoch._idle) == (1, 0)
        epoch._do(job)
    assert (done.count(Opening), done.count(Load)) == (2, 3)
    assert (epoch._busy, epoch._idle, epoch._at_once) == (0, 0, 1)
    assert told.told == ["all"]
    assert epoch.threads == []


def test_a_thread_that_was_hired_is_idle_no_more_once_it_begins() -> None:
    epoch, told = epoch_of(Files([2, 1]))
    epoch._idle = 1
    epoch._work()
    assert (epoch._busy, epoch._idle, told.told) == (0, 0, ["all"])
    assert len(list(epoch.runs(Tally()))) == 3


def test_what_was_read_is_taken_without_any_thread() -> None:
    epoch, _ = epoch_of(Files([2, 1]))
    job: Job | None = None
    while (job := epoch._job(job)) is not None:
        epoch._do(job)
    tally = Tally()
    assert [stop - start for _, start, stop in epoch.runs(tally)] == [BLOCK_ROWS] * 3
    assert (tally.files, tally.blocks, tally.footer_bytes) == (2, 3, 2)
    assert (epoch._at_once, epoch._busy, epoch.threads) == (1, 0, [])
    assert (epoch._ahead._count, epoch._ahead._bytes, epoch._ahead._rows) == (0, 0, 0)


def test_a_thread_waits_while_there_is_no_room_and_counts_as_idle_meanwhile() -> None:
    epoch, told = epoch_of(Files([2]), Budget(loads=1, load_bytes=0))
    seen: list[tuple[int, int]] = []
    job: Job | None = None
    while not isinstance(job := epoch._job(job), Load):
        assert job is not None
        epoch._do(job)
    first = job
    epoch._do(first)

    def make_room() -> None:
        seen.append((epoch._busy, epoch._idle))
        epoch._ahead.release(first)

    told.act = make_room
    second = epoch._job(first)
    assert isinstance(second, Load)
    assert seen == [(0, 1)]
    assert (epoch._busy, epoch._idle) == (1, 0)


def test_a_thread_takes_no_job_while_as_many_are_busy_as_may_be() -> None:
    epoch, told = epoch_of(Files([1] * 5))
    assert isinstance(epoch._job(None), Opening)

    def allow() -> None:
        assert (epoch._busy, epoch._idle) == (1, 1)
        epoch._at_once = 2

    told.act = allow
    assert isinstance(epoch._job(None), Opening)
    assert told.told == ["wait"]
    assert (epoch._busy, epoch._idle) == (2, 0)


def test_a_thread_that_wakes_up_after_the_end_has_no_job() -> None:
    epoch, told = epoch_of(Files([2]), Budget(loads=1, load_bytes=0))
    job: Job | None = None
    while not isinstance(job := epoch._job(job), Load):
        assert job is not None
        epoch._do(job)

    def leave() -> None:
        epoch._ahead.stop()

    told.act = leave
    assert epoch._job(job) is None
    assert told.told == ["wait", "all"]
    assert (epoch._busy, epoch._idle) == (0, 0)


class Stuck(Files):
    """A reader whose first file cannot be closed."""

    error: Exception = StorageError("it cannot be closed")

    def open(self, path: str) -> Any:
        file: Any = super().open(path)
        if path == "0":
            file.close = self.fail
        return file

    def fail(self) -> None:
        raise self.error


def test_leaving_wakes_all_threads_and_closes_what_it_can() -> None:
    files = Stuck([1] * 3)
    epoch, told = epoch_of(files)
    openings = [epoch._ahead.job() for _ in range(2)]
    for opening in openings:
        assert opening is not None
        finished(opening, epoch._source)
    epoch.stop()
    assert told.told == ["all"]
    assert epoch._ahead.is_over
    assert [file.closed for file in files.opened] == [0, 1]


def test_leaving_closes_every_file_though_one_raises_what_it_likes() -> None:
    files = Stuck([1] * 3)
    files.error = ValueError("surprise")
    epoch, _ = epoch_of(files)
    openings = [epoch._ahead.job() for _ in range(2)]
    for opening in openings:
        assert opening is not None
        finished(opening, epoch._source)
    with pytest.raises(ValueError, match="surprise"):
        epoch.stop()
    assert [file.closed for file in files.opened] == [0, 1]


def test_an_epoch_that_cannot_be_left_in_peace_is_forgotten_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files([3] * 5)
    loader = ThreadsLoader(Source(files, FakeClock()), 2)
    runs: Any = loader._runs(files.plan, str, Tally())
    next(runs)
    (epoch,) = loader._epochs
    stop = epoch.stop

    def fail() -> None:
        stop()
        raise ValueError("surprise")

    monkeypatch.setattr(epoch, "stop", fail)
    with pytest.raises(ValueError, match="surprise"):
        runs.close()
    assert loader._epochs == []
    loader.close()
    assert not any(thread.is_alive() for thread in epoch.threads)


class Fake:
    """A job that notes what is asked of it; its file cannot be closed."""

    def __init__(self, clock: FakeClock, *, waited: bool = False, error: Exception | None = None) -> None:
        self.clock, self.waited, self.log = clock, waited, list[Any]()
        self.error: BaseException | None = error

    def do(self, source: Source) -> None:
        self.clock.advance(77)

    def finish(self) -> Any:
        return self

    def close(self) -> None:
        self.log.append("close")
        raise StorageError("it cannot be closed")

    def has_waited(self, took_ns: int, /) -> bool:
        self.log.append(took_ns)
        return self.waited

    def hand_over(self) -> None:
        self.log.append("hand over")


@pytest.mark.parametrize("waited", [False, True])
def test_a_job_is_timed_and_its_file_closed_before_it_is_handed_over(waited: bool) -> None:
    epoch, _ = epoch_of(Files([1]), most=5)
    clock: Any = epoch._source.clock
    job: Any = Fake(clock, waited=waited)
    epoch._do(job)
    assert job.log == [77, "close", "hand over"]
    assert isinstance(job.error, StorageError)
    assert epoch._at_once == (5 if waited else 1)


def test_the_error_of_a_job_comes_before_that_of_closing_its_file() -> None:
    epoch, _ = epoch_of(Files([1]))
    clock: Any = epoch._source.clock
    first = ValueError("the cause")
    job: Any = Fake(clock, error=first)
    epoch._do(job)
    assert job.error is first
    assert job.log == [77, "close", "hand over"]


# -- who is hired ------------------------------------------------------------------------------------------------------
class Hired(threading.Thread):
    """Threads that never start."""

    def start(self) -> None:
        """Do nothing."""


@pytest.fixture
def hiring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody who is hired begin to work."""
    monkeypatch.setattr(threading, "Thread", Hired)


@pytest.mark.usefixtures("hiring")
def test_threads_are_hired_one_by_one_while_there_is_work_and_nobody_is_idle() -> None:
    epoch, told = epoch_of(Files([1] * 9), most=2)
    epoch._wake()
    assert ([thread.name for thread in epoch.threads], epoch._idle, told.told) == (["read-0"], 1, [])
    assert epoch.threads[0].daemon
    epoch._wake()
    assert (len(epoch.threads), epoch._idle, told.told) == (1, 1, ["one"])
    epoch._idle, epoch._busy = 0, 1
    epoch._wake()
    assert len(epoch.threads) == 1
    epoch._at_once = 9
    epoch._wake()
    assert [thread.name for thread in epoch.threads] == ["read-0", "read-1"]
    epoch._idle = 0
    epoch._wake()
    assert len(epoch.threads) == 2
    assert told.told == ["one"]


@pytest.mark.usefixtures("hiring")
def test_nobody_is_hired_or_woken_where_there_is_no_work() -> None:
    epoch, told = epoch_of(Files([1] * 9))
    epoch._ahead.stop()
    epoch._wake()
    epoch._idle = 1
    epoch._wake()
    assert (epoch.threads, told.told) == ([], [])


@pytest.mark.usefixtures("hiring")
def test_a_thread_that_takes_a_job_has_another_one_woken() -> None:
    epoch, told = epoch_of(Files([1] * 9))
    epoch._at_once = 2
    assert isinstance(epoch._job(None), Opening)
    assert (len(epoch.threads), epoch._idle, told.told) == (1, 1, [])
    assert isinstance(epoch._job(None), Opening)
    assert (len(epoch.threads), epoch._idle, told.told) == (1, 1, [])


@pytest.mark.usefixtures("hiring")
def test_who_waits_for_a_load_too_long_lets_all_threads_work_and_gives_back_the_room_of_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    epoch, told = epoch_of(Files([3]), Budget(loads=1, load_bytes=0), most=4)
    ahead, source = epoch._ahead, epoch._source
    opening = ahead.job()
    assert opening is not None
    finished(opening, source)
    first = ahead.job()
    assert isinstance(first, Load)
    finished(first, source)
    assert epoch._taken(0, None) is first
    assert (epoch._at_once, len(epoch.threads), told.told) == (1, 1, [])
    slot = ahead.slot(1)
    monkeypatch.setattr(slot, "done", Late(ahead, slot, source))
    second = epoch._taken(1, first)
    assert second is not None
    assert (second.pieces[0].block, ahead._count, epoch._at_once) == (1, 1, 4)
    assert (len(epoch.threads), told.told) == (1, ["one", "one"])


class Late:
    """A lock of a slot whose load is read once somebody waits for it without end."""

    def __init__(self, ahead: Ahead, slot: Slot, source: Source) -> None:
        self.ahead, self.slot, self.source = ahead, slot, source

    def acquire(self, timeout: float | None = None) -> bool:
        if timeout is not None:
            return False
        self.ahead._half_known[1] = self.slot
        load = self.ahead.job()
        assert isinstance(load, Load)
        load.do(self.source)
        load.finish()
        return True

    def release(self) -> None:
        """Do nothing."""
