"""Whole folders of tests are shared by processes; what somebody wants to watch, and what ranks run, is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from verification.mpi.launch import clean_environment

ROOT = Path(__file__).parents[2]
SUITE = "import os\ndef test_{0}(): open('ran-{0}', 'x').write(os.environ.get('PYTEST_XDIST_WORKER', 'main'))\n"
SEVERAL = len(os.sched_getaffinity(0)) > 1
"""Where there is but one processor, there is but one process."""


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        (["suite"], SEVERAL),
        (["suite", "-x"], SEVERAL),
        (["suite", "-n", "0"], False),
        (["suite", "-s"], False),
        (["suite", "-p", "no:xdist"], False),
        (["suite/test_1.py", "suite/test_2.py"], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_whole_folders_are_shared_by_processes(tmp_path: Path, options: list[str], shared: bool) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "suite").mkdir()
    for number in (1, 2):
        (tmp_path / "suite" / f"test_{number}.py").write_text(SUITE.format(number))
    environment = clean_environment({"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""})
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:hydra_pytest", "--rootdir", str(tmp_path), *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    by = {path.name: path.read_text() for path in tmp_path.glob("ran-*")}
    assert by.keys() == {"ran-1", "ran-2"}
    assert ("main" in by.values()) is not shared
