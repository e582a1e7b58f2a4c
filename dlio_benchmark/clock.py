"""Time as an argument: the real clock, and one that tests move by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock in nanoseconds."""

    def now_ns(self) -> int:
        """Return the time since some fixed moment; it never goes back."""

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""


class RealClock:
    """The monotonic clock of the machine."""

    __slots__ = ()

    now_ns = staticmethod(time.perf_counter_ns)
    sleep = staticmethod(time.sleep)


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
