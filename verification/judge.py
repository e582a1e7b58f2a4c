"""From evidence to status: one total, pure function, and its extension to claims that rest on other claims.

The rules are a list in order of priority.  Each looks at a claim and its checks and either says nothing or gives
its status with the reasons; the first that speaks decides, and a claim against which no rule speaks is VERIFIED.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from verification.model import (
    Check,
    Circumstances,
    Claim,
    Evidence,
    EvidenceKind,
    Expectation,
    Outcome,
    Status,
    Verdict,
)

Finding = tuple[Status, tuple[str, ...]]
Rule = Callable[[Claim, Sequence[Check], Circumstances], Finding | None]

NOT_EXECUTED = frozenset({Outcome.SKIPPED, Outcome.NOT_RUN})
SETTLED = frozenset({Status.VERIFIED, Status.NOT_APPLICABLE})
NOTHING_APPLIES: Finding = (Status.NOT_APPLICABLE, ("nothing that it rests on applies to this target",))


def status_of(claim: Claim, checks: Sequence[Check], circumstances: Circumstances) -> Finding:
    """Return the status of ``claim`` and the reasons for it, from its own checks alone."""
    mine = [check for check in checks if claim.id in check.claims]
    for rule in RULES:
        finding = rule(claim, mine, circumstances)
        if finding is not None:
            return finding
    return Status.VERIFIED, ()


def _applicable(claim: Claim, _checks: Sequence[Check], now: Circumstances) -> Finding | None:
    lacking = claim.needs - now.capabilities if now.capabilities is not None else frozenset()
    if not lacking:
        return None
    return Status.NOT_APPLICABLE, (f"the target {now.target} does not offer {', '.join(sorted(lacking))}",)


def _adapter(claim: Claim, _checks: Sequence[Check], now: Circumstances) -> Finding | None:
    if now.adapter_works or not claim.needs:
        return None
    return Status.ADAPTER_BROKEN, (f"the smoke claims failed on {now.target}, so nothing else can be said of it",)


def _bound(_claim: Claim, checks: Sequence[Check], _now: Circumstances) -> Finding | None:
    return None if checks else (Status.NO_CHECK, ("no test is bound to this claim",))


def _current(claim: Claim, checks: Sequence[Check], _now: Circumstances) -> Finding | None:
    old = [check for check in checks if check.claims[claim.id] != claim.revision]
    reasons = tuple(f"{c.id} was bound to revision {c.claims[claim.id]}, now {claim.revision}" for c in old)
    return (Status.OUTDATED, reasons) if old else None


def _ended(outcome: Outcome, status: Status) -> Rule:
    def rule(_claim: Claim, checks: Sequence[Check], _now: Circumstances) -> Finding | None:
        hit = [check for check in checks if check.outcome is outcome]
        return (status, tuple(_sentence(check) for check in hit)) if hit else None

    return rule


def _held(claim: Claim, checks: Sequence[Check], _now: Circumstances) -> Finding | None:
    wrong = {Outcome.FAILED, Outcome.ERROR, Outcome.XFAILED}
    reasons = [_sentence(check) for check in checks if check.outcome in wrong]
    for check, figure in _evidence(checks, EvidenceKind.FIGURE):
        bound = claim.bounds.get(figure.what)
        if not figure.held:
            reasons.append(f"{check.id}: {figure.what} = {figure.value} {figure.unit} broke its bound")
        elif bound is not None and not within(figure.value, bound.at_least, bound.at_most):
            reasons.append(f"{check.id}: {figure.what} = {figure.value} {figure.unit}, claimed: {bound.rule}")
    return (Status.FAILED, tuple(dict.fromkeys(reasons))) if reasons else None


def _executed(claim: Claim, checks: Sequence[Check], _now: Circumstances) -> Finding | None:
    reasons = [_sentence(check) for check in checks if check.outcome in NOT_EXECUTED]
    missing = set(claim.ranks) - {check.ranks for check in checks if check.outcome not in NOT_EXECUTED}
    if missing:
        reasons.append(f"nothing ran with {_words(sorted(missing))} rank(s)")
    found = len({check.id for check in checks})
    if found < claim.checks:
        reasons.append(f"{found} check(s) exist, {claim.checks} are wanted")
    return (Status.NOT_RUN, tuple(reasons)) if reasons else None


def _falsifiable(claim: Claim, checks: Sequence[Check], _now: Circumstances) -> Finding | None:
    reasons = [_sentence(check) for check in checks if check.outcome is Outcome.VACUOUS]
    if not any(True for _ in _evidence(checks, EvidenceKind.FIGURE)):
        reasons.append("nothing was held")
    if not claim.saboteurs:
        reasons.append("no saboteur is declared, so the check was never seen to fail")
    survived = [(c, e) for c, e in _evidence(checks, EvidenceKind.SABOTEUR) if not e.held]
    reasons += [f"saboteur {trial.what} survived {check.id}" for check, trial in survived]
    caught = caught_by(checks)
    for name in claim.saboteurs:
        if len(caught.get(name, ())) < claim.catches:
            reasons.append(f"saboteur {name}: caught by {len(caught.get(name, ()))} of {claim.catches} check(s)")
    return (Status.VACUOUS, tuple(reasons)) if reasons else None


def _covered(claim: Claim, checks: Sequence[Check], now: Circumstances) -> Finding | None:
    seen = coverage(checks)
    reasons = [
        f"{key}={value}: {seen.get(key, {}).get(value, 0)} case(s), {least} wanted"
        for key, wanted in claim.must_cover.items()
        for value, least in wanted.items()
        if seen.get(key, {}).get(value, 0) < least
    ]
    figures = {figure.what: figure for _, figure in _evidence(checks, EvidenceKind.FIGURE)}
    if (
        now.capabilities is None or not figures.keys() & claim.bounds.keys()
    ):  # from outside, one probe of several will do
        absent = claim.bounds.keys() - figures.keys()
        reasons += [f"no figure for '{what}' ({claim.bounds[what].rule})" for what in claim.bounds if what in absent]
    return (Status.THIN, tuple(reasons)) if reasons else None


RULES: tuple[Rule, ...] = (
    _applicable,
    _adapter,
    _bound,
    _current,
    _ended(Outcome.CRASHED, Status.CRASHED),
    _ended(Outcome.TIMEOUT, Status.TIMEOUT),
    _held,
    _ended(Outcome.XPASSED, Status.UNEXPECTED_PASS),
    _executed,
    _falsifiable,
    _covered,
)


def judge(
    claims: Iterable[Claim],
    checks: Sequence[Check],
    circumstances: Circumstances,
    *,
    expectations: Sequence[Expectation] = (),
) -> dict[str, Verdict]:
    """Return the verdict on every claim by id, in the order of ``claims``; parts come before what rests on them."""
    catalogue = {claim.id: claim for claim in claims}
    verdicts: dict[str, Verdict] = {}
    for claim in catalogue.values():
        _settle(claim, catalogue, checks, circumstances, verdicts)
    expected = {e.claim: e for e in expectations if applies(e, circumstances)}
    return {identity: _expected(verdicts[identity], expected.get(identity), circumstances) for identity in catalogue}


def _settle(
    claim: Claim,
    catalogue: Mapping[str, Claim],
    checks: Sequence[Check],
    now: Circumstances,
    verdicts: dict[str, Verdict],
) -> Verdict:
    if claim.id in verdicts:
        return verdicts[claim.id]
    mine = tuple(check for check in checks if claim.id in check.claims)
    parts = [_settle(catalogue[part], catalogue, checks, now, verdicts) for part in claim.rests_on]
    open_parts = [part for part in parts if part.status not in SETTLED]
    if claim.is_a_sum and not mine:
        shown = any(part.status is Status.VERIFIED for part in parts)
        finding: Finding = (Status.VERIFIED, ()) if shown or open_parts else NOTHING_APPLIES
    else:
        finding = status_of(claim, checks, now)
    if open_parts and finding[0] is Status.VERIFIED:
        finding = (open_parts[0].status, tuple(f"rests on {part.claim.id}: {part.status.value}" for part in open_parts))
    verdicts[claim.id] = Verdict(claim, *finding, mine)
    return verdicts[claim.id]


def applies(expectation: Expectation, now: Circumstances) -> bool:
    """Return whether ``expectation`` is about the target and environment at hand."""
    return expectation.target == now.target and all(
        now.environment.get(key) == value for key, value in expectation.condition.items()
    )


def _expected(verdict: Verdict, expectation: Expectation | None, now: Circumstances) -> Verdict:
    if expectation is None:
        return verdict
    if now.today >= expectation.expires:
        reason = f"the expected failure ({expectation.reason}) expired on {expectation.expires}"
        return Verdict(verdict.claim, Status.EXPIRED, (reason, *verdict.reasons), verdict.checks)
    if verdict.status is Status.VERIFIED:
        reason = f"expected {expectation.status.value}: {expectation.reason}"
        return Verdict(verdict.claim, Status.UNEXPECTED_PASS, (reason,), verdict.checks)
    shown = any(expectation.witness in f"{check.id}\n{check.detail}" for check in verdict.checks)
    if verdict.status is expectation.status and shown:
        reasons = (f"until {expectation.expires}: {expectation.reason}", *verdict.reasons)
        return Verdict(verdict.claim, Status.EXPECTED_FAILURE, reasons, verdict.checks)
    return verdict


def caught_by(checks: Iterable[Check]) -> dict[str, tuple[str, ...]]:
    """Return, per saboteur, the ids of the checks that caught it."""
    caught: dict[str, dict[str, None]] = {}
    for check, trial in _evidence(checks, EvidenceKind.SABOTEUR):
        if trial.held:
            caught.setdefault(trial.what, {})[check.id] = None
    return {name: tuple(ids) for name, ids in caught.items()}


def independent_catches(checks: Iterable[Check]) -> dict[str, int]:
    """Return, per saboteur, how many catches are independent: of other tests, which each found another thing broken.

    Two parameters of one test are one test, and two tests that hold the same thing are one check that is called twice.
    """
    broken: dict[str, dict[str, set[str]]] = {}
    for check, trial in _evidence(checks, EvidenceKind.SABOTEUR):
        if trial.held and trial.value:
            broken.setdefault(trial.what, {}).setdefault(check.id.partition("[")[0], set()).add(str(trial.value))
    return {name: _matched(by_test) for name, by_test in broken.items()}


def _matched(by_test: Mapping[str, set[str]]) -> int:
    """Return how many tests can be given a thing of their own: the size of a largest matching."""
    given: dict[str, str] = {}

    def place(test: str, tried: set[str]) -> bool:
        for thing in by_test[test] - tried:
            tried.add(thing)
            if thing not in given or place(given[thing], tried):
                given[thing] = test
                return True
        return False

    return sum(place(test, set()) for test in sorted(by_test))


def coverage(checks: Iterable[Check]) -> dict[str, dict[str, int]]:
    """Return how many generated cases had each value of each kind, over all ``checks``."""
    seen: dict[str, Counter[str]] = {}
    for _, count in _evidence(checks, EvidenceKind.COVER):
        seen.setdefault(count.what, Counter())[str(count.value)] += count.times
    return {key: dict(values) for key, values in seen.items()}


def within(value: object, at_least: float | None, at_most: float | None) -> bool:
    """Return whether ``value`` keeps both bounds; a value that is no number keeps none."""
    if at_least is None and at_most is None:
        return True
    if not isinstance(value, (int, float)) or math.isnan(value):
        return False
    return (at_least is None or value >= at_least) and (at_most is None or value <= at_most)


def _evidence(checks: Iterable[Check], kind: EvidenceKind) -> Iterable[tuple[Check, Evidence]]:
    return ((check, item) for check in checks for item in check.evidence if item.kind is kind)


def _sentence(check: Check) -> str:
    odd = {rank: word for rank, word in check.by_rank.items() if word != "passed"}
    where = "; ".join(f"rank {rank} {word}" for rank, word in sorted(odd.items()))
    first = _telling(check.detail)
    text = f"{check.id} [{check.ranks} rank(s)] {check.outcome.value}"
    return text + (f" ({where})" if check.ranks > 1 and where else "") + (f": {first[:300]}" if first else "")


def _telling(detail: str) -> str:
    """Return the line that says what is wrong: the first that pytest marks as the error, else the first of all."""
    lines = [line for line in detail.splitlines() if line.strip()]
    errors = (line.removeprefix("E ").strip() for line in lines if line.startswith("E "))
    return next(errors, next(iter(lines), ""))


def _words(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
