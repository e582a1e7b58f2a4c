"""Wrong communicators: each breaks one promise of a group and keeps the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from dlio_benchmark.comm import Comm

T = TypeVar("T")


class WrongComm:
    """A group that passes everything on to another one."""

    def __init__(self, inner: Comm) -> None:
        self.inner = inner
        self.world, self.pulse = inner.world, inner.pulse

    def barrier(self, what: str = "barrier") -> None:
        """Meet all ranks."""
        self.inner.barrier(what)

    def gather(self, value: T, what: str) -> list[T]:
        """Return the values of all ranks."""
        return self.inner.gather(value, what)

    def share(self, value: T, what: str) -> T:
        """Return the value of rank 0."""
        return self.inner.share(value, what)

    def hosts(self) -> list[str]:
        """Return the hosts of all ranks."""
        return self.inner.hosts()

    def close(self) -> None:
        """Leave the group."""
        self.inner.close()


class SkipsTheBarrier(WrongComm):
    """Lets every rank through at once."""

    def barrier(self, what: str = "barrier") -> None:
        """Return at once."""


class GathersItsOwn(WrongComm):
    """Gives each rank its own value in place of the others'."""

    def gather(self, value: T, what: str) -> list[T]:
        self.inner.gather(value, what)
        return [value] * self.world.size


class SharesItsOwn(WrongComm):
    """Gives each rank its own value in place of rank 0's."""

    def share(self, value: T, what: str) -> T:
        self.inner.share(value, what)
        return value


class ComparesNothing(WrongComm):
    """Meets in whatever operation each rank has come to, as if all had come to the same one."""

    def barrier(self, what: str = "barrier") -> None:  # noqa: ARG002 - that is what is wrong
        """Meet all ranks, wherever they are."""
        self.inner.gather(None, "anything")

    def gather(self, value: T, what: str) -> list[T]:  # noqa: ARG002 - that is what is wrong
        """Return what all ranks have come with."""
        return self.inner.gather(value, "anything")

    def share(self, value: T, what: str) -> T:  # noqa: ARG002 - that is what is wrong
        """Return what rank 0 has come with."""
        return self.inner.gather(value, "anything")[0]


COMMS: Mapping[str, Callable[[Comm], Comm]] = {
    "skips-the-barrier": SkipsTheBarrier,
    "gathers-its-own-value": GathersItsOwn,
    "shares-its-own-value": SharesItsOwn,
    "compares-no-collectives": ComparesNothing,
}
