"""Keeps the journal of one pytest process: who is bound to what, every phase, every piece of evidence.

On several ranks an `Agreement` stands between a phase and its report; alone, a phase is what it is.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from verification.binding import as_rows, bind, claims_in, claims_of, is_collective, min_size, shows, sizes_of
from verification.catalogue import Catalogue
from verification.errors import CatalogueError
from verification.evidence import Arena, Recorder
from verification.journal import Journal, encode
from verification.mpi.launch import hidden

LONGEST_DETAIL = 40_000
NOTHING_HELD = (
    "this test is bound to {claims} but held nothing: call evidence.hold, equal or raises, or remove the mark"
)


class Agreement(Protocol):
    """Makes the phases of collective tests end alike on every rank."""

    rank: int
    size: int

    @property
    def guard(self) -> Arena:
        """The scopes of this rank."""

    def same_tests(self, ids: Sequence[str]) -> None:
        """Refuse to go on if the ranks collected different tests."""

    def begin(self, item: pytest.Item, when: str) -> None:
        """Open the scope of a phase."""

    def settle(self, item: pytest.Item, report: pytest.TestReport, *, must_hold: bool, held: int) -> dict[int, str]:
        """Close the scope; make ``report`` say what all ranks say, and return the word of each."""

    def finish(self, status: int) -> int | None:
        """Wait for all ranks at the end and return the exit status of rank 0; None if some are missing."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tests of a collection this process keeps, and with how many ranks they run."""

    usual_sizes: tuple[int, ...]
    claims: tuple[str, ...] = ()
    only: frozenset[str] | None = None


class Keeper:
    """The hooks that write the journal."""

    def __init__(self, journal: Journal, catalogue: Catalogue, choice: Choice, agreement: Agreement | None) -> None:
        self.journal, self.catalogue, self.choice, self.agreement = journal, catalogue, choice, agreement
        self.recorder = Recorder(frozenset(catalogue.saboteurs), agreement.rank if agreement else 0)
        self._written: object = None
        self._outcome = "passed"
        self.collected: list[pytest.Item] = []
        journal.write(
            "session",
            pid=os.getpid(),
            host=platform.node(),
            python=platform.python_version(),
            argv=sys.argv,
            scope=sorted(choice.claims),
        )

    # -- collection ---------------------------------------------------------------------------------------------
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Bind tests to claims, keep the chosen ones, collective ones last (first on ranks)."""
        try:
            bind(items, self.catalogue)
            if self.choice.claims:
                wanted = self.catalogue.select(self.choice.claims)
                items[:] = [item for item in items if shows(item, wanted)]
        except CatalogueError as error:
            raise pytest.UsageError(str(error)) from None
        if self.choice.only is not None:
            items[:] = [item for item in items if item.nodeid in self.choice.only]
        if getattr(config.option, "only_mpi", False):
            items[:] = [item for item in items if is_collective(item)]
        collective = [item for item in items if is_collective(item)]
        serial = [item for item in items if not is_collective(item)]
        self.collected = list(items)
        if self.agreement is None:
            sizes = {item.nodeid: sizes_of(item, self.choice.usual_sizes) for item in items}
            items[:] = serial + collective
        else:
            self.agreement.same_tests([item.nodeid for item in items])
            self._mark_unfit(collective, self.agreement.size)
            sizes = {i.nodeid: (self.agreement.size,) if is_collective(i) else (1,) for i in items}
            items[:] = collective + (serial if self.agreement.rank == 0 else [])
        self.journal.write("collected", checks=as_rows(items, sizes), tests=len(items))

    @staticmethod
    def _mark_unfit(collective: list[pytest.Item], size: int) -> None:
        for item in collective:
            own = item.get_closest_marker("ranks")
            wanted = sizes_of(item, (size,))
            if size not in wanted or (own is None and size < min_size(item)):
                reason = f"needs {' or '.join(map(str, wanted))} ranks, this job has {size}"
                item.add_marker(pytest.mark.skip(reason=reason))
            for name in ("mpi_skip", "mpi_break"):
                if item.get_closest_marker(name):
                    item.add_marker(pytest.mark.skip(reason=f"marked {name}"))
            if item.get_closest_marker("mpi_xfail"):
                item.add_marker(pytest.mark.xfail(reason="marked mpi_xfail", strict=False))

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note tests that somebody chose to leave out: their claims are not shown."""
        try:
            bind(items, self.catalogue)
        except CatalogueError:
            return  # the marks are refused when the collection ends
        self.leave_out(items, "deselected")

    def leave_out(self, items: Sequence[pytest.Item], reason: str) -> None:
        """Note that ``items`` do not run, and why."""
        sizes = {item.nodeid: sizes_of(item, self.choice.usual_sizes) for item in items}
        self.journal.write("left_out", checks=as_rows(items, sizes), reason=reason)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note modules without tests: a broken one is a gap, one that skips itself leaves its claims open."""
        if report.passed:
            return
        if report.failed:
            self.journal.write("gap", gap=f"{report.nodeid} cannot be collected: {_last_line(report.longreprtext)}")
            return
        path, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, report.longreprtext)
        text = Path(path).read_text(encoding="utf-8") if Path(path).is_file() else ""
        row = {"id": report.nodeid, "claims": claims_in(text, self.catalogue), "sizes": [1]}
        self.journal.write("left_out", checks=[row], reason=f"the module skips itself: {reason}")

    # -- tests --------------------------------------------------------------------------------------------------
    def _elsewhere(self, item: pytest.Item) -> bool:
        return self.agreement is None and is_collective(item)

    def _alone(self, item: pytest.Item) -> dict[str, int]:
        """Return what a line says of a serial test among ranks: that it is a check on one."""
        return {"check_ranks": 1} if self.agreement is not None and not is_collective(item) else {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Frame each test by a start and an end; a serial one does not know that there are other ranks."""
        if self._elsewhere(item):
            return (yield)
        self.recorder.reset(self.agreement.guard if self.agreement and is_collective(item) else None)
        self._written, self._outcome = (), "passed"
        self.journal.write("start", id=item.nodeid, claims=claims_of(item), **self._alone(item))
        with nullcontext() if is_collective(item) else hidden():
            result = yield
        self.journal.write("end", id=item.nodeid, outcome=self._outcome, **self._alone(item))
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Open the scope of the setup."""
        self._begin(item, "setup")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Open the scope of the call."""
        self._begin(item, "call")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Open the scope of the teardown."""
        self._begin(item, "teardown")

    def _begin(self, item: pytest.Item, when: str) -> None:
        if self.agreement is not None and is_collective(item):
            self.agreement.begin(item, when)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Agree on the phase, see to it that a claim test held something, and write both down."""
        report = yield
        if self._elsewhere(item):
            return report
        self._write_evidence(item)
        must_hold, held = bool(claims_of(item)) and call.when == "call", self.recorder.held
        if self.agreement is not None and is_collective(item):
            if report.failed:  # known here even if the job dies before the ranks agree
                self.journal.write("local", id=item.nodeid, outcome=word(report), detail=_detail(report))
            ranks = self.agreement.settle(item, report, must_hold=must_hold, held=held)
        else:
            if must_hold and not held and word(report) == "passed":
                empty(item, report)
            ranks = {0: word(report)}
        self._write_phase(item, report, ranks)
        return report

    def _write_phase(self, item: pytest.Item, report: pytest.TestReport, ranks: dict[int, str]) -> None:
        if word(report) != "passed":
            self._outcome = word(report)
        self.journal.write(
            "phase",
            id=item.nodeid,
            when=report.when,
            outcome=word(report),
            vacuous=getattr(report, "held_nothing", False),
            seconds=report.duration,
            ranks=ranks,
            detail=_detail(report),
            **self._alone(item),
        )

    def _write_evidence(self, item: pytest.Item) -> None:
        records = self.recorder.records
        if records != self._written:
            encoded = [encode(record) for record in records]
            self.journal.write("evidence", id=item.nodeid, records=encoded, **self._alone(item))
            self._written = records

    # -- end ----------------------------------------------------------------------------------------------------
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the line without which a journal is incomplete; all ranks exit alike."""
        status: int | None = int(exitstatus)
        if self.agreement is not None:
            status = self.agreement.finish(int(exitstatus))
        if status is None:
            self.journal.write("gap", gap="not all ranks reached the end")
            return
        session.exitstatus = status
        self.journal.write("finish", exit=status)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the evidence is."""
        by_workers = getattr(terminalreporter.config.option, "dist", "no") != "no"
        if by_workers or any(claims_of(item) for item in self.collected):
            where = Path(os.path.relpath(self.journal.path.parent))
            terminalreporter.write_line(f"evidence: {where} (read it with: python -m verification report {where})")


def word(report: pytest.TestReport) -> str:
    """Return the outcome of a phase, with expected failures told apart."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return str(report.outcome)


def empty(item: pytest.Item, report: pytest.TestReport) -> None:
    """Turn the pass of a test that held nothing into a failure."""
    report.outcome = "failed"
    report.longrepr = NOTHING_HELD.format(claims=", ".join(claims_of(item)))
    report.held_nothing = True  # type: ignore[attr-defined]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return (errors or lines or [""])[-1][:400]


def _detail(report: pytest.TestReport) -> str:
    if report.failed:
        return report.longreprtext[-LONGEST_DETAIL:]
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return ""
