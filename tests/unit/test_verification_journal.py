"""From lines to checks: what was not said did not happen, and what was cut short is a crash."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification.collect import Collected, collect
from verification.errors import JournalError
from verification.journal import Journal, clear, encode, read
from verification.model import Evidence, EvidenceKind, Outcome
from verification.mpi.deaths import lifeline

Write = Callable[..., Journal]


@pytest.fixture
def journal_in() -> Iterator[Write]:
    """Return a function that opens a journal, which is closed after the test."""
    with ExitStack() as stack:
        yield lambda *place, **who: stack.enter_context(closing(Journal(*place, **who)))


def phase(journal: Journal, test: str, outcome: str = "passed", *, when: str = "call", **more: Any) -> None:
    body = {"vacuous": False, "seconds": 0.5, "ranks": {0: outcome}, "detail": "", **more}
    journal.write("phase", id=test, when=when, outcome=outcome, **body)


def whole(journal: Journal, test: str = "t.py::a", outcome: str = "passed", **more: Any) -> None:
    journal.write("start", id=test, claims={"truth-1": 1})
    phase(journal, test, when="setup")
    phase(journal, test, outcome, **more)
    phase(journal, test, when="teardown")
    journal.write("end", id=test, outcome=outcome)


def told(folder: Path) -> Collected:
    return collect(read([folder]))


def test_a_finished_journal_is_complete(journal_in: Write, tmp_path: Path) -> None:
    journal = journal_in(tmp_path, "main")
    journal.write("session")
    whole(journal)
    assert told(tmp_path).gaps == (f"{tmp_path.name}/main: rank 0 of 1 did not finish",)
    journal.write("finish", exit=0)
    found = told(tmp_path)
    assert found.complete
    (check,) = found.checks
    assert (check.outcome, check.claims, check.seconds) == (Outcome.PASSED, {"truth-1": 1}, 1.5)
    assert [(s.rank, s.outcome) for s in found.timeline] == [(0, "passed")]


@pytest.mark.parametrize(
    ("outcome", "more", "expected"),
    [
        ("failed", {}, Outcome.FAILED),
        ("failed", {"vacuous": True}, Outcome.VACUOUS),
        ("failed", {"when": "setup"}, Outcome.ERROR),
        ("skipped", {}, Outcome.SKIPPED),
        ("xfailed", {}, Outcome.XFAILED),
        ("xpassed", {}, Outcome.XPASSED),
    ],
)
def test_phases_add_up_to_an_outcome(
    journal_in: Write, tmp_path: Path, outcome: str, more: dict[str, Any], expected: Outcome
) -> None:
    journal = journal_in(tmp_path, "main")
    whole(journal, outcome=outcome, **more)
    assert told(tmp_path).checks[0].outcome is expected


def test_a_test_without_an_end_is_a_crash(journal_in: Write, tmp_path: Path) -> None:
    journal = journal_in(tmp_path, "main")
    journal.write("start", id="t.py::a", claims={})
    phase(journal, "t.py::a", when="setup")
    assert told(tmp_path).checks[0].outcome is Outcome.CRASHED


def test_what_was_collected_and_never_started_was_not_run(journal_in: Write, tmp_path: Path) -> None:
    journal = journal_in(tmp_path, "main")
    journal.write("collected", checks=[{"id": "t.py::a", "claims": {"truth-1": 1}, "sizes": [1, 2]}])
    journal.write("left_out", checks=[{"id": "t.py::b", "claims": {}, "sizes": [1]}], reason="deselected")
    found = told(tmp_path).checks
    assert [(c.id, c.ranks, c.outcome) for c in found] == [
        ("t.py::a", 1, Outcome.NOT_RUN),
        ("t.py::a", 2, Outcome.NOT_RUN),
        ("t.py::b", 1, Outcome.NOT_RUN),
    ]
    assert found[2].detail == "deselected"


def test_evidence_of_all_ranks_counts_and_failures_win(journal_in: Write, tmp_path: Path) -> None:
    for rank, value in enumerate((5, 12)):
        journal = journal_in(tmp_path, "mpi", rank=rank, size=2)
        held = Evidence(EvidenceKind.FIGURE, "bytes", value < 10, value, at_most=10)
        cover = Evidence(EvidenceKind.COVER, "codec", True, "zstd", times=rank + 1)
        journal.write("start", id="t.py::a", claims={})
        journal.write("evidence", id="t.py::a", records=[encode(held), encode(cover)])
        journal.write("end", id="t.py::a", outcome="passed")
    (check,) = told(tmp_path).checks
    assert [(e.rank, e.value, e.held) for e in check.evidence[:2]] == [(0, 5, True), (1, 12, False)]
    assert check.evidence[2].times == 2


def test_a_loss_overrides_what_was_said_before_and_keeps_local_failures(journal_in: Write, tmp_path: Path) -> None:
    ranks = [journal_in(tmp_path, "mpi", rank=rank, size=2) for rank in range(2)]
    for journal in ranks:
        journal.write("start", id="t.py::a", claims={})
    phase(ranks[0], "t.py::a", when="setup")
    ranks[1].write("local", id="t.py::a", outcome="failed", detail="ValueError")
    log = journal_in(tmp_path, "supervisor", size=2)
    log.write("lost", id="t.py::a", outcome="timeout", detail="stuck", ranks={0: "timeout"})
    (check,) = told(tmp_path).checks
    assert check.outcome is Outcome.TIMEOUT
    assert check.by_rank == {0: "timeout", 1: "failed"}
    assert "ValueError" in check.detail


def test_only_the_last_attempt_must_finish(journal_in: Write, tmp_path: Path) -> None:
    journal_in(tmp_path, "mpi", size=1, attempt=0).write("session")
    last = journal_in(tmp_path, "mpi", size=1, attempt=1)
    last.write("session")
    last.write("finish", exit=0)
    assert told(tmp_path).complete


@given(cut=st.integers(0, 400))
def test_a_journal_cut_anywhere_is_read_and_never_complete(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    journal = Journal(folder, "main")
    journal.write("session")
    whole(journal)
    journal.write("finish", exit=0)
    journal.close()
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[: max(len(content) - 2 - cut, 0)])
    found = told(folder)
    assert not found.complete
    assert all(check.outcome in (Outcome.PASSED, Outcome.CRASHED, Outcome.NOT_RUN) for check in found.checks)


def test_a_place_without_a_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal found"):
        read([tmp_path])


def test_clearing_removes_journals_and_nothing_else(journal_in: Write, tmp_path: Path) -> None:
    journal_in(tmp_path / "ranks-2", "mpi").write("session")
    (tmp_path / "keep.txt").touch()
    os.mkfifo(lifeline(tmp_path / "ranks-2", 0, 1))
    clear(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == ["keep.txt"]


@pytest.mark.parametrize(("code", "complete"), [(0, True), (1, True), (2, False), (3, False), (4, False), (5, True)])
def test_a_process_that_did_not_run_what_it_was_told_to_is_a_gap(
    journal_in: Write, tmp_path: Path, code: int, complete: bool
) -> None:
    journal = journal_in(tmp_path, "main")
    whole(journal)
    journal.write("finish", exit=code)
    assert told(tmp_path).gaps == (() if complete else (f"{tmp_path.name}/main: pytest ended with {code}",))


def test_a_rank_of_which_there_is_no_journal_at_all_is_a_gap(journal_in: Write, tmp_path: Path) -> None:
    for rank in (0, 2):
        journal = journal_in(tmp_path, "mpi", rank=rank, size=3)
        whole(journal)
        journal.write("finish", exit=0)
    assert told(tmp_path).gaps == (f"{tmp_path.name}/mpi: rank 1 of 3 did not finish",)


def test_what_several_processes_say_of_one_gap_is_said_once(journal_in: Write, tmp_path: Path) -> None:
    for worker in ("gw0", "gw1"):
        journal = journal_in(tmp_path, worker)
        journal.write("gap", gap="t.py cannot be collected: no")
        journal.write("finish", exit=1)
    assert told(tmp_path).gaps == (f"{tmp_path.name}: t.py cannot be collected: no",)
