"""Every way of showing nothing turns the claim red."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_suites import CASES, CaseRun, run_case

from verification.model import Status


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> CaseRun:
    """Return one run of tests that show their claims well and badly."""
    return run_case(tmp_path_factory.mktemp("claims"), "case_claims.py", "-n", "1")


@pytest.mark.parametrize(
    ("claim", "status", "reason"),
    [
        ("sample-1", Status.VERIFIED, ""),
        ("sample-2", Status.NOT_RUN, "skipped: Skipped: not today"),
        ("sample-3", Status.VACUOUS, "held nothing"),
        ("sample-4", Status.FAILED, "size = 9 B broke its bound"),
        ("sample-5", Status.THIN, "kind=a: 0 case(s), 1 wanted"),
        ("sample-6", Status.VACUOUS, "saboteur wrong-on-rank-1 survived"),
        ("sample-7", Status.FAILED, "size = 9 B, claimed: 4 to 6"),
        ("sample-8", Status.VACUOUS, "held nothing"),
    ],
)
def test_a_claim_is_what_its_test_shows(shown: CaseRun, claim: str, status: Status, reason: str) -> None:
    verdict = shown.verdict(claim)
    assert verdict.status is status, verdict.reasons
    assert reason in "\n".join(verdict.reasons)


def test_a_worker_of_xdist_leaves_a_complete_journal(shown: CaseRun) -> None:
    assert shown.collected.complete, shown.collected.gaps
    assert shown.code == 1
    assert "4 failed, 5 passed, 1 skipped" in shown.output


def test_a_deselected_test_leaves_its_claim_not_run(tmp_path: Path) -> None:
    run = run_case(tmp_path, "case_claims.py", "-k", "not honest", "--deselect", "case_claims.py::test_thin")
    assert [run.verdict(claim).status for claim in ("sample-1", "sample-5")] == [Status.NOT_RUN] * 2
    assert "deselected" in run.verdict("sample-1").reasons[0]


@pytest.fixture(scope="module", params=["0", "1"])
def lacking(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CaseRun:
    """Return runs, in one process and in a worker, of modules that cannot be imported or skip themselves."""
    others = [str(CASES / name) for name in ("case_absent.py", "case_claims.py")]
    return run_case(tmp_path_factory.mktemp("lacking"), "case_broken.py", "-n", request.param, *others)


def test_a_module_that_cannot_be_imported_is_a_gap(lacking: CaseRun) -> None:
    missing = "case_broken.py cannot be collected: ModuleNotFoundError: No module named 'a_module_that_nobody_has'"
    assert [gap for gap in lacking.collected.gaps if missing in gap], lacking.collected.gaps


def test_a_module_that_skips_itself_leaves_its_claims_not_run(lacking: CaseRun) -> None:
    verdict = lacking.verdict("sample-1")
    assert verdict.status is Status.NOT_RUN
    assert any("the module skips itself: Skipped: not on this machine" in reason for reason in verdict.reasons)


def test_a_mark_without_a_claim_ends_the_collection(tmp_path: Path) -> None:
    run = run_case(tmp_path, "case_unknown.py")
    assert run.code == 4
    assert "no claim has the id 'sample-99'; did you mean 'sample-" in run.output
