"""The processes of a run and what they tell each other: one protocol, three groups.

`Solo` is a process alone, `Simulated` a group of threads for tests of plans, and the group over MPI lives in
`dlio_benchmark.comm_mpi`, which is imported only when a launcher started this process.  Every operation carries its
kind, its name and its number: ranks that do not agree on them get a `CollectiveMismatchError`, all of them,
instead of each other's values.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from dlio_benchmark.board import BOARD, MARK, Board, spelled
from dlio_benchmark.errors import CollectiveMismatchError, ConfigError, Issue, StalledError, listed
from dlio_benchmark.guard import Guard, Pulse
from dlio_benchmark.plan.world import World

T = TypeVar("T")

DEADLINE_S = 300.0
STALL_S = 60.0
_LAST_INTERACTIVE_STEP = 0xFFFFFFF0


class Comm(Protocol):
    """The group that this process belongs to.

    Every method is a collective: all ranks call the same ones in the same order, from one thread.  ``pulse`` is
    where the work says what it is doing.

    Raises:
        CollectiveMismatchError: on all ranks, if they called different operations.
        StalledError: if no rank has moved for the deadline.
    """

    world: World
    pulse: Pulse

    def barrier(self, what: str = "barrier") -> None:
        """Return when every rank has called it."""

    def gather(self, value: T, what: str) -> list[T]:
        """Return the values of all ranks, in rank order, on every rank."""

    def share(self, value: T, what: str) -> T:
        """Return the value of rank 0 on every rank."""

    def hosts(self) -> list[str]:
        """Return the host name of every rank, in rank order."""

    def close(self) -> None:
        """Leave the group together with all others; nothing may be called after it."""


class Solo:
    """A group of one."""

    def __init__(self, pulse: Pulse | None = None) -> None:
        self.world = World()
        self.pulse = pulse or Pulse()

    def barrier(self, what: str = "barrier") -> None:
        """Return at once."""

    def gather(self, value: T, what: str) -> list[T]:  # noqa: ARG002 - nobody to agree with
        """Return the value alone."""
        return [value]

    def share(self, value: T, what: str) -> T:  # noqa: ARG002 - nobody to agree with
        """Return the value."""
        return value

    def hosts(self) -> list[str]:
        """Return the name of this host."""
        return [socket.gethostname()]

    def close(self) -> None:
        """Do nothing."""


def differing(described: Sequence[str]) -> CollectiveMismatchError:
    """Return the error for ranks that are in different operations; ``described[r]`` is what rank r says."""
    ranks: dict[str, list[int]] = {}
    for rank, text in enumerate(described):
        ranks.setdefault(text, []).append(rank)
    lines = [f"{spelled(some)}: {text}" for text, some in ranks.items()]
    return CollectiveMismatchError(listed("the ranks are not in the same operation", lines))


@dataclass(slots=True)
class _Meeting:
    """Where the threads of a simulated group meet; guarded by ``changed``."""

    size: int
    deadline_s: float
    changed: threading.Condition = field(default_factory=threading.Condition)
    round: int = 0
    said: dict[int, tuple[str, Any]] = field(default_factory=dict)
    result: list[tuple[str, Any]] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)

    def meet(self, rank: int, operation: str, value: Any) -> list[Any]:
        with self.changed:
            here = self.round
            self.said[rank] = operation, value
            self._complete()
            until = time.monotonic() + self.deadline_s
            while self.round == here:
                if not self.changed.wait(until - time.monotonic()):
                    missing = [r for r in range(self.size) if r not in self.said]
                    raise StalledError(f"{spelled(missing)} did not reach {operation} within {self.deadline_s:g} s")
            result = self.result
        if len({text for text, _ in result}) > 1:
            raise differing([text for text, _ in result])
        return [value for _, value in result]

    def leave(self, rank: int, how: str) -> None:
        with self.changed:
            self.said.pop(rank, None)
            self.left[rank] = how
            self._complete()

    def _complete(self) -> None:
        if self.said and len(self.said) + len(self.left) == self.size:
            self.result = [self.said.get(r) or (self.left[r], None) for r in range(self.size)]
            self.said = {}
            self.round += 1
            self.changed.notify_all()


class Simulated:
    """One rank of a group of threads in this process, made by `Simulated.run`."""

    def __init__(self, world: World, meeting: _Meeting, hosts: Sequence[str]) -> None:
        self.world = world
        self.pulse = Pulse()
        self._meeting = meeting
        self._hosts = list(hosts)

    @classmethod
    def run(
        cls, size: int, work: Callable[[Simulated], T], *, hosts: Sequence[str] = (), deadline_s: float = 60.0
    ) -> list[T]:
        """Return what ``work`` returned on each of ``size`` ranks; raises the error of the lowest rank that had one.

        An error of the work itself comes before the errors of the ranks that were left waiting for it.
        """
        meeting = _Meeting(size, deadline_s)
        group = [cls(World(rank, size), meeting, hosts or ["localhost"] * size) for rank in range(size)]
        results: dict[int, T] = {}
        errors: dict[int, BaseException] = {}

        def live(comm: Simulated) -> None:
            rank = comm.world.rank
            try:
                results[rank] = work(comm)
            except BaseException as error:
                errors[rank] = error
            how = "failed" if rank in errors else "ended its work"
            meeting.leave(rank, f"{how} after operation {comm.pulse.operations}")

        threads = [threading.Thread(target=live, args=(comm,), daemon=True) for comm in group]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for rank in sorted(errors, key=lambda rank: (isinstance(errors[rank], CollectiveMismatchError), rank)):
            raise errors[rank]
        return [results[rank] for rank in range(size)]

    def _meet(self, kind: str, what: str, value: Any = None) -> list[Any]:
        self.pulse.operations += 1
        return self._meeting.meet(self.world.rank, f"{kind} {what!r}, operation {self.pulse.operations}", value)

    def barrier(self, what: str = "barrier") -> None:
        """Return when every rank has called it."""
        self._meet("barrier", what)

    def gather(self, value: T, what: str) -> list[T]:
        """Return the values of all ranks; they are not copied."""
        return self._meet("gather", what, value)

    def share(self, value: T, what: str) -> T:
        """Return the value of rank 0; it is not copied."""
        first: T = self._meet("share", what, value)[0]
        return first

    def hosts(self) -> list[str]:
        """Return the host names that the group was made with."""
        return list(self._hosts)

    def close(self) -> None:
        """Return when every rank has called it."""
        self._meet("close", "the group")


@dataclass(frozen=True, slots=True)
class Launch:
    """What a launcher's environment says: its name, and the rank and size it gave; None if it does not say."""

    launcher: str
    rank: int | None
    size: int | None


_LAUNCHERS = (
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MVAPICH", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("Hydra", "PMI_RANK", "PMI_SIZE"),
    ("PALS", "PALS_RANKID", "PALS_NRANKS"),
    ("Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("PMIx", "PMIX_RANK", ""),
)


def launch_of(environ: Mapping[str, str]) -> Launch | None:
    """Return how an MPI launcher started this process, or None if none did.

    A shell or a script inside a Slurm allocation is no rank, though it sees the size of the allocation: only a
    numbered job step has ranks.
    """
    for launcher, rank, size in _LAUNCHERS:
        if rank not in environ or (launcher == "Slurm" and not _is_job_step(environ)):
            continue
        name = "PMI" if launcher == "Hydra" and "MPI_LOCALNRANKS" not in environ else launcher
        return Launch(name, _number(environ, rank), _number(environ, size))
    return None


def _is_job_step(environ: Mapping[str, str]) -> bool:
    step = _number(environ, "SLURM_STEP_ID")
    return step is not None and step < _LAST_INTERACTIVE_STEP


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise ConfigError([Issue(name, f"must be a number, got {text!r}")], "the launcher's environment is not valid")
    return int(text)


def connect(
    environ: Mapping[str, str],
    *,
    guard: Guard | None = None,
    deadline_s: float = DEADLINE_S,
    stall_s: float = STALL_S,
) -> Comm:
    """Return the group that this process was started in: over MPI if a launcher started several, else `Solo`.

    Args:
        environ: the environment of the process.
        guard: stands around the work; it is told how to end the group.
        deadline_s: how long no rank may move before the run is ended; 0 for ever.
        stall_s: how long a rank may stand still before a table of all ranks is shown.

    Raises:
        ConfigError: if the launcher and the MPI library do not belong together, or there is no MPI.
    """
    guard = guard or Guard()
    launch = launch_of(environ)
    place = environ.get(BOARD, "")
    board = Board.find(place, environ.get(MARK, ""))
    if launch is None or launch.size == 1:
        _go_with_starter(place, board)
        return Solo(guard.pulse)
    guard.world = World(launch.rank or 0, launch.size or 1)
    try:
        from dlio_benchmark.comm_mpi import join  # noqa: PLC0415 - an extra, needed under a launcher only
    except (ImportError, RuntimeError, OSError) as error:
        what = f"{launch.launcher} started this process, but mpi4py cannot be used: {error}"
        remedy = "install it with: pip install 'dlio_benchmark[mpi]'"
        raise ConfigError([Issue("MPI", f"{what}; {remedy}")], "MPI is not available") from error
    starter = None if board is None else Board.maker(place)
    return join(launch, guard, deadline_s=deadline_s, stall_s=stall_s, board=board, starter=starter)


def _go_with_starter(place: str, board: int | None) -> None:
    """Let a process that a front end started, directly or through a launcher, end with it."""
    if board is None:
        return
    os.close(board)
    threading.Thread(target=_follow, args=(Board.maker(place),), name="dlio-starter", daemon=True).start()


def _follow(starter: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        poll = select.poll()
        poll.register(os.pidfd_open(starter), select.POLLIN)
        poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)
