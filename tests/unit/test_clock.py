"""The fake clock moves only when told to; the real one can be asked to sleep sharply."""

from __future__ import annotations

import ctypes
import sys
import threading

import pytest

from dlio_benchmark.clock import FakeClock, RealClock, sleep_sharply

_PR_GET_TIMERSLACK = 30


def test_the_fake_clock_sleeps_without_waiting() -> None:
    clock = FakeClock(5)
    clock.sleep(1.5)
    clock.advance(7)
    assert clock.now_ns() == 5 + 1_500_000_000 + 7


@pytest.mark.parametrize("seconds", [0.0, 1e-5, 0.0004, 0.006])
def test_the_real_clock_never_sleeps_less_than_asked(seconds: float) -> None:
    clock = RealClock()
    begin_ns = clock.now_ns()
    clock.sleep(seconds)
    assert clock.now_ns() - begin_ns >= round(seconds * 1e9)


@pytest.mark.skipif(sys.platform != "linux", reason="timer slack is a setting of Linux")
def test_a_thread_and_those_that_it_starts_sleep_sharply_once_asked_to() -> None:
    def slack_ns() -> int:
        return int(ctypes.CDLL(None).prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0))

    found: list[int] = []

    def work() -> None:
        sleep_sharply()
        found.append(slack_ns())
        child = threading.Thread(target=lambda: found.append(slack_ns()))
        child.start()
        child.join()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [1_000, 1_000]
