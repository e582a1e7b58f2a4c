"""Makes N pytest processes behave as one: the same tests, the same verdicts, one voice, an end in bounded time."""

from __future__ import annotations

import faulthandler
import hashlib
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

import pytest
from mpi4py import MPI

from verification.journal import Journal
from verification.keeper import empty, word
from verification.mpi.guard import Guard, Limits, Report, Scope, headline

EXIT_LOST = 86
DAY_S = 24 * 3600.0
CONSEQUENCES = ("PeerLeftError", "RemoteFailure: rank 0 reports")
WRITERS = ("lfplugin", "nfplugin", "stepwiseplugin")


class InStep:
    """The agreement of the ranks: one scope per phase of every collective test."""

    def __init__(self, config: pytest.Config, told: int) -> None:
        world = MPI.COMM_WORLD
        if world.Get_size() != told:  # lone processes would each pass the whole suite
            raise pytest.UsageError(
                f"the launcher started {told} ranks, but mpi4py is bound to {MPI.get_vendor()[0]} and sees "
                f"{world.Get_size()}: launcher and MPI library do not belong together"
            )
        self.config = config
        self.guard = Guard(world, Limits(phase_s=config.option.phase_limit))
        self.guard.on_lost = self._lost
        self.rank, self.size = self.guard.rank, self.guard.size
        if self.rank:
            config.option.xmlpath = None  # one report, from rank 0
        self._peers = self.guard.comm.allgather((platform.node(), os.getpid()))
        self._scope: Scope | None = None
        self._journal: Journal | None = None
        self._stacks: TextIO | None = None
        self._watchdog = _Watchdog(self)

    def attach(self, journal: Journal) -> None:
        """Write losses and stacks next to ``journal``."""
        self._journal = journal
        self._stacks = journal.stacks.open("w", encoding="utf-8")
        faulthandler.register(signal.SIGUSR1, file=self._stacks, all_threads=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Send fatal tracebacks to the journal, and other ranks' words to a file."""
        if self._stacks is not None:
            faulthandler.enable(file=self._stacks)
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        if self.rank and reporter is not None and self._journal is not None:
            reporter._tw._file = self._journal.path.with_suffix(".log").open("w", encoding="utf-8")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Leave pytest's cache to rank 0."""
        for name in WRITERS if self.rank else ():
            plugin = self.config.pluginmanager.getplugin(name)
            if plugin is not None:
                self.config.pluginmanager.unregister(plugin)

    # -- agreement ----------------------------------------------------------------------------------------------
    def same_tests(self, ids: Sequence[str]) -> None:
        """Refuse to go on if the ranks collected different tests."""
        digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
        if len(set(self.guard.comm.allgather(digest))) != 1:
            counts = self.guard.comm.allgather(len(ids))
            raise pytest.UsageError(f"the ranks collected different tests (numbers by rank: {counts})")

    def begin(self, item: pytest.Item, when: str) -> None:
        """Open the scope of a phase and start its watchdog."""
        mark = item.get_closest_marker("phase_limit")
        limit_s = float(mark.args[0]) if mark else self.guard.limits.phase_s
        self._scope = self.guard.enter(f"{item.nodeid} [{when}]", limit_s)
        self._watchdog.arm(self._scope)

    def settle(self, item: pytest.Item, report: pytest.TestReport, *, must_hold: bool, held: int) -> dict[int, str]:
        """Close the scope; make ``report`` say what all ranks say, and return the word of each."""
        scope, self._scope = self._scope, None
        if scope is None:
            return {self.rank: word(report)}
        self._watchdog.disarm()  # from here on the guard bounds itself
        note: object = report.longreprtext[-12_000:] if report.failed else {"held": held}
        patience_s = self.guard.limits.settle_s if report.failed else None
        compare = report.when == "call"
        reports = self.guard.leave(scope, word(report), note, compare=compare, patience_s=patience_s)
        _unite(report, reports)
        if must_hold and word(report) == "passed" and not any(r.note["held"] for r in reports):
            empty(item, report)
        return {r.rank: r.status for r in reports}

    def finish(self, status: int) -> int | None:
        """Wait for all ranks (those without serial tests are here long before rank 0); return rank 0's ``status``."""
        return int(self.guard.post(status)) if self.guard.meet(DAY_S) else None

    # -- the last resort ----------------------------------------------------------------------------------------
    def _lost(self, scope: Scope, missing: Sequence[int]) -> None:
        for rank in missing:  # have them print their stacks, even out of C
            host, pid = self._peers[rank]
            if host == platform.node():
                try:
                    os.kill(pid, signal.SIGUSR1)
                except OSError:
                    continue
        time.sleep(0.3)  # the stacks must be on disk before the job dies
        self.end_job(scope, f"rank(s) {', '.join(map(str, missing))} never came back", missing)

    def end_job(self, scope: Scope, why: str, missing: Sequence[int]) -> None:
        """Write down what is known and abort all ranks."""
        if self._stacks is not None and self._journal is not None:
            if self.rank in missing:
                self._stacks.write("Timeout (this rank is stuck)\n")
                faulthandler.dump_traceback(file=self._stacks, all_threads=True)
                self._stacks.flush()
            self._journal.write(
                "lost",
                id=scope.label.rpartition(" [")[0],
                outcome="timeout",
                detail=f"{scope.label}: {why}",
                ranks=dict.fromkeys(missing, "timeout"),
            )
        sys.stderr.write(f"\nrank {self.rank}: {scope.label}: {why}; ending the job\n")
        sys.stderr.flush()
        threading.Timer(3.0, os._exit, (EXIT_LOST,)).start()
        self.guard.world.Abort(EXIT_LOST)


class _Watchdog:
    """Ends the job when this rank itself is stuck past its deadline.

    A thread comes first, because it can write the journal; behind it stands a timer in C, which also fires while
    native code holds the interpreter lock.
    """

    def __init__(self, owner: InStep) -> None:
        self._owner = owner
        self._scope: Scope | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._watch, daemon=True, name="verification-watchdog").start()

    def arm(self, scope: Scope) -> None:
        slack_s = self._owner.guard.limits.slack_s
        with self._changed:
            self._scope = scope
            self._changed.notify()
        limit_s = max(1.0, scope.deadline + 2 * slack_s - time.monotonic())
        stacks = self._owner._stacks
        if stacks is not None:
            faulthandler.dump_traceback_later(limit_s, exit=True, file=stacks)

    def disarm(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        with self._changed:
            self._scope = None
            self._changed.notify()

    def _watch(self) -> None:
        slack_s = self._owner.guard.limits.slack_s
        with self._changed:
            while True:
                scope = self._scope
                left_s = DAY_S if scope is None else scope.deadline + slack_s - time.monotonic()
                if scope is not None and left_s <= 0:
                    break
                self._changed.wait(left_s)
        self._owner.end_job(scope, "this rank is stuck outside any guarded call", [self._owner.rank])


def _unite(report: pytest.TestReport, reports: list[Report]) -> None:
    """Make this rank's ``report`` say what all ranks together say."""
    words = {r.status for r in reports}
    failed = [r for r in reports if r.status == "failed"]
    if failed:
        if hasattr(report, "wasxfail"):
            del report.wasxfail
        report.outcome, report.longrepr = "failed", _account(failed, len(reports))
    elif words == {"xfailed", "xpassed"}:
        report.outcome = "skipped"  # an expected failure, seen on some ranks
    elif len(words) > 1:
        if hasattr(report, "wasxfail"):
            del report.wasxfail
        story = ", ".join(f"rank {r.rank} {r.status}" for r in reports)
        report.outcome, report.longrepr = "failed", f"the ranks do not end alike: {story}"


def _account(failed: list[Report], size: int) -> str:
    """Return the story of a failure: root causes first, ranks with the same story together."""
    groups: dict[str, list[Report]] = {}
    for r in failed:
        groups.setdefault(str(r.note), []).append(r)
    ordered = sorted(groups.items(), key=lambda pair: (any(word in pair[0] for word in CONSEQUENCES), pair[1][0].rank))
    first = ordered[0]
    cause = headline(first[1][0]) or f": {first[0].strip().splitlines()[-1] if first[0].strip() else 'failed'}"
    parts = [f"{_names(group)} of {size}{cause if i == 0 else ''}\n{text}" for i, (text, group) in enumerate(ordered)]
    return "\n\n".join(parts)


def _names(reports: list[Report]) -> str:
    ranks = ", ".join(str(r.rank) for r in reports)
    return f"rank {ranks}" if len(reports) == 1 else f"ranks {ranks}"


__all__ = ["EXIT_LOST", "InStep"]
