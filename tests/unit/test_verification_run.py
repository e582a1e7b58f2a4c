"""A stage is one run of pytest over the tree under test, in the settings of that tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.run import Plan, Stage, _run_stage

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
