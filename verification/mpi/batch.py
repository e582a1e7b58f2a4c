"""Collective tests under plain `pytest`: one launch of ranks per size, told as ordinary reports of the tests.

With pytest-xdist every worker may meet a collective test; the first one launches, the others wait for its journals.
"""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from pathlib import Path

import pytest

from verification.binding import is_collective, sizes_of
from verification.collect import collect
from verification.errors import LaunchError
from verification.journal import read
from verification.keeper import Keeper
from verification.model import Check, Outcome
from verification.mpi import launch
from verification.mpi.supervise import Job, supervise

Properties = list[tuple[str, object]]
LEFT_OUT = "NOT RUN: mpi tests were left out by --no-mpi"


class Batches:
    """Answers for the collective tests of a process that is not a rank."""

    def __init__(self, config: pytest.Config, keeper: Keeper, out: Path) -> None:
        self._config, self._keeper, self._out = config, keeper, out
        self._usual = keeper.choice.usual_sizes
        self._checks: dict[int, dict[str, Check] | str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Report a collective test from the journals of its ranks."""
        if not is_collective(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        _close_fixtures(item, nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        if self._config.option.no_mpi:
            self._keeper.leave_out([item], LEFT_OUT)
            return [
                _report(item, "setup", "skipped", (str(item.path), 0, LEFT_OUT)),
                _report(item, "teardown", "passed"),
            ]
        checks: list[Check] = []
        for size in sizes_of(item, self._usual):
            known = self._of_size(size, item.session.items)
            if isinstance(known, str):
                self._keeper.leave_out([item], known)
                return [_report(item, "setup", "failed", f"NOT RUN: {known}"), _report(item, "teardown", "passed")]
            checks.append(known.get(item.nodeid) or Check(item.nodeid, size, Outcome.NOT_RUN))
        return _told(item, checks)

    def _of_size(self, size: int, items: Sequence[pytest.Item]) -> dict[str, Check] | str:
        if size not in self._checks:
            self._checks[size] = self._run(size, items)
        return self._checks[size]

    def _run(self, size: int, items: Sequence[pytest.Item]) -> dict[str, Check] | str:
        folder = self._out / f"ranks-{size}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if not list(folder.glob("*.jsonl")):
                    supervise(self._job(size, items, folder), launch.find())
            except LaunchError as error:
                return str(error)
        return {check.id: check for check in collect(read([folder])).checks if check.ranks == size}

    def _job(self, size: int, items: Sequence[pytest.Item], folder: Path) -> Job:
        config = self._config
        tests = [item.nodeid for item in items if is_collective(item) and size in sizes_of(item, self._usual)]
        options = [f"--phase-limit={config.option.phase_limit}"]
        if config.option.verification_claims:
            options.append(f"--verification-claims={config.option.verification_claims}")
        if config.inipath is not None:
            options += ["-c", str(config.inipath)]
        return Job(size, tests, folder, config.rootpath, options, config.option.launch_limit)


def _close_fixtures(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Tear down what tests before this one have set up and the next one does not need, as pytest would have."""
    state = item.session._setupstate
    call = pytest.CallInfo.from_call(lambda: state.teardown_exact(nextitem), when="teardown")
    if call.excinfo is not None:
        item.ihook.pytest_runtest_logreport(report=pytest.TestReport.from_item_and_call(item, call))


def _told(item: pytest.Item, checks: Sequence[Check]) -> list[pytest.TestReport]:
    """Return what pytest would have said of a test that ended like ``checks``; the worst of them speaks."""
    worst = max(checks, key=lambda check: ORDER.index(check.outcome))
    seconds = sum(check.seconds for check in checks)
    story = "\n\n".join(_story(check) for check in checks if check.outcome is not Outcome.PASSED)
    properties: Properties = [
        (f"ranks={c.ranks} rank={rank}", said) for c in checks for rank, said in c.by_rank.items()
    ]
    begin, end = _report(item, "setup", "passed"), _report(item, "teardown", "passed", properties=properties)
    match worst.outcome:
        case Outcome.PASSED:
            return [begin, _report(item, "call", "passed", seconds=seconds), end]
        case Outcome.SKIPPED:
            return [_report(item, "setup", "skipped", (str(item.path), 0, story)), end]
        case Outcome.XFAILED:
            call = _report(item, "call", "skipped", story, seconds=seconds)
            call.wasxfail = worst.detail
            return [begin, call, end]
        case Outcome.XPASSED:
            call = _report(item, "call", "passed", seconds=seconds)
            call.wasxfail = worst.detail
            return [begin, call, end]
        case Outcome.ERROR | Outcome.NOT_RUN:
            return [_report(item, "setup", "failed", story, seconds=seconds), end]
        case _:
            return [begin, _report(item, "call", "failed", story, seconds=seconds), end]


ORDER = (
    Outcome.PASSED,
    Outcome.XPASSED,
    Outcome.XFAILED,
    Outcome.SKIPPED,
    Outcome.NOT_RUN,
    Outcome.VACUOUS,
    Outcome.ERROR,
    Outcome.FAILED,
    Outcome.TIMEOUT,
    Outcome.CRASHED,
)


def _story(check: Check) -> str:
    ranks = ", ".join(f"rank {rank} {said}" for rank, said in check.by_rank.items())
    return f"with {check.ranks} rank(s): {check.outcome.value} ({ranks})\n{check.detail}"


def _report(
    item: pytest.Item,
    when: str,
    outcome: str,
    longrepr: object = None,
    *,
    seconds: float = 0.0,
    properties: Properties | None = None,
) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome=outcome,  # type: ignore[arg-type]
        longrepr=longrepr,  # type: ignore[arg-type]
        when=when,  # type: ignore[arg-type]
        duration=seconds,
        user_properties=properties or [],
    )
