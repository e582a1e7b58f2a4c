"""Scopes that end by agreement of all ranks, and waits that cannot hang.

A *scope* is one phase of a test, or one Hypothesis example.  Ending it sends this rank's outcome to all others on a
communicator that nothing else uses, and waits for theirs, bounded in time.  While a rank polls an operation of its
own it notices peers that have already ended the scope: they will never take part, so it gives up.  After anything
but a plain pass the communicator that tests use is replaced, so a message left behind can never reach the next test.

Invariant: all ranks take the decisions of `leave` from the same list of outcomes, so they stay in step.
"""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from mpi4py import MPI

from verification.errors import GuardError, OverdueError, PeerLeftError
from verification.mpi.comm import GuardedComm, broadcast

TAG = 77
LARGEST = 48 * 1024  # bytes of one outcome; it is sent to every peer
SPINS = 200
LONGEST_NAP_S = 0.002
ERROR_LINE = re.compile(r"[\s|]*[\w.]*(Error|Exception|Group|Failure)\b.*: ")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that things may take.

    A peer that *passed* may have done its part of the collective that we wait in, so `grace_s` is long: too short
    would turn a pass into a failure.  After a peer *failed* the verdict is settled, and `grace_failed_s` is short.
    """

    phase_s: float = 60.0
    grace_s: float = 5.0
    grace_failed_s: float = 0.1
    slack_s: float = 2.0
    settle_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """How a scope ended on one rank; ``note`` is small and picklable."""

    rank: int
    status: str
    note: Any = None
    trace: tuple[str, ...] = ()
    abandoned: frozenset[str] = frozenset()
    messages: bool = False


@dataclass(slots=True)
class Scope:
    """A stretch of a test that all ranks enter and leave together."""

    number: int
    label: str
    deadline: float
    trace: list[str] = field(default_factory=list)
    abandoned: set[str] = field(default_factory=set)
    messages: bool = False


class _Incoming:
    """A message on its way in, received without blocking."""

    def __init__(self, message: MPI.Message, size: int) -> None:
        self.buffer = bytearray(size)
        self.request = message.Irecv([self.buffer, MPI.BYTE])


class Guard:
    """The scopes of this rank and the communicator that its tests use."""

    def __init__(self, world: MPI.Intracomm, limits: Limits | None = None) -> None:
        self.world, self.rank, self.size = world, world.Get_rank(), world.Get_size()
        self.limits = limits or Limits()
        self.on_lost: Callable[[Scope, list[int]], None] | None = None
        self.scopes: list[Scope] = []
        self._control = MPI.Intracomm.Dup(world)
        self._base = MPI.Intracomm.Dup(world)
        self._steering = MPI.Intracomm.Dup(self._base)
        self.comm = self._fresh()
        self._number = 0
        self._inbox: dict[int, dict[int, Report]] = {}
        self._incoming: list[_Incoming] = []
        self._outgoing: list[tuple[MPI.Request, bytes]] = []
        self._kept: list[object] = []  # buffers of abandoned operations: MPI may still write to them

    # -- waiting ------------------------------------------------------------------------------------------------
    def wait(self, request: Any, what: str, ranks: Collection[int], *, keep: object = None, on: str = "comm") -> None:
        """Complete ``request`` or raise; ``on`` names the communicator, ``keep`` holds its buffers.

        Raises:
            PeerLeftError: if one of ``ranks`` has ended the scope.
            OverdueError: if the deadline of the scope has passed.
        """
        __tracebackhide__ = True
        scope = self.scopes[-1] if self.scopes else None
        deadline = scope.deadline if scope else time.monotonic() + self.limits.phase_s
        nap, left_since = _Nap(), None
        while not request.Test():
            self.pump()
            now, gone = time.monotonic(), self.left(ranks)
            if gone and left_since is None:
                left_since = now
            settled = any(report.status == "failed" for report in gone.values())
            grace_s = self.limits.grace_failed_s if settled else self.limits.grace_s
            given_up = left_since is not None and now - left_since > grace_s
            if given_up or now > deadline:
                self._abandon(request, keep, on)
                label = scope.label if scope else "no scope"
                if given_up:
                    raise PeerLeftError(_left_text(self.rank, what, label, gone))
                raise OverdueError(f"rank {self.rank}: {what} was not complete before the deadline of '{label}'")
            nap.take()

    def left(self, ranks: Collection[int]) -> dict[int, Report]:
        """Return the reports of those of ``ranks`` that already ended a scope which this rank is still in."""
        return {
            rank: report
            for scope in self.scopes
            for rank, report in self._inbox.get(scope.number, {}).items()
            if rank in ranks
        }

    def pump(self) -> None:
        """Move outcomes in and out; never blocks."""
        status = MPI.Status()
        while (message := self._control.Improbe(source=MPI.ANY_SOURCE, tag=TAG, status=status)) is not None:
            self._incoming.append(_Incoming(message, status.Get_count(MPI.BYTE)))
        for incoming in list(self._incoming):
            if incoming.request.Test():
                self._incoming.remove(incoming)
                number, report = pickle.loads(incoming.buffer)  # noqa: S301 - from a rank of this job
                self._inbox.setdefault(number, {})[report.rank] = report
        self._outgoing = [pair for pair in self._outgoing if not pair[0].Test()]

    def _abandon(self, request: object, keep: object, on: str) -> None:
        self._kept.append((request, keep))
        for scope in self.scopes:
            scope.abandoned.add(on)

    # -- scopes -------------------------------------------------------------------------------------------------
    def enter(self, label: str, limit_s: float | None = None) -> Scope:
        """Begin a scope that ends within ``limit_s``, or with the scope around it if that is sooner."""
        self._number += 1
        deadline = time.monotonic() + (self.limits.phase_s if limit_s is None else limit_s)
        if self.scopes:
            deadline = min(deadline, self.scopes[-1].deadline)
        self.scopes.append(Scope(self._number, label, deadline))
        return self.scopes[-1]

    def leave(
        self, scope: Scope, status: str, note: object = None, *, compare: bool = True, patience_s: float | None = None
    ) -> list[Report]:
        """End ``scope`` and return how it ended on every rank, in rank order and equal on all ranks.

        ``compare`` turns a pass into a failure where the ranks made different collective calls.  Slow peers are
        waited for until after the deadline of the scope, or for ``patience_s``; then `on_lost` is told.
        """
        while self.scopes[-1] is not scope:
            self.scopes.pop()  # an inner scope that an error cut short
        mine = Report(self.rank, status, note, tuple(scope.trace), frozenset(scope.abandoned), scope.messages)
        box = self._inbox.setdefault(scope.number, {})
        box[self.rank] = mine
        self._tell(scope.number, mine)
        self._await_all(scope, box, patience_s)
        reports = [box[rank] for rank in range(self.size)]
        self.scopes.pop()
        del self._inbox[scope.number]
        if compare and all(report.status == "passed" for report in reports):
            reports = _compare_traces(reports)
        abandoned = frozenset().union(*(report.abandoned for report in reports))
        if abandoned or any(report.status not in ("passed", "skipped") for report in reports):
            quiet = len({report.trace for report in reports}) == 1 and not any(report.messages for report in reports)
            self._renew(abandoned, quiet=quiet)
        return reports

    def _tell(self, number: int, report: Report) -> None:
        blob = pickle.dumps((number, report), protocol=5)
        if len(blob) > LARGEST:
            short = replace(report, note=f"(shortened) {str(report.note)[:8000]}", trace=report.trace[:100])
            blob = pickle.dumps((number, short), protocol=5)
        for peer in range(self.size):
            if peer != self.rank:
                request = self._control.Isend([blob, MPI.BYTE], dest=peer, tag=TAG)
                self._outgoing.append((request, blob))

    def _await_all(self, scope: Scope, box: dict[int, Report], patience_s: float | None) -> None:
        limit = scope.deadline + 2 * self.limits.slack_s
        if patience_s is not None:
            limit = min(limit, time.monotonic() + patience_s)
        nap = _Nap()
        while len(box) < self.size:
            self.pump()
            if time.monotonic() > limit:
                missing = sorted(set(range(self.size)) - set(box))
                if self.on_lost is not None:
                    self.on_lost(scope, missing)
                raise GuardError(f"rank(s) {missing} never ended '{scope.label}'")
            nap.take()

    def _renew(self, abandoned: Collection[str], *, quiet: bool) -> None:
        """Give the next scope a clean communicator.

        Nothing else uses `_base`, so duplicating it cannot meet a stray call.  The old one is freed only if
        nothing can be on its way in it: a library has few communicators and uses a freed one's context again.
        """
        old, self.comm = self.comm, self._fresh()
        if quiet and "comm" not in abandoned:
            old.Free()
        if "steering" in abandoned:
            self._steering = MPI.Intracomm.Dup(self._base)

    def _fresh(self) -> GuardedComm:
        return GuardedComm(MPI.Intracomm.Dup(self._base)).attach(self, range(self.size))

    def begin_trial(self, label: str) -> tuple[GuardedComm, Scope]:
        """Give what must fail a communicator of its own, so that the one outside stays usable."""
        outer, self.comm = self.comm, self._fresh()
        return outer, self.enter(label)

    def end_trial(self, token: tuple[GuardedComm, Scope], *, failed: bool) -> bool:
        """Return whether the trial failed on any rank; all ranks get the same answer."""
        outer, scope = token
        reports = self.leave(scope, "failed" if failed else "passed", compare=False)
        spare, self.comm = self.comm, outer
        spare.Free()
        return any(report.status == "failed" for report in reports)

    # -- steering -----------------------------------------------------------------------------------------------
    def post(self, value: Any = None) -> Any:
        """Return rank 0's ``value`` on every rank, apart from the communicator under test."""
        return broadcast(self, self._steering, value, what="post", ranks=range(self.size), on="steering")

    def meet(self, patience_s: float) -> bool:
        """Wait up to ``patience_s`` for all ranks at the end of the session; False if some did not come."""
        request, limit, nap = self._control.Ibarrier(), time.monotonic() + patience_s, _Nap()
        while not request.Test():
            if time.monotonic() > limit:
                self._kept.append(request)
                return False
            nap.take()
        return True


class _Nap:
    """Spin shortly, then sleep a little longer each time: kind to machines with more ranks than cores."""

    def __init__(self) -> None:
        self._spins = 0

    def take(self) -> None:
        self._spins += 1
        if self._spins > SPINS:
            time.sleep(min(LONGEST_NAP_S, 2e-5 * (self._spins - SPINS)))


def _compare_traces(reports: list[Report]) -> list[Report]:
    if len({report.trace for report in reports}) == 1:
        return reports
    calls = "; ".join(f"rank {report.rank}: [{', '.join(report.trace[-12:])}]" for report in reports)
    note = f"collective calls differ between ranks: {calls}"
    return [replace(report, status="failed", note=note) for report in reports]


def _left_text(rank: int, what: str, label: str, gone: dict[int, Report]) -> str:
    who = "; ".join(f"rank {peer} {report.status}{headline(report)}" for peer, report in sorted(gone.items()))
    return f"rank {rank} waited in {what} for a peer that left '{label}' ({who})"


def headline(report: Report) -> str:
    """Return ': ' and the essential line of what a rank reported, or nothing."""
    if isinstance(report.note, dict) and "type" in report.note:
        first = str(report.note["message"]).partition("\n")[0]
        return f": {report.note['type']}: {first} ({report.note['file']}:{report.note['line']})"
    lines = str(report.note).splitlines() if report.note else []
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    errors += [line.strip(" |+-") for line in lines if ERROR_LINE.match(line)]
    return f": {errors[0][:200]}" if errors else ""
