"""The guarded communicator of the harness, as the group that the product knows."""

from __future__ import annotations

import socket
from typing import Any, TypeVar

from dlio_benchmark.guard import Pulse
from dlio_benchmark.plan.world import World

T = TypeVar("T")


class Ranks:
    """A group of real processes whose collectives end with an error where others would wait for ever."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.world = World(comm.rank, comm.size)
        self.pulse = Pulse()

    def barrier(self, what: str = "barrier") -> None:
        """Return when every rank has called it."""
        self._comm.barrier()

    def gather(self, value: T, what: str) -> list[T]:
        """Return the values of all ranks, in rank order."""
        found: list[T] = self._comm.allgather(value)
        return found

    def share(self, value: T, what: str) -> T:
        """Return the value of rank 0."""
        found: T = self._comm.bcast(value)
        return found

    def hosts(self) -> list[str]:
        """Return the host name of every rank."""
        return self.gather(socket.gethostname(), "hosts")

    def close(self) -> None:
        """Return when every rank has called it."""
        self._comm.barrier()
