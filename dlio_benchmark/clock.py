"""Time as an argument: the real clock, and one that tests move by hand."""

from __future__ import annotations

import ctypes
import datetime
import sys
import time
from typing import Protocol

_PR_SET_TIMERSLACK = 29
_SLACK_NS = 1_000
_AWAKE_S, _AWAKE_SHARE = 300e-6, 0.06


class Clock(Protocol):
    """A monotonic clock in nanoseconds."""

    def now_ns(self) -> int:
        """Return the time since some fixed moment; it never goes back."""

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""


def after(moment: datetime.datetime, span_ns: int) -> datetime.datetime:
    """Return the moment ``span_ns`` later: a span of a `Clock`, for the clock of the wall may be set meanwhile."""
    return moment + datetime.timedelta(microseconds=span_ns / 1e3)


class RealClock:
    """The monotonic clock of the machine."""

    __slots__ = ()

    now_ns = staticmethod(time.perf_counter_ns)

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; the last moments are spent awake, for a sleeper is woken late.

        Ranks wait for each other after each step, so each of them would pay for the latest.
        """
        end = time.perf_counter_ns() + round(seconds * 1e9)
        time.sleep(seconds - min(_AWAKE_S, seconds * _AWAKE_SHARE))
        while time.perf_counter_ns() < end:
            time.sleep(0)


class FakeClock:
    """A clock that moves only when told to; ``sleep`` moves it and returns at once."""

    def __init__(self, start_ns: int = 0) -> None:
        self.time_ns = start_ns

    def now_ns(self) -> int:
        """Return the time that the clock was moved to."""
        return self.time_ns

    def sleep(self, seconds: float) -> None:
        """Move the clock forward by ``seconds``."""
        self.time_ns += round(seconds * 1e9)

    def advance(self, ns: int) -> None:
        """Move the clock forward by ``ns``."""
        self.time_ns += ns


def sleep_sharply() -> None:
    """Let the kernel end the sleeps of this thread, and of threads that it starts, on time.

    By default it may be 50 us late, which is a good part of a short computation.  Where there is no such setting
    nothing happens.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _SLACK_NS, 0, 0, 0)
