"""A truth is as good as each of its tests: one that is skipped, left out or emptied turns the whole report red.

That skipping, leaving out and emptying a test end in these outcomes is seen in `test_claims_need_evidence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from verification.catalogue import load
from verification.collect import Collected
from verification.lint import Bindings, collect_bindings
from verification.model import Check, Circumstances, Claim, Evidence, EvidenceKind, Kind, Outcome, Status
from verification.report import Origin, build

ROOT = Path(__file__).parents[2]
NOW = Circumstances(today=date(2026, 6, 1))
TRUTHS = [claim.id for claim in load().claims.values() if claim.kind is Kind.TRUTH]
SPOILED = {Outcome.SKIPPED: Status.NOT_RUN, Outcome.NOT_RUN: Status.NOT_RUN, Outcome.VACUOUS: Status.VACUOUS}


@pytest.fixture(scope="module")
def bindings() -> Bindings:
    """Return which tests show which claims, as pytest collects them."""
    found, problems = collect_bindings(ROOT, (1, 2))
    assert not problems, problems
    return found


def evidence_for(claim: Claim) -> Iterator[Evidence]:
    """Yield all that a claim asks for: figures in their bounds, enough cases, and its saboteurs caught."""
    yield Evidence(EvidenceKind.FIGURE, "something", True, 1, at_least=1)
    for what, bound in claim.bounds.items():
        value = bound.at_most if bound.at_least is None else bound.at_least
        yield Evidence(EvidenceKind.FIGURE, what, True, 0 if value is None else value, at_least=0)
    for key, wanted in claim.must_cover.items():
        yield from (Evidence(EvidenceKind.COVER, key, True, value, times=least) for value, least in wanted.items())
    yield from (Evidence(EvidenceKind.SABOTEUR, name, True, "something") for name in claim.saboteurs)


def checks_of(claim: Claim, bindings: Bindings) -> list[Check]:
    """Return a whole run of the tests of a claim, in which each shows everything."""
    shown = tuple(evidence_for(claim))
    return [
        Check(test, size, Outcome.PASSED, {claim.id: claim.revision}, evidence=shown)
        for test, sizes in bindings[claim.id].items()
        for size in sizes
    ]


@pytest.mark.parametrize("truth", TRUTHS)
def test_a_truth_needs_each_of_its_tests(bindings: Bindings, truth: str) -> None:
    known = load()
    concerned = [truth, *known.claims[truth].rests_on]
    whole = [check for claim in concerned for check in checks_of(known.claims[claim], bindings)]

    def report(*checks: Check) -> tuple[str, str]:
        result = build(known, Collected(checks, True, (), (), ()), NOW, Origin(scope=[truth]))
        (status,) = (row["status"] for row in result["claims"] if row["id"] == truth)
        return result["status"], status

    assert report(*whole) == ("passed", "VERIFIED")
    for place, check in enumerate(whole):
        for outcome, status in SPOILED.items():
            spoiled = replace(check, outcome=outcome, evidence=())
            found = report(*whole[:place], spoiled, *whole[place + 1 :])
            assert found == ("gaps_found", status.value), f"{check.id} {outcome.value}"
