"""Every way of showing nothing turns the claim red."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.model import Status

if TYPE_CHECKING:
    from conftest import RunCase


def test_an_honest_suite_verifies_its_claim(run_case: RunCase) -> None:
    run = run_case("case_claims.py")
    assert run.code == 0, run.output
    assert run.verdict().status is Status.VERIFIED, run.verdict().reasons


@pytest.mark.parametrize(
    ("mode", "code", "status", "reason"),
    [
        ("skipped", 0, Status.NOT_RUN, "skipped: Skipped: not today"),
        ("emptied", 1, Status.VACUOUS, "held nothing"),
        ("wrong", 1, Status.FAILED, "size = 9 B broke its bound"),
        ("thin", 0, Status.THIN, "kind=b: 0 case(s), 1 wanted"),
        ("blind", 1, Status.VACUOUS, "saboteur wrong-on-rank-1 survived"),
    ],
)
def test_a_test_that_shows_nothing_is_seen(
    run_case: RunCase, mode: str, code: int, status: Status, reason: str
) -> None:
    run = run_case("case_claims.py", environment={"CASE_MODE": mode})
    assert run.code == code, run.output
    verdict = run.verdict()
    assert verdict.status is status, verdict.reasons
    assert any(reason in text for text in verdict.reasons), verdict.reasons


@pytest.mark.parametrize("options", [("-k", "not shows"), ("--deselect", "case_claims.py::test_shows_the_claim")])
def test_a_deselected_test_leaves_its_claim_not_run(run_case: RunCase, options: tuple[str, ...]) -> None:
    run = run_case("case_claims.py", *options)
    assert run.verdict().status is Status.NOT_RUN, run.verdict().reasons


def test_a_mark_without_a_claim_ends_the_collection(run_case: RunCase) -> None:
    run = run_case("case_unknown.py")
    assert run.code == 4
    assert "no claim has the id 'sample-9'; did you mean 'sample-1'?" in run.output


def test_workers_of_xdist_leave_one_complete_journal(run_case: RunCase) -> None:
    run = run_case("case_claims.py", "-n", "1")
    assert run.code == 0, run.output
    assert run.collected.complete
    assert run.verdict().status is Status.VERIFIED, run.verdict().reasons
