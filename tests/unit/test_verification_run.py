"""A stage is one run of pytest over the tree under test, in the settings of that tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.errors import VerificationError
from verification.journal import Journal
from verification.run import STAGES, Plan, Stage, _run_stage, _unsaid, conclude, run

SETTINGS = '[tool.pytest.ini_options]\naddopts = ["--strict-markers"]\n'
TEST = "import pytest\n\n@pytest.mark.nobody_knows\ndef test_it(): pass\n"


def test_a_stage_has_the_settings_of_its_tree_wherever_its_journal_is(tmp_path: Path) -> None:
    tree, journal = tmp_path / "tree", tmp_path / "elsewhere" / "journal"
    (tree / "tests").mkdir(parents=True)
    journal.mkdir(parents=True)
    (tree / "pyproject.toml").write_text(SETTINGS)
    (tree / "tests" / "test_it.py").write_text(TEST)
    plan = Plan(tree, journal.parent, ("tests",), ranks=(1,), jobs=1)
    assert _run_stage(plan, Stage("chosen", plan.paths), journal) == pytest.ExitCode.INTERRUPTED


def tree_with(folder: Path, text: str) -> Path:
    """Return a tree of one file of tests."""
    (folder / "tests").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (folder / "tests" / "test_it.py").write_text(text)
    return folder


def test_nothing_but_the_plan_says_what_a_stage_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_with(tmp_path / "tree", "def test_it(): pass\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--ignore=tests/test_it.py")
    plan = Plan(tree, tmp_path / "out", ("tests",), ranks=(1,), jobs=1)
    assert _run_stage(plan, Stage("chosen", plan.paths), tmp_path / "journal") == pytest.ExitCode.OK


def test_a_run_leaves_no_older_report_and_its_journal_says_what_was_missing(tmp_path: Path) -> None:
    plan = Plan(tmp_path, tmp_path / "out", ("tests/absent",), ranks=(1,), jobs=1)
    plan.out.mkdir()
    for name in ("verification.json", "VERIFICATION.md"):
        (plan.out / name).write_text("older")
    result = run(plan)
    assert (plan.out / "previous.json").read_text() == "older"
    assert result["incomplete_because"] == ["chosen/main: pytest ended with 4"]
    again = conclude(plan, [plan.out / "journal"])
    assert again["incomplete_because"] == result["incomplete_because"]
    assert again["re_verification"]["gaps_remaining"]


@pytest.mark.parametrize(
    ("code", "outcome", "claims", "said"),
    [
        (0, "passed", (), []),
        (1, "failed", (), []),
        (1, "passed", (), ["pytest ended with 1, and no test says why"]),
        (1, "skipped", (), ["pytest ended with 1, and no test says why"]),
        (3, "passed", (), ["pytest ended with 3"]),
        (5, "", (), ["there are no tests"]),
        (5, "", ("truth-1",), []),
    ],
)
def test_the_end_of_a_stage_and_its_journal_must_agree(
    tmp_path: Path, code: int, outcome: str, claims: tuple[str, ...], said: list[str]
) -> None:
    journal = Journal(tmp_path, "main")
    if outcome:
        journal.write("start", id="t.py::a", claims={})
        body = {"when": "call", "outcome": outcome, "vacuous": False, "seconds": 0, "ranks": {0: outcome}, "detail": ""}
        journal.write("phase", id="t.py::a", **body)
        journal.write("end", id="t.py::a", outcome=outcome)
    journal.write("finish", exit=0)
    journal.close()
    assert list(_unsaid(Plan(tmp_path, tmp_path, claims=claims), code, tmp_path)) == said


def test_a_tree_that_lacks_a_stage_is_not_verified(tmp_path: Path) -> None:
    for stage in STAGES[:-1]:
        (tmp_path / stage.paths[0]).mkdir(parents=True)
    with pytest.raises(VerificationError, match=f"no {STAGES[-1].paths[0]} here"):
        Plan(tmp_path, tmp_path).stages()
    assert Plan(tmp_path, tmp_path, target="other").stages() == STAGES[:1]
