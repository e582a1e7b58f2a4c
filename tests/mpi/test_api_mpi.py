"""A tool that drives the benchmark from Python, on several ranks, ends as it should."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import api_job
import pytest

from dlio_benchmark.launch import Finished, run

ROOT = Path(__file__).parents[2]


def job(folder: Path, ending: str) -> Finished:
    argv = [sys.executable, api_job.__file__, str(folder), ending]
    return run(2, argv, timeout_s=120.0, env={**os.environ, "PYTHONPATH": str(ROOT)}, grace_s=20.0)


@pytest.mark.parametrize("ending", ["", "finalize"])
def test_ranks_leave_in_order_with_or_without_a_word(tmp_path: Path, ending: str) -> None:
    done = job(tmp_path, ending)
    assert (done.code, done.left) == (0, ())
    assert "Abort" not in done.stderr
    for name in ("one", "two"):
        summary = json.loads((tmp_path / name / "out" / "summary.json").read_text())
        assert (summary["num_accelerators"], summary["dlio"]["valid"]) == (2, True)


def test_an_error_on_one_rank_ends_the_job_as_a_failure(tmp_path: Path) -> None:
    done = job(tmp_path, "raise")
    assert done.code % 256 != 0
    assert not done.timed_out
    assert "planted" in done.stderr
