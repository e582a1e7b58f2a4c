"""The `evidence` fixture: what a test says it saw, recorded whether or not it holds, then asserted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from verification.errors import GuardError, VerificationError
from verification.judge import within
from verification.model import Evidence, EvidenceKind, Number

LONGEST = 400


class Arena(Protocol):
    """Where trials of saboteurs run on several ranks: caught on one of them is caught."""

    comm: Any

    def begin_trial(self, label: str) -> Any:
        """Give the trial a communicator of its own; return what `end_trial` wants back."""

    def end_trial(self, token: Any, *, failed: bool) -> bool:
        """Return whether the trial failed on any rank."""


class Recorder:
    """Collects the evidence of one test on one rank.

    Repeated figures of the same name are kept as one record: the one nearest to its bound, with how often it was
    held, so that a property of a thousand examples leaves one line.  Inside `saboteur` nothing counts as evidence.
    """

    def __init__(self, known_saboteurs: frozenset[str] | None = None, rank: int = 0) -> None:
        self._known, self._rank = known_saboteurs, rank
        self._arena: Arena | None = None
        self._records: dict[tuple[EvidenceKind, str, str], Evidence] = {}
        self._trial = 0
        self._broke = ""

    @property
    def records(self) -> tuple[Evidence, ...]:
        """Everything recorded so far, in the order of first mention."""
        return tuple(self._records.values())

    @property
    def held(self) -> int:
        """The number of figures recorded so far, by name: a count of cases and a caught saboteur are none."""
        return sum(record.kind is EvidenceKind.FIGURE for record in self.records)

    def reset(self, arena: Arena | None = None) -> None:
        """Forget everything: another test begins, in ``arena`` if it runs on several ranks."""
        self._records.clear()
        self._trial, self._arena = 0, arena

    def hold(
        self,
        value: Number,
        *,
        what: str,
        at_least: Number | None = None,
        at_most: Number | None = None,
        unit: str = "",
    ) -> None:
        """Record ``value`` with its bounds, then assert that it keeps them (both are inclusive)."""
        if at_least is None and at_most is None:
            raise VerificationError(f"{what}: a figure without a bound holds nothing; say at_least or at_most")
        held = within(value, at_least, at_most)
        margins = [value - at_least] if at_least is not None else []
        margins += [at_most - value] if at_most is not None else []
        self._keep(
            Evidence(EvidenceKind.FIGURE, what, held, value, at_least, at_most, unit, min(margins), rank=self._rank)
        )
        least, most = ("" if bound is None else f"{bound:,}" for bound in (at_least, at_most))
        assert held, f"{what}: {value:,} {unit} is not within [{least}, {most}]"

    def equal(self, found: object, expected: object, *, what: str) -> None:
        """Record whether ``found`` equals ``expected``, then assert it."""
        held = bool(found == expected)
        note = f"expected {_short(expected)}"
        self._keep(Evidence(EvidenceKind.FIGURE, what, held, _short(found), rank=self._rank, note=note))
        assert held, f"{what}: found {_short(found)}, expected {_short(expected)}"

    def raises(
        self, error: type[BaseException], call: Callable[[], object], *, naming: tuple[str, ...] = (), what: str
    ) -> BaseException:
        """Record that ``call`` raises ``error`` with a message that contains every text of ``naming``; return it."""
        caught: BaseException | None = None
        try:
            call()
        except error as raised:
            caught = raised
        missing = [text for text in naming if text not in str(caught)]
        held = caught is not None and not missing
        seen = "nothing was raised" if caught is None else _short(f"{type(caught).__name__}: {caught}")
        self._keep(Evidence(EvidenceKind.FIGURE, what, held, seen, rank=self._rank, note=f"expected {error.__name__}"))
        assert caught is not None, f"{what}: nothing was raised, expected {error.__name__}"
        assert not missing, f"{what}: the message does not name {missing}: {seen}"
        return caught

    def cover(self, key: str, value: object, times: int = 1) -> None:
        """Count a generated case that had ``value`` for ``key``; claims say how many they must have seen."""
        record = Evidence(EvidenceKind.COVER, key, True, str(value), times=times, rank=self._rank)
        self._keep(record, discriminator=str(value))

    @contextmanager
    def saboteur(self, name: str, *, by: tuple[type[BaseException], ...] = ()) -> Iterator[Any]:
        """Run a block that must fail because the saboteur ``name`` is at work in it.

        Only an assertion (or one of ``by``) is a catch; any other error is a broken check and is passed on.  On
        several ranks the block must use the communicator that this gives, and failing on one of them is a catch.
        The record's value says what was held and broke first, or the class of the error: two catches are independent
        only if that differs.
        """
        if self._known is not None and name not in self._known:
            raise VerificationError(f"saboteur {name} is not declared in the catalogue")
        self._trial += 1
        self._broke = ""
        token = self._arena.begin_trial(f"saboteur {name}") if self._arena else None
        why = broke = ""
        try:
            yield self._arena.comm if self._arena else None
        except BaseException as error:
            first = next(iter(_leaves(error)))
            broke = "" if isinstance(first, GuardError) else self._broke or type(first).__name__
            why = _short(f"{type(first).__name__}: {str(first).strip().partition(chr(10))[0]}")
            if not all(isinstance(leaf, _rejections() + by) for leaf in _leaves(error)):
                error.add_note(f"this broke the trial of saboteur {name}: only a failed assertion is a catch")
                raise
        finally:
            self._trial -= 1
            if self._arena and self._arena.end_trial(token, failed=bool(why)):
                why = why or "caught on another rank"
        self._keep(Evidence(EvidenceKind.SABOTEUR, name, bool(why), broke, rank=self._rank, note=why), broke)
        assert why, f"saboteur {name} survived: the check passes although the implementation is wrong"

    def caught(self, name: str, check: Callable[[], object], *, by: tuple[type[BaseException], ...] = ()) -> None:
        """Assert that ``check`` fails with the saboteur ``name`` at work in it; record it either way."""
        with self.saboteur(name, by=by):
            check()

    def _keep(self, record: Evidence, discriminator: str = "") -> None:
        if self._trial:
            self._broke = self._broke or ("" if record.held else record.what)
            return
        key = (record.kind, record.what, discriminator)
        before = self._records.get(key)
        if before is None:
            self._records[key] = record
            return
        worse = record if _worse(record, before) else before
        self._records[key] = replace(worse, times=before.times + record.times)


def _worse(record: Evidence, before: Evidence) -> bool:
    if record.held != before.held:
        return not record.held
    if record.margin is None or before.margin is None:
        return False
    return record.margin < before.margin


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


def _rejections() -> tuple[type[BaseException], ...]:
    import pytest  # noqa: PLC0415 - contracts are loaded by processes that are measured, where nothing is tested

    return AssertionError, pytest.fail.Exception, GuardError


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
