"""Files are made beside each other; their results come in order, and the first failure ends all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.engine.beside import Stop, StoppableOutputs, beside
from dlio_benchmark.storage.memory import MemoryStorage


@given(many=st.integers(0, 30), threads=st.integers(0, 5))
def test_results_come_in_the_order_of_the_jobs(many: int, threads: int) -> None:
    jobs: list[Callable[[], int]] = [partial(int, number) for number in range(many)]
    assert list(beside(jobs, threads, Stop())) == list(range(many))


def test_as_many_are_made_at_once_as_there_are_threads() -> None:
    meeting = threading.Barrier(3)
    assert sorted(beside([partial(meeting.wait, 60)] * 3, 3, Stop())) == [0, 1, 2]


def test_the_cause_is_raised_and_not_what_followed_from_it() -> None:
    storage, stop = MemoryStorage(), Stop()
    outputs = StoppableOutputs(storage, stop)
    begun, failed = threading.Event(), threading.Event()

    def long() -> None:
        with outputs.open_output("long") as out:
            out.write(b"begun")
            begun.set()
            assert failed.wait(60)
            while True:
                out.write(b"more")

    def failing() -> None:
        assert begun.wait(60)
        failed.set()
        msg = "the disk is full"
        raise OSError(msg)

    with pytest.raises(OSError, match="the disk is full"):
        list(beside([long, failing], 2, stop))
    assert storage.files == {}


@pytest.mark.parametrize("threads", [1, 3])
def test_an_early_end_leaves_no_thread_and_no_file(threads: int) -> None:
    before = threading.active_count()
    storage, stop = MemoryStorage(), Stop()
    outputs = StoppableOutputs(storage, stop)

    def endless(number: int) -> int:
        while number:
            with outputs.open_output(str(number)) as out:
                out.write(b"x")
            storage.files.pop(str(number), None)
        return number

    with closing(beside([partial(endless, number) for number in (0, 1, 2, 3)], threads, stop)) as results:
        assert next(results) == 0
    assert threading.active_count() == before
    assert storage.files == {}


def test_of_several_failures_the_first_is_raised() -> None:
    stop, begun = Stop(), threading.Event()

    def later() -> None:
        begun.set()
        while stop.cause is None:
            pass
        msg = "no space is left"
        raise OSError(msg)

    def first() -> None:
        assert begun.wait(60)
        msg = "the device is broken"
        raise OSError(msg)

    with pytest.raises(OSError, match="the device is broken"):
        list(beside([later, first], 2, stop))


def test_no_job_begins_after_a_failure() -> None:
    stop, made = Stop(), list[int]()
    stop.because_of(OSError("the disk is full"))
    with pytest.raises(OSError, match="the disk is full"):
        list(beside([partial(made.append, number) for number in range(4)], 2, stop))
    assert made == []


def test_jobs_are_asked_for_as_their_results_are() -> None:
    asked = list[int]()

    def jobs() -> Iterator[Callable[[], int]]:
        for number in range(1000):
            asked.append(number)
            yield partial(int, number)

    for taken, _ in enumerate(beside(jobs(), 2, Stop()), start=1):
        assert len(asked) <= taken + 4
