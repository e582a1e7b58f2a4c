"""The README's commands work as they are printed: those of a block in their order, whatever block comes first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = ("dlio_benchmark", "dlio_postprocessor", "mlpstorage", "mpirun")
SETTINGS = dict(re.findall(r"\b(OMPI_\w+)=(\w+)", TEXT))
"""What a launcher needs according to the README; others take no notice."""
OF_THE_HOST = "the hosts have too few processors for their ranks"
"""Said of a machine that is busy meanwhile, whatever the command."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def lines(block: str) -> list[str]:
    """Return the commands of a block in their order; of one that installs first, what follows the installation."""
    printed = [line.partition("  #")[0].strip() for line in block.splitlines()]
    last = [line.rpartition("&&")[2].strip().replace(".venv/bin/", "") for line in printed]
    return [line for line in last if line != "python -m pytest"]


def test_there_are_commands_of_every_kind() -> None:
    every = [line for block in blocks("bash") for line in lines(block)]
    assert {line.split()[0] for line in every} == set(COMMANDS)
    assert any(" verify " in line for line in every)


def warned(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if "[WARNING]" in line and OF_THE_HOST not in line]


def assert_works(block: str, folder: Path, environ: Mapping[str, str]) -> None:
    for line in lines(block):
        done = subprocess.run(
            line, shell=True, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert not warned(done.stderr), f"{line}\n{done.stderr}"


def test_every_command_works_as_printed(tmp_path: Path) -> None:
    (tmp_path / "my" / "workload").mkdir(parents=True)
    (tmp_path / "my" / "workload" / "mine.yaml").write_text(blocks("yaml")[0])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if shutil.which("mpirun", path=path) is None:
        pytest.skip("no mpirun")
    environ = {"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **SETTINGS}
    with ThreadPoolExecutor(2) as pool:
        ended = [pool.submit(assert_works, block, tmp_path, environ) for block in blocks("bash")]
    for block in ended:
        block.result()
    assert (tmp_path / "results" / "second" / "report.html").exists()
    assert (tmp_path / "RESULTS" / "results.json").exists()
