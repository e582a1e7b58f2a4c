"""The rules that turn evidence into statuses: total, in order of priority, and blind to nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification.judge import caught_by, coverage, independent_catches, judge, status_of, within
from verification.model import (
    Bound,
    Check,
    Circumstances,
    Claim,
    Evidence,
    EvidenceKind,
    Expectation,
    Kind,
    Level,
    Method,
    Outcome,
    Status,
)

TODAY = date(2026, 6, 1)
NOW = Circumstances(today=TODAY, capabilities=frozenset({"reader"}))
CLAIM = Claim(
    id="sample-1",
    text="a claim",
    kind=Kind.PRODUCT,
    level=Level.MUST,
    method=Method.BYTES,
    revision=2,
    ranks=(1, 2),
    needs=frozenset({"reader"}),
    bounds={"bytes": Bound("B", "at most 10", at_most=10)},
    saboteurs=("wrong",),
    must_cover={"codec": {"zstd": 2}},
)
SUM = replace(CLAIM, saboteurs=(), must_cover={}, bounds={})
FIGURE = Evidence(EvidenceKind.FIGURE, "bytes", True, 7, at_most=10, unit="B", margin=3)
COVER = Evidence(EvidenceKind.COVER, "codec", True, "zstd", times=2)
CAUGHT = Evidence(EvidenceKind.SABOTEUR, "wrong", True)
GOOD = Check("t.py::test_a", 1, Outcome.PASSED, {"sample-1": 2}, evidence=(FIGURE, COVER, CAUGHT))
COMPLETE = (GOOD, replace(GOOD, ranks=2))


def status(*checks: Check, claim: Claim = CLAIM, now: Circumstances = NOW) -> Status:
    return status_of(claim, checks, now)[0]


def test_a_claim_with_all_its_evidence_is_verified() -> None:
    assert status_of(CLAIM, COMPLETE, NOW) == (Status.VERIFIED, ())


def without(kind: EvidenceKind) -> tuple[Check, ...]:
    return tuple(replace(c, evidence=tuple(e for e in c.evidence if e.kind is not kind)) for c in COMPLETE)


def instead(evidence: Evidence) -> tuple[Check, ...]:
    return tuple(
        replace(c, evidence=(*(e for e in c.evidence if e.kind is not evidence.kind), evidence)) for c in COMPLETE
    )


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ((), Status.NO_CHECK),
        ((GOOD,), Status.NOT_RUN),
        ((GOOD, replace(GOOD, ranks=2, outcome=Outcome.SKIPPED)), Status.NOT_RUN),
        ((GOOD, replace(GOOD, ranks=2, outcome=Outcome.NOT_RUN)), Status.NOT_RUN),
        ((GOOD, replace(GOOD, ranks=2, outcome=Outcome.CRASHED)), Status.CRASHED),
        ((GOOD, replace(GOOD, ranks=2, outcome=Outcome.TIMEOUT)), Status.TIMEOUT),
        ((GOOD, replace(GOOD, ranks=2, outcome=Outcome.ERROR)), Status.FAILED),
        ((GOOD, replace(GOOD, ranks=2, outcome=Outcome.XFAILED)), Status.FAILED),
        ((GOOD, replace(GOOD, ranks=2, outcome=Outcome.XPASSED)), Status.UNEXPECTED_PASS),
        ((GOOD, replace(GOOD, ranks=2, outcome=Outcome.VACUOUS)), Status.VACUOUS),
        ((GOOD, replace(GOOD, ranks=2, claims={"sample-1": 1})), Status.OUTDATED),
        (without(EvidenceKind.FIGURE), Status.VACUOUS),
        (without(EvidenceKind.SABOTEUR), Status.VACUOUS),
        (without(EvidenceKind.COVER), Status.THIN),
        (instead(replace(FIGURE, what="seconds")), Status.THIN),
        (instead(replace(FIGURE, held=False)), Status.FAILED),
        (instead(replace(FIGURE, value=11, at_most=100)), Status.FAILED),
        (instead(replace(FIGURE, value="text")), Status.FAILED),
        (instead(replace(CAUGHT, held=False)), Status.VACUOUS),
        (instead(replace(COVER, times=0)), Status.THIN),
    ],
)
def test_each_lack_of_evidence_has_its_status(checks: tuple[Check, ...], expected: Status) -> None:
    found, reasons = status_of(CLAIM, checks, NOW)
    assert found is expected
    assert reasons


def test_a_loose_bound_in_a_test_does_not_loosen_the_claim() -> None:
    assert status(*instead(replace(FIGURE, value=11, at_most=1000, held=True))) is Status.FAILED


def test_a_claim_without_a_saboteur_is_vacuous() -> None:
    assert status(*COMPLETE, claim=replace(CLAIM, saboteurs=())) is Status.VACUOUS


def test_a_saboteur_must_be_caught_as_often_as_the_claim_wants() -> None:
    twice = replace(CLAIM, catches=2)
    assert status(*COMPLETE, claim=twice) is Status.VACUOUS
    other = tuple(replace(c, id="t.py::test_b") for c in COMPLETE)
    assert status(*COMPLETE, *other, claim=twice) is Status.VERIFIED


def test_a_target_without_the_capability_is_not_judged() -> None:
    assert status(now=replace(NOW, capabilities=frozenset())) is Status.NOT_APPLICABLE


def test_a_broken_adapter_is_not_taken_for_a_broken_product() -> None:
    failed = tuple(replace(c, outcome=Outcome.FAILED) for c in COMPLETE)
    assert status(*failed, now=replace(NOW, adapter_works=False)) is Status.ADAPTER_BROKEN


EXPECTED = Expectation("sample-1", "native", Status.FAILED, "known", TODAY + timedelta(days=1), "test_a")
FAILED = tuple(replace(c, outcome=Outcome.FAILED, detail="boom") for c in COMPLETE)


def judged(checks: tuple[Check, ...], expectation: Expectation) -> Status:
    return judge([CLAIM], checks, NOW, expectations=[expectation])["sample-1"].status


def test_expected_failures_are_run_and_cannot_rot() -> None:
    assert judged(FAILED, EXPECTED) is Status.EXPECTED_FAILURE
    assert judged(COMPLETE, EXPECTED) is Status.UNEXPECTED_PASS
    assert judged(FAILED, replace(EXPECTED, expires=TODAY)) is Status.EXPIRED
    assert judged(FAILED, replace(EXPECTED, witness="another failure")) is Status.FAILED
    assert judged(FAILED, replace(EXPECTED, target="other")) is Status.FAILED
    assert judged(FAILED, replace(EXPECTED, condition={"system": "other"})) is Status.FAILED


def test_what_rests_on_a_gap_is_a_gap() -> None:
    whole = replace(SUM, id="whole-1", rests_on=("sample-1",))
    assert judge([CLAIM, whole], COMPLETE, NOW)["whole-1"].status is Status.VERIFIED
    verdict = judge([CLAIM, whole], (GOOD,), NOW)["whole-1"]
    assert verdict.status is Status.NOT_RUN
    assert verdict.reasons == ("rests on sample-1: NOT RUN",)


@pytest.mark.parametrize("own", ["saboteurs", "must_cover", "bounds"])
def test_a_claim_that_wants_something_of_its_own_is_not_shown_by_its_parts(own: str) -> None:
    whole = replace(SUM, id="whole-1", rests_on=("sample-1",), **{own: getattr(CLAIM, own)})
    assert judge([CLAIM, whole], COMPLETE, NOW)["whole-1"].status is Status.NO_CHECK
    mine = [replace(check, claims={"sample-1": 2, "whole-1": 2}) for check in COMPLETE]
    wanted = Status.VERIFIED if own == "saboteurs" else Status.VACUOUS
    assert judge([CLAIM, whole], mine, NOW)["whole-1"].status is wanted


evidences = st.builds(
    Evidence,
    kind=st.sampled_from(EvidenceKind),
    what=st.sampled_from(["bytes", "codec", "wrong", "other"]),
    held=st.booleans(),
    value=st.one_of(st.none(), st.integers(), st.floats(), st.sampled_from(["zstd", "x"])),
    times=st.integers(0, 3),
)
checks = st.builds(
    Check,
    id=st.sampled_from(["t.py::test_a", "t.py::test_b"]),
    ranks=st.integers(1, 3),
    outcome=st.sampled_from(Outcome),
    claims=st.dictionaries(st.sampled_from(["sample-1", "other-1"]), st.integers(1, 3)),
    detail=st.sampled_from(["", "boom"]),
    evidence=st.lists(evidences, max_size=4).map(tuple),
)


@given(found=st.lists(checks, max_size=6), adapter_works=st.booleans(), needs=st.booleans())
def test_every_evidence_gives_exactly_one_status(found: list[Check], adapter_works: bool, needs: bool) -> None:
    now = replace(NOW, adapter_works=adapter_works, capabilities=None if needs else frozenset({"reader"}))
    got, reasons = status_of(CLAIM, found, now)
    assert isinstance(got, Status)
    assert (got is Status.VERIFIED) == (not reasons)


@given(found=st.lists(checks, max_size=6), worse=st.sampled_from([o for o in Outcome if o is not Outcome.PASSED]))
def test_one_check_that_did_not_pass_never_leaves_a_claim_verified(found: list[Check], worse: Outcome) -> None:
    bad = replace(GOOD, outcome=worse)
    assert status(*COMPLETE, *found, bad) is not Status.VERIFIED


@given(found=st.lists(checks, max_size=6), order=st.randoms())
def test_the_order_of_the_evidence_does_not_matter(found: list[Check], order: object) -> None:
    shuffled = list(found)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert status(*found) is status(*shuffled)


def test_no_status_leaves_anything_to_a_human() -> None:
    assert not [member for member in Status if "human" in member.value.lower()]


def test_coverage_adds_up_and_catches_are_counted_by_check() -> None:
    assert coverage(COMPLETE) == {"codec": {"zstd": 4}}
    assert caught_by(COMPLETE) == {"wrong": ("t.py::test_a",)}


def catch(test: str, *broken: str) -> Check:
    trials = tuple(Evidence(EvidenceKind.SABOTEUR, "wrong", True, what) for what in broken)
    return Check(f"t.py::{test}", 1, Outcome.PASSED, evidence=trials)


@pytest.mark.parametrize(
    ("checks", "independent"),
    [
        ((catch("a", "rows"),), 1),
        ((catch("a", "rows", "bytes"),), 1),
        ((catch("a[1]", "rows"), catch("a[2]", "bytes")), 1),
        ((catch("a", "rows"), catch("b", "rows")), 1),
        ((catch("a", "rows"), catch("b", "bytes")), 2),
        ((catch("a", "rows", "bytes"), catch("b", "rows")), 2),
        ((catch("a", "rows"), catch("b", "rows", "bytes"), catch("c", "bytes", "rows")), 2),
    ],
)
def test_catches_are_independent_if_other_tests_find_other_things_broken(
    checks: tuple[Check, ...], independent: int
) -> None:
    assert independent_catches(checks) == {"wrong": independent}


def test_a_catch_on_another_rank_says_nothing_of_what_broke() -> None:
    assert independent_catches([catch("a", "rows"), catch("b", "")]) == {"wrong": 1}


@given(
    value=st.floats(allow_nan=True),
    low=st.none() | st.floats(allow_nan=False),
    high=st.none() | st.floats(allow_nan=False),
)
def test_a_value_is_within_its_bounds_or_not(value: float, low: float | None, high: float | None) -> None:
    expected = (low is None or value >= low) and (high is None or value <= high)
    assert within(value, low, high) is expected


def test_a_part_that_does_not_apply_leaves_the_whole_to_the_rest() -> None:
    part = replace(CLAIM, id="part-1", needs=frozenset({"front end"}))
    other = replace(CLAIM, id="part-2")
    whole = replace(SUM, id="whole-1", rests_on=("part-1", "part-2"))
    none = replace(whole, id="whole-2", rests_on=("part-1",))
    found = judge([part, other, whole, none], [replace(one, claims={"part-2": 2}) for one in COMPLETE], NOW)
    assert {name: verdict.status for name, verdict in found.items()} == {
        "part-1": Status.NOT_APPLICABLE,
        "part-2": Status.VERIFIED,
        "whole-1": Status.VERIFIED,
        "whole-2": Status.NOT_APPLICABLE,
    }
