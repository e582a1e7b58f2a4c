"""Hypothesis on several ranks: one engine on rank 0, the same examples everywhere, a verdict per example.

Only rank 0 draws, shrinks, keeps the database and measures, so the ranks cannot diverge.  Each example is a scope of
the guard: a failure on any rank fails it on all.  The class of the exception that rank 0 raises for a failure
elsewhere is made from that failure's type and place, which is what Hypothesis tells bugs apart by; so it shrinks to
the remote bug, and keeps two bugs on two ranks apart.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, currently_in_test_context, given, settings
from hypothesis import event as hypothesis_event
from hypothesis import target as hypothesis_target
from hypothesis.errors import HypothesisDeprecationWarning, InvalidArgument, UnsatisfiedAssumption
from hypothesis.strategies import DataObject, SearchStrategy

from verification.errors import GuardError

PROFILE = "mpi"
HERE = str(Path(__file__).parent)


class RemoteFailure(AssertionError):  # noqa: N818 - a failure of a test, not an error of this module
    """A failure on another rank, raised on this one."""


class _Abandoned(BaseException):
    """Rank 0 gave the example up: it ran out of data, or was told to stop."""


@dataclass(slots=True)
class _Example:
    """What one rank saw of one example."""

    targets: dict[str, float] = field(default_factory=dict)


_running: list[_Example] = []


def target(observation: float, *, label: str = "") -> None:
    """Like `hypothesis.target`; the largest value over all ranks counts."""
    seen = _running[-1].targets
    seen[label] = max(float(observation), seen.get(label, float("-inf")))


def event(text: str) -> None:
    """Like `hypothesis.event`, counted once for all ranks."""
    if currently_in_test_context():
        hypothesis_event(text)


class SharedData:
    """Stands in for the object of `st.data()`: rank 0 draws, every rank gets the value."""

    def __init__(self, guard: Any, data: DataObject | None) -> None:
        self._guard, self._data = guard, data

    def draw(self, strategy: SearchStrategy[Any], label: Any = None) -> Any:
        """Return a value of ``strategy``, the same on all ranks."""
        if self._data is None:
            kind, value = self._guard.post()
            if kind == "abandon":
                raise _Abandoned
            return value
        try:
            value = self._data.draw(strategy, label=label)
        except BaseException:
            self._guard.post(("abandon", None))
            raise
        self._guard.post(("value", value))
        return value


def mpi_given(
    *, profile: settings | None = None, **strategies: SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a collective test like `hypothesis.given`, by keywords.

    The test may take ``comm``, which is then the communicator of the example, and any fixture.  Values are sent to
    the other ranks, so they must pickle.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return _Lockstep(test, strategies, profile).wrapped()

    return decorate


class _Lockstep:
    """One decorated test."""

    def __init__(
        self, test: Callable[..., None], strategies: Mapping[str, SearchStrategy[Any]], profile: settings | None
    ) -> None:
        self.test, self.strategies, self.profile = test, strategies, profile
        self.parameters = inspect.signature(test).parameters

    def wrapped(self) -> Callable[..., None]:
        """Return the function that pytest calls: it takes the fixtures of the test and ``guard``."""

        @functools.wraps(self.test)
        def run(guard: Any, **fixtures: Any) -> None:
            if guard.rank == 0:
                self._lead(guard, fixtures)
            else:
                self._follow(guard, fixtures)

        own = {*self.strategies, "comm", "guard"}
        names = [name for name in self.parameters if name not in own] + ["guard"]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        )
        del run.__wrapped__
        return run

    def _settings(self) -> settings:
        base = self.profile
        if base is None:
            try:
                base = settings.get_profile(PROFILE)
            except InvalidArgument:
                base = settings(max_examples=30)
        quiet = {*base.suppress_health_check, HealthCheck.too_slow}
        return settings(base, deadline=None, suppress_health_check=tuple(quiet))

    # -- one example on one rank --------------------------------------------------------------------------------
    def _example(
        self, guard: Any, fixtures: Mapping[str, Any], drawn: Mapping[str, Any], data: Mapping[str, Any]
    ) -> tuple[Sequence[Any], BaseException | None]:
        arguments = {**fixtures, **drawn, **{name: SharedData(guard, value) for name, value in data.items()}}
        if "comm" in self.parameters:
            arguments["comm"] = guard.comm
        if "guard" in self.parameters:
            arguments["guard"] = guard
        example, scope = _Example(), guard.enter(f"{self.test.__name__} [example]")
        _running.append(example)
        error: BaseException | None = None
        note: object = None
        status = "passed"
        try:
            self.test(**arguments)
        except UnsatisfiedAssumption as unsatisfied:
            error, status = unsatisfied, "invalid"
        except Exception as failure:
            error, status, note = failure, "failed", describe(failure)
        except BaseException as control:
            if type(control).__module__.startswith("_pytest"):
                error, status, note = control, "failed", describe(control)
            else:
                error, status = control, "abandoned"
        finally:
            _running.pop()
        if status == "passed" and example.targets:
            note = {"targets": example.targets}
        return guard.leave(scope, status, note), error

    # -- rank 0 -------------------------------------------------------------------------------------------------
    def _lead(self, guard: Any, fixtures: Mapping[str, Any]) -> None:
        try:
            self._engine(guard, fixtures)()
        except GuardError:
            raise  # the steering itself is broken: the others notice by themselves
        except BaseException as failure:
            guard.post(("stop", describe(failure)))
            raise
        guard.post(("stop", None))

    def _engine(self, guard: Any, fixtures: Mapping[str, Any]) -> Callable[[], None]:
        def example(**drawn: Any) -> None:
            data = {name: value for name, value in drawn.items() if isinstance(value, DataObject)}
            plain = {name: value for name, value in drawn.items() if name not in data}
            guard.post(("run", plain, sorted(data)))
            reports, error = self._example(guard, fixtures, plain, data)
            _conclude(reports, error)

        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(example, name, getattr(self.test, name))
        bound: Callable[[], None] = self._settings()(given(**self.strategies)(example))
        return bound

    # -- the others ---------------------------------------------------------------------------------------------
    def _follow(self, guard: Any, fixtures: Mapping[str, Any]) -> None:
        while True:
            kind, *rest = guard.post()
            if kind == "stop":
                break
            if kind == "run":  # draws of an example that this rank left early are still on their way
                drawn, data = rest
                with warnings.catch_warnings():  # `assume` complains outside the engine, which is on rank 0
                    warnings.simplefilter("ignore", HypothesisDeprecationWarning)
                    self._example(guard, fixtures, drawn, dict.fromkeys(data))
        verdict = rest[0]
        if verdict is not None:
            raise RemoteFailure(f"rank 0 reports {verdict['type']}: {verdict['message']}")


def _conclude(reports: Sequence[Any], error: BaseException | None) -> None:
    """Raise on rank 0 what the example amounts to over all ranks."""
    statuses = {report.status for report in reports}
    if error is not None and "abandoned" in statuses and reports[0].status == "abandoned":
        raise error
    if "invalid" in statuses:
        raise UnsatisfiedAssumption
    failed = [report for report in reports if report.status == "failed"]
    if failed:
        roots = [r for r in failed if not (isinstance(r.note, dict) and r.note.get("guard"))] or failed
        if error is not None and roots[0].rank == 0:
            raise error
        raise _remote(roots)
    seen = [report.note["targets"] for report in reports if report.note]
    for label in {label for targets in seen for label in targets}:
        hypothesis_target(max(targets[label] for targets in seen if label in targets), label=label)


def _remote(roots: Sequence[Any]) -> RemoteFailure:
    ranks, note = ", ".join(str(report.rank) for report in roots), roots[0].note
    if not isinstance(note, dict):
        return _remote_class("Disagreement", "ranks", 0)(str(note))
    text = f"on rank {ranks}: {note['type']}: {note['message']} ({note['file']}:{note['line']})"
    return _remote_class(note["type"], note["file"], note["line"])(text)


@functools.cache
def _remote_class(kind: str, file: str, line: int) -> type[RemoteFailure]:
    return type(f"Remote_{kind}_{file.removesuffix('.py')}_{line}", (RemoteFailure,), {})


def describe(error: BaseException) -> dict[str, Any]:
    """Return the small picture of an exception that other ranks need: type, message, place in the test."""
    trace, file, line = error.__traceback__, "?", 0
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(HERE):
            file, line = name, trace.tb_lineno
        trace = trace.tb_next
    return {
        "type": type(error).__name__,
        "message": str(error)[:4000],
        "file": Path(file).name,
        "line": line,
        "guard": isinstance(error, GuardError),
    }
