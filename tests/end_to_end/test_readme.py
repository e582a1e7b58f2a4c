"""The README's commands work as they are printed, in their order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = ("dlio_benchmark", "dlio_postprocessor", "mlpstorage", "mpirun")
SETTINGS = dict(re.findall(r"\b(OMPI_\w+)=(\w+)", TEXT))
"""What a launcher needs according to the README; others take no notice."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def lines() -> list[str]:
    """Return the commands of the README in their order; of one that installs first, what follows the installation."""
    printed = [line.partition("  #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    last = [line.rpartition("&&")[2].strip().replace(".venv/bin/", "") for line in printed]
    return [line for line in last if line != "python -m pytest"]


def test_there_are_commands_of_every_kind() -> None:
    assert {line.split()[0] for line in lines()} == set(COMMANDS)
    assert any(" verify " in line for line in lines())


def test_every_command_works_as_printed(tmp_path: Path) -> None:
    (tmp_path / "my" / "workload").mkdir(parents=True)
    (tmp_path / "my" / "workload" / "mine.yaml").write_text(blocks("yaml")[0])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if shutil.which("mpirun", path=path) is None:
        pytest.skip("no mpirun")
    environ = {"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **SETTINGS}
    for line in lines():
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert "[WARNING]" not in done.stderr, f"{line}\n{done.stderr}"
    assert (tmp_path / "results" / "second" / "report.html").exists()
    assert (tmp_path / "RESULTS" / "results.json").exists()
