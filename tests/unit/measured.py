"""Memory that says what it was asked for."""

from __future__ import annotations

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
