"""The plugin is there once: installed or not, named by a conftest, by the command line, or by both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from verification import loading
from verification.mpi.launch import clean_environment

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest

@pytest.mark.claim("truth-1")
def test_shows_something(evidence):
    evidence.equal(1, 1, what="one")
"""

HEAVY = [word for name in ("hydra_pytest", "hypothesispytest", "benchmark") for word in ("-p", f"no:{name}")]
"""Without the plugins that load whole libraries, and that the suite does not need."""


@pytest.mark.parametrize(
    ("installed", "automatic", "named"),
    [(False, True, True), (True, True, True), (True, True, False), (True, False, True)],
)
def test_the_plugin_is_loaded_once(tmp_path: Path, installed: bool, automatic: bool, named: bool) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text("from verification import loading\npytest_plugins = loading.for_conftest()\n")
    path = [str(ROOT)]
    name = loading.offered() or "dlio_verification"  # this interpreter may have the package itself
    if installed:
        about = tmp_path / "site" / "sample-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[pytest11]\n{name} = verification.plugin\n")
        path.append(str(about.parent))
    environment = clean_environment({"PYTHONPATH": os.pathsep.join(path), "PYTEST_ADDOPTS": ""})
    environment.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD", None)
    if not automatic:
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    known = name if installed else loading.offered()
    options = ["-p", (automatic and known) or "verification.plugin"] if named else []
    command = [sys.executable, "-m", "pytest", "-q", *HEAVY, "--rootdir", str(tmp_path), *options, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
