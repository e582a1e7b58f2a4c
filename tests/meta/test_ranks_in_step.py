"""Broken collective suites under a real launcher: who is blamed, who suffers, and how long it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_suites import CASES, CaseRun, run_case

from verification.model import Outcome, Status
from verification.mpi import launch

BROKEN = {
    "test_one_rank_asserts": Outcome.FAILED,
    "test_one_rank_raises_before_a_collective": Outcome.FAILED,
    "test_root_broadcasts_alone": Outcome.FAILED,
    "test_skipped_on_one_rank_only": Outcome.FAILED,
    "test_expected_to_fail_on_one_rank_only": Outcome.FAILED,
    "test_fails_on_all_as_expected": Outcome.XFAILED,
    "test_setup_fails_on_one_rank": Outcome.ERROR,
    "test_message_from_the_dead": Outcome.FAILED,
    "test_only_rank_1_fails_before_a_collective": Outcome.FAILED,
    "test_two_bugs_on_two_ranks": Outcome.FAILED,
}
PHASE_LIMIT_S, ALLOWANCE_S = 1.0, 10.0
"""What `case_losses.py` gives a phase, and what the end of a job may take beyond it."""


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> CaseRun:
    """Return a run in which pytest launches the ranks."""
    return run_case(tmp_path_factory.mktemp("launched"), "case_collectives.py", str(CASES / "case_properties.py"))


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory: pytest.TempPathFactory) -> CaseRun:
    """Return a run in which the ranks are launched, and each runs pytest."""
    folder = tmp_path_factory.mktemp("on-ranks")
    return run_case(folder, "case_collectives.py", under=tuple(launch.find().command(2)))


@pytest.mark.parametrize("entrance", ["launched", "on_ranks"])
def test_a_broken_test_fails_alone_and_names_its_rank(request: pytest.FixtureRequest, entrance: str) -> None:
    run: CaseRun = request.getfixturevalue(entrance)
    outcomes = {name: check.outcome for name, check in run.checks.items()}
    assert outcomes == {name: BROKEN.get(name, Outcome.PASSED) for name in outcomes}, run.output
    assert run.code == 1
    assert run.collected.complete, run.collected.gaps
    assert run.checks["test_one_rank_asserts"].by_rank == {0: "passed", 1: "failed"}
    assert "rank 1 of 2: ValueError: rank 1 dies first" in (
        run.checks["test_one_rank_raises_before_a_collective"].detail
    )
    assert "collective calls differ between ranks" in run.checks["test_root_broadcasts_alone"].detail
    assert run.output.count("short test summary info") == 1


def test_lost_ranks_are_named_and_the_other_tests_still_run(tmp_path: Path) -> None:
    run = run_case(tmp_path, "case_losses.py")
    assert {name: check.outcome for name, check in run.checks.items()} == {
        "test_healthy_before": Outcome.PASSED,
        "test_rank_1_is_killed": Outcome.CRASHED,
        "test_healthy_after_a_kill": Outcome.PASSED,
        "test_rank_1_sleeps_for_ever": Outcome.TIMEOUT,
        "test_rank_1_segfaults": Outcome.CRASHED,
        "test_rank_0_blocks_in_c_after_rank_1_raised": Outcome.TIMEOUT,
        "test_healthy_at_the_end": Outcome.PASSED,
    }, run.output
    assert run.code == 1
    assert run.collected.complete, run.collected.gaps
    blamed = {name: {r: w for r, w in check.by_rank.items() if w != "passed"} for name, check in run.checks.items()}
    assert blamed["test_rank_1_is_killed"] == {1: "crashed"}
    assert blamed["test_rank_1_sleeps_for_ever"] == {1: "timeout"}
    assert blamed["test_rank_1_segfaults"][1] == "crashed"
    assert blamed["test_rank_0_blocks_in_c_after_rank_1_raised"] == {0: "timeout", 1: "failed"}
    assert "ValueError: rank 1 dies first" in run.checks["test_rank_0_blocks_in_c_after_rank_1_raised"].detail
    assert {name for name, seconds in run.seconds_to_the_end.items() if seconds < PHASE_LIMIT_S + ALLOWANCE_S} == {
        name for name, check in run.checks.items() if check.outcome in (Outcome.CRASHED, Outcome.TIMEOUT)
    }, run.seconds_to_the_end


def test_a_bug_that_only_rank_1_sees_shrinks_to_its_minimum(launched: CaseRun) -> None:
    assert "n=17," in launched.checks["test_only_rank_1_fails_before_a_collective"].detail
    both = launched.checks["test_two_bugs_on_two_ranks"].detail
    assert all(text in both for text in ("n=501,", "n=0,", "bug on rank 1", "bug on rank 0"))


def test_serial_tests_run_once_under_a_launcher(tmp_path: Path) -> None:
    run = run_case(tmp_path, "case_claims.py", "-k", "honest or once", under=tuple(launch.find().command(2)))
    assert run.code == 0, run.output
    assert (tmp_path / "count").read_text() == "x"
    assert {check.ranks for check in run.collected.checks if check.outcome is Outcome.PASSED} == {1}
    assert run.verdict().status is Status.VERIFIED, run.verdict().reasons


def test_a_launcher_of_another_library_is_refused(tmp_path: Path) -> None:
    run = run_case(tmp_path, "case_claims.py", environment={"PMI_SIZE": "2"})
    assert run.code == 4
    assert "do not belong together" in run.output


def test_without_a_launcher_the_tests_are_not_run_and_say_so(tmp_path: Path) -> None:
    left_out = run_case(tmp_path, "case_collectives.py", "--no-mpi")
    assert left_out.verdict().status.value == "NOT RUN"
    assert "--no-mpi" in left_out.verdict().reasons[0]
    assert left_out.code == 0
    alone = run_case(tmp_path, "case_collectives.py", environment={"PATH": str(tmp_path)}, alone=True)
    assert alone.code == 1
    assert "NOT RUN: no mpiexec" in alone.output
    assert alone.verdict().status.value == "NOT RUN"
