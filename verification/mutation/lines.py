"""Which test executes which lines, and how long it takes: measured once, so that a mutant runs few tests."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coverage
import pytest

from verification.mutation.changes import Mutant

FIXTURE = "fixture "


@dataclass(frozen=True, slots=True)
class Told:
    """What the run with coverage told: seconds of each passed test, tests by file and line, lines that imports run."""

    seconds: Mapping[str, float]
    tests: Mapping[str, Mapping[int, Sequence[str]]]
    imported: Mapping[str, frozenset[int]]

    def of(self, mutant: Mutant) -> list[str]:
        """Return the tests that execute the statement of ``mutant``, fastest first."""
        lines = self.tests.get(mutant.path, {})
        found = {test for line in range(mutant.first, mutant.last + 1) for test in lines.get(line, ())}
        return self.ordered(found)

    def of_module(self, path: str) -> list[str]:
        """Return the tests that execute any line of the module at ``path``, fastest first."""
        return self.ordered({test for tests in self.tests.get(path, {}).values() for test in tests})

    def ordered(self, tests: Iterable[str]) -> list[str]:
        """Return those of ``tests`` that passed, fastest first."""
        return sorted((test for test in tests if test in self.seconds), key=lambda test: (self.seconds[test], test))

    def at_import(self, mutant: Mutant) -> bool:
        """Return whether importing or collecting has already executed the statement of ``mutant``."""
        return not self.imported.get(mutant.path, frozenset()).isdisjoint(range(mutant.first, mutant.last + 1))


def measuring(root: Path) -> coverage.Coverage:
    """Return a measurement of the product below ``root``, with one context per test."""
    return coverage.Coverage(data_file=None, source=[str(root / "dlio_benchmark")], config_file=False, messages=False)


@dataclass(slots=True, eq=False)
class Watch:
    """A pytest plugin that names the context of each test and fixture, and notes how long tests take."""

    measured: coverage.Coverage
    seconds: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    fixtures: dict[str, list[str]] = field(default_factory=dict)
    test: str = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Measure one test."""
        self.test = item.nodeid
        for name in getattr(item, "fixturenames", ()):
            self.fixtures.setdefault(name, []).append(item.nodeid)
        self.measured.switch_context(self.test)
        begin = time.monotonic()
        result = yield
        self.seconds[item.nodeid] = time.monotonic() - begin
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Count what a shared fixture executes for all tests that ask for it, not for the first alone."""
        if fixturedef.scope == "function":
            return (yield)
        self.measured.switch_context(FIXTURE + fixturedef.argname)
        result = yield
        self.measured.switch_context(self.test)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note tests that do not pass: they cannot judge."""
        if not report.passed:
            self.failed.add(report.nodeid)

    def told(self, root: Path) -> dict[str, Any]:
        """Return what was measured as JSON holds it."""
        data = self.measured.get_data()
        lines: dict[str, dict[str, list[str]]] = {}
        for file in data.measured_files():
            by_line = {
                str(line): sorted({test for context in contexts for test in self._tests(context)})
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            lines[str(Path(file).relative_to(root))] = by_line
        passed = {test: seconds for test, seconds in self.seconds.items() if test not in self.failed}
        return {"seconds": passed, "failed": sorted(self.failed), "tests": lines}

    def _tests(self, context: str) -> Sequence[str]:
        if context.startswith(FIXTURE):
            return self.fixtures.get(context.removeprefix(FIXTURE), ())
        return (context,) if context else ()


def imported(measured: coverage.Coverage, root: Path) -> dict[str, list[int]]:
    """Return the lines that were executed, by path below ``root``."""
    data = measured.get_data()
    return {str(Path(file).relative_to(root)): sorted(data.lines(file) or ()) for file in data.measured_files()}


def load(path: Path) -> Told:
    """Read what `Watch.told` and `imported` were written to."""
    loaded = json.loads(path.read_text(encoding="utf-8"))
    tests = {file: {int(line): ids for line, ids in lines.items()} for file, lines in loaded["tests"].items()}
    return Told(loaded["seconds"], tests, {file: frozenset(lines) for file, lines in loaded["imported"].items()})
