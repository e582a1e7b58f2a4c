"""The pytest plugin that judges mutants in place of running the tests."""

from __future__ import annotations

import ast
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import coverage
import hypothesis
import pytest

from verification.mutation import live
from verification.mutation.changes import Mutant, mutated
from verification.mutation.forks import in_fork
from verification.mutation.lines import Told, Watch, imported, load

KILLED, SURVIVED, TIMEOUT, UNREACHED, ELSEWHERE = "killed", "survived", "timeout", "unreached", "elsewhere"
SLACK = 5
"""How many times as long as without a change the tests of a mutant may take, and seconds on top of that."""
MEASURING_S = 3600.0
PROFILE = "mutation"


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds that the tests of one mutant may take: all of them, and one."""

    all_s: float = 30.0
    one_s: float = 12.0

    def chosen(self, tests: Sequence[str], told: Told) -> list[str]:
        """Return the first of ``tests`` that fit, at least one."""
        chosen: list[str] = []
        left = self.all_s
        for test in tests:
            left -= told.seconds[test]
            if chosen and (left < 0 or told.seconds[test] > self.one_s):
                break
            chosen.append(test)
        return chosen

    def limit(self, tests: Iterable[str], told: Told) -> float:
        """Return the seconds after which the tests of a mutant count as hanging."""
        return SLACK + SLACK * sum(told.seconds[test] for test in tests)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant, after how many seconds, and among how many tests."""

    mutant: Mutant
    fate: str
    seconds: float
    tests: int


def fate_of(code: int | None) -> str:
    """Return the word for the exit code of the tests of a mutant."""
    if code is None:
        return TIMEOUT
    return SURVIVED if code == 0 else KILLED


class Steady:
    """A plugin: property tests draw few examples, always the same, and do not shrink what they find."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Choose the profile after the conftest did."""
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        parent = hypothesis.settings.get_profile("mpi")
        hypothesis.settings.register_profile(PROFILE, hypothesis.settings(parent, phases=phases))
        hypothesis.settings.load_profile(PROFILE)


class First:
    """A plugin: the process ends with the first test that fails."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End."""
        if report.failed:
            sys.stdout.flush()
            os._exit(1)


@dataclass(slots=True, eq=False)
class Judge:
    """Measures who executes what, then judges those mutants that can be made in place; the rest is `ELSEWHERE`.

    So is what survives in place though importing or collecting executes it: its change may come too late.
    """

    root: Path
    mutants: Sequence[Mutant]
    told_at: Path
    say: Callable[[Fate], None]
    budget: Budget
    measured: coverage.Coverage | None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge."""
        if self.measured is not None:
            self._measure(session, self.measured)
        told = load(self.told_at)
        items = {item.nodeid: item for item in session.items}
        living = live.functions_below(str(self.root / "dlio_benchmark"))
        gc.collect()
        gc.freeze()
        for mutant in self.mutants:
            self.say(self._judged(mutant, told, items, living))
        return True

    def _measure(self, session: pytest.Session, measured: coverage.Coverage) -> None:
        measured.stop()
        before = imported(measured, self.root)

        def work() -> int:
            measured.erase()
            watch = Watch(measured)
            session.config.pluginmanager.register(watch)
            measured.start()
            _run(session.items)
            measured.stop()
            self.told_at.write_text(json.dumps(watch.told(self.root) | {"imported": before}), encoding="utf-8")
            return 0

        if in_fork(work, MEASURING_S, str(self.told_at.with_suffix(".log"))) != 0:
            raise pytest.UsageError("the tests could not be run with coverage")

    def _judged(self, mutant: Mutant, told: Told, items: Mapping[str, pytest.Item], living: live.Functions) -> Fate:
        if not mutant.inside:
            return Fate(mutant, ELSEWHERE, 0.0, 0)
        missed = ELSEWHERE if told.at_import(mutant) else ""
        tests = self.budget.chosen([test for test in told.of(mutant) if test in items], told)
        if not tests:
            return Fate(mutant, missed or UNREACHED, 0.0, 0)
        path = self.root / mutant.path
        tree = mutated(mutant, path.read_text(encoding="utf-8"))

        def work() -> int:
            if not live.replace(tree, str(path), living):
                return REFUSED
            session = items[tests[0]].session
            session.config.pluginmanager.register(First())
            _run([items[test] for test in tests])
            return 0

        begin = time.monotonic()
        code = in_fork(work, self.budget.limit(tests, told))
        fate = ELSEWHERE if code == REFUSED else fate_of(code)
        fate = missed or fate if fate == SURVIVED else fate
        return Fate(mutant, fate, round(time.monotonic() - begin, 2), len(tests))


REFUSED = 71


def _run(items: Sequence[pytest.Item]) -> None:
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def anew(mutant: Mutant, root: Path, tests: Sequence[str], limit_s: float, options: Sequence[str]) -> str:
    """Return the fate of a mutant whose module is written to its file and imported in a fork of a bare process."""
    path = root / mutant.path
    source = path.read_text(encoding="utf-8")
    path.write_text(ast.unparse(mutated(mutant, source)), encoding="utf-8")
    try:
        return fate_of(in_fork(lambda: int(pytest.main([*options, *tests], plugins=[Steady(), First()])), limit_s))
    finally:
        path.write_text(source, encoding="utf-8")


def as_row(fate: Fate) -> dict[str, Any]:
    """Return ``fate`` as JSON holds it."""
    return asdict(fate)
