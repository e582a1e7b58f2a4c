"""Whole folders of tests are shared by processes; what somebody wants to watch, and what ranks run, is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from verification.mpi.launch import clean_environment

ROOT = Path(__file__).parents[2]
SUITE = "import os\ndef test_{0}(): open('ran-{0}', 'x').write(os.environ.get('PYTEST_XDIST_WORKER', 'main'))\n"
SEVERAL = len(os.sched_getaffinity(0)) > 1
"""Where there is but one processor, there is but one process."""
SHARED: Mapping[str, bool] = {
    "suite": SEVERAL,
    "suite -x": SEVERAL,
    "suite -n 0": False,
    "suite -s": False,
    "suite -p no:xdist": False,
    "suite/test_1.py suite/test_2.py": False,
}
RUNS = """
import json, os, sys
import hypothesis, pytest, verification.plugin, xdist.dsession  # once, for all that follows
statuses = []
for folder, options in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        status = pytest.main(["-q", "-p", "no:hydra_pytest", "--rootdir", folder, *options])
        sys.stdout.flush()
        os._exit(status)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(statuses), file=sys.stderr)
"""
"""Runs pytest in each of some folders, in processes that need not load it again."""


def suite_in(folder: Path) -> Path:
    """Return a folder with the root's conftest and a folder of two tests."""
    (folder / "suite").mkdir(parents=True)
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    for number in (1, 2):
        (folder / "suite" / f"test_{number}.py").write_text(SUITE.format(number))
    return folder


def test_whole_folders_are_shared_by_processes(tmp_path: Path) -> None:
    folders = {options: suite_in(tmp_path / str(number)) for number, options in enumerate(SHARED)}
    runs = json.dumps([(str(folder), options.split()) for options, folder in folders.items()])
    environment = clean_environment({"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""})
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-c", RUNS, runs]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert json.loads(done.stderr.splitlines()[-1]) == [0] * len(SHARED), done.stdout + done.stderr
    for options, folder in folders.items():
        by = {path.name: path.read_text() for path in folder.glob("ran-*")}
        assert by.keys() == {"ran-1", "ran-2"}, options
        assert ("main" in by.values()) is not SHARED[options], options
