"""A real communicator whose collectives are polled instead of blocking, for code under test.

Each blocking operation is its non-blocking twin plus `Waiter.wait`, which knows deadlines and peers that left.
"""

from __future__ import annotations

import array
import functools
import pickle
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

from mpi4py import MPI

if TYPE_CHECKING:
    from verification.mpi.guard import Scope

F = TypeVar("F", bound=Callable[..., Any])


class Waiter(Protocol):
    """What a guarded communicator needs of its guard."""

    rank: int
    size: int
    scopes: list[Scope]

    def wait(self, request: Any, what: str, ranks: Collection[int], *, keep: object = None, on: str = "comm") -> None:
        """Complete ``request`` or raise; never block."""


def broadcast(
    guard: Waiter, comm: Any, value: Any, *, what: str, ranks: Collection[int], root: int = 0, on: str = "comm"
) -> Any:
    """Return the ``value`` of ``root`` on every rank of ``comm``."""
    sender = MPI.Comm.Get_rank(comm) == root
    blob = bytearray(pickle.dumps(value, protocol=5)) if sender else bytearray()
    size = array.array("q", [len(blob)])
    guard.wait(comm.Ibcast([size, MPI.INT64_T], root=root), what, ranks, keep=size, on=on)
    if not sender:
        blob = bytearray(size[0])
    guard.wait(comm.Ibcast([blob, MPI.BYTE], root=root), what, ranks, keep=blob, on=on)
    return value if sender else pickle.loads(blob)  # noqa: S301 - from a rank of this job


def _traced(method: F) -> F:
    """Note the call in the scope, so that ranks which made different calls are found out."""

    @functools.wraps(method)
    def traced(self: GuardedComm, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if self.guard.scopes and len(self.ranks) == self.guard.size:
            self.guard.scopes[-1].trace.append(method.__name__.lower())
        return method(self, *args, **kwargs)

    return cast(F, traced)


class GuardedComm(MPI.Intracomm):
    """Stands in for `MPI.COMM_WORLD` in tests; after a failed scope the guard hands out a new one."""

    guard: Waiter
    ranks: tuple[int, ...]

    def attach(self, guard: Waiter, ranks: Iterable[int]) -> Self:
        """Return this communicator, guarded; ``ranks`` are its members as ranks of the world."""
        self.guard, self.ranks = guard, tuple(ranks)
        return self

    def _wait(self, request: Any, what: str, *keep: object) -> None:
        __tracebackhide__ = True
        self.guard.wait(request, what, self.ranks, keep=keep)

    @_traced
    def barrier(self) -> None:
        """Return when all ranks are here."""
        __tracebackhide__ = True
        self._wait(self.Ibarrier(), "barrier")

    Barrier = barrier

    @_traced
    def bcast(self, obj: Any = None, root: int = 0) -> Any:
        """Return the object of ``root``."""
        return broadcast(self.guard, self, obj, what="bcast", ranks=self.ranks, root=root)

    def _collect(self, value: Any, what: str) -> list[Any]:
        __tracebackhide__ = True
        blob, count = pickle.dumps(value, protocol=5), self.Get_size()
        mine, sizes = array.array("q", [len(blob)]), array.array("q", [0] * count)
        self._wait(self.Iallgather([mine, MPI.INT64_T], [sizes, MPI.INT64_T]), what, mine, sizes)
        starts = [sum(sizes[:i]) for i in range(count)]
        everything = bytearray(sum(sizes))
        target = [everything, (list(sizes), starts), MPI.BYTE]
        self._wait(self.Iallgatherv([blob, MPI.BYTE], target), what, blob, everything)
        view = memoryview(everything)
        return [
            pickle.loads(view[start : start + size])  # noqa: S301 - from a rank of this job
            for start, size in zip(starts, sizes, strict=True)
        ]

    @_traced
    def allgather(self, sendobj: Any) -> list[Any]:
        """Return the objects of all ranks, in rank order."""
        return self._collect(sendobj, "allgather")

    @_traced
    def allreduce(self, sendobj: Any, op: Any = MPI.SUM) -> Any:
        """Return the objects of all ranks, combined by ``op``."""
        return functools.reduce(op, self._collect(sendobj, "allreduce"))

    @_traced
    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None:
        """Return the objects of all ranks on ``root``, None elsewhere."""
        values = self._collect(sendobj, "gather")
        return values if self.Get_rank() == root else None

    @_traced
    def reduce(self, sendobj: Any, op: Any = MPI.SUM, root: int = 0) -> Any:
        """Return the combined objects on ``root``, None elsewhere."""
        values = self._collect(sendobj, "reduce")
        return functools.reduce(op, values) if self.Get_rank() == root else None

    @_traced
    def scatter(self, sendobj: Any = None, root: int = 0) -> Any:
        """Return this rank's item of the sequence of ``root``."""
        values = broadcast(self.guard, self, sendobj, what="scatter", ranks=self.ranks, root=root)
        return values[self.Get_rank()]

    @_traced
    def Bcast(self, buf: Any, root: int = 0) -> None:  # noqa: N802
        """Fill the buffer from ``root``."""
        self._wait(self.Ibcast(buf, root=root), "Bcast", buf)

    @_traced
    def Reduce(self, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM, root: int = 0) -> None:  # noqa: N802
        """Combine buffers into the one of ``root``."""
        self._wait(self.Ireduce(sendbuf, recvbuf, op=op, root=root), "Reduce", sendbuf, recvbuf)

    @_traced
    def Allreduce(self, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM) -> None:  # noqa: N802
        """Combine buffers of all ranks."""
        self._wait(self.Iallreduce(sendbuf, recvbuf, op=op), "Allreduce", sendbuf, recvbuf)

    @_traced
    def Allgather(self, sendbuf: Any, recvbuf: Any) -> None:  # noqa: N802
        """Collect buffers of all ranks."""
        self._wait(self.Iallgather(sendbuf, recvbuf), "Allgather", sendbuf, recvbuf)

    def send(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object to one rank."""
        self._note_message()
        blob = pickle.dumps(obj, protocol=5)
        self._wait(self.Isend([blob, MPI.BYTE], dest=dest, tag=tag), "send", blob)

    def recv(self, buf: Any = None, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Any = None) -> Any:  # noqa: ARG002
        """Return the next object sent to this rank."""
        self._note_message()
        arrival = _Arrival(self, source, tag, status or MPI.Status())
        self._wait(arrival, "recv")
        blob = bytearray(arrival.status.Get_count(MPI.BYTE))
        self._wait(arrival.message.Irecv([blob, MPI.BYTE]), "recv", blob)
        return pickle.loads(blob)  # noqa: S301 - from a rank of this job

    def _note_message(self) -> None:
        for scope in self.guard.scopes:
            scope.messages = True

    def Dup(self, info: Any = None) -> GuardedComm:  # noqa: N802, ARG002
        """Return a guarded copy; the barrier makes sure that all ranks take part in the blocking call."""
        self.barrier()
        return GuardedComm(MPI.Intracomm.Dup(self)).attach(self.guard, self.ranks)

    def Split(self, color: int = 0, key: int = 0) -> GuardedComm:  # noqa: N802
        """Return the guarded communicator of the ranks with this ``color``."""
        triples = self._collect((color, key, self.guard.rank), "Split")
        part = MPI.Intracomm.Split(self, color, key)
        members = [rank for _, rank in sorted((k, rank) for c, k, rank in triples if c == color)]
        return GuardedComm(part).attach(self.guard, members)


class _Arrival:
    """Makes a matched probe look like a request, so that it can be waited for."""

    def __init__(self, comm: Any, source: int, tag: int, status: Any) -> None:
        self._comm, self._source, self._tag, self.status = comm, source, tag, status
        self.message: Any = None

    def Test(self) -> bool:  # noqa: N802
        self.message = self._comm.Improbe(self._source, self._tag, status=self.status)
        return self.message is not None
