"""Memory that says what it was asked for, or takes its time."""

from __future__ import annotations

from dlio_benchmark.clock import FakeClock
from dlio_benchmark.memory import Pieces


class Measured(Pieces):
    """Notes how much memory is asked for, and keeps it; each piece is new."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.rooms: list[memoryview] = []

    def reserve(self, size: int) -> memoryview:
        """Return new memory."""
        self.asked.append(size)
        self.rooms.append(memoryview(bytearray(size)))
        return self.rooms[-1]


class SlowPieces(Pieces):
    """Memory of which each piece takes 100 ns to get."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock

    def reserve(self, size: int) -> memoryview:
        """Return memory a little later."""
        self.clock.advance(100)
        return super().reserve(size)
