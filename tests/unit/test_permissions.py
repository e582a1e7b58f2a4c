"""Data that a process may not read or write are refused with the right code, and with whose they are.

The command runs without the privileges of root, which reads and writes everything: its process gives them up.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked_command import Commands, served
from small_data import make, workload

from dlio_benchmark.data_generator.manifest import MANIFEST, TABLE
from dlio_benchmark.errors import Exit

TREE = {
    "dataset.format": "parquet",
    "dataset.num_files_train": 3,
    "dataset.num_files_eval": 1,
    "dataset.num_subfolders_train": 0,
    "dataset.num_subfolders_eval": 0,
    "dataset.num_samples_per_file": 20,
    "dataset.parquet.columns": "[{name:number,dtype:int32},{name:truth,dtype:bool}]",
    "dataset.parquet.row_group_size": 8,
    "reader.batch_size": 4,
}
FIRST = "train/img_0_of_3.parquet"
MISSING, REFUSED = Exit.DATA_MISSING, Exit.CANNOT_CREATE
CASES = [
    ("train", ".", MISSING),
    ("train", "train", MISSING),
    ("train", MANIFEST, MISSING),
    ("train", TABLE, MISSING),
    ("train", FIRST, MISSING),
    ("verify", ".", MISSING),
    ("verify", "train", MISSING),
    ("verify", FIRST, MISSING),
    ("generate", ".", REFUSED),
    ("generate", MANIFEST, MISSING),
    ("generate", "train", MISSING),
]


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with served() as server:
        yield server


def command(commands: Commands, what: str, root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run the command without the privileges of root."""
    flags = {"workflow.generate_data": what == "generate", "workflow.train": what == "train"}
    keys = {**TREE, **{name: str(wanted).lower() for name, wanted in flags.items()}, "dataset.data_folder": root}
    words = [f"++workload.{name}={value}" for name, value in keys.items()]
    argv = [*(["verify"] * (what == "verify")), *words, f"++hydra.run.dir={out}"]
    return commands.ended(argv, Path(__file__).parents[2], unprivileged=True)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "data"
    make(made, workload())
    yield made
    for path in (made, *made.rglob("*")):
        path.chmod(0o755)


@pytest.mark.parametrize(("what", "denied", "code"), CASES)
def test_what_may_not_be_read_or_written_is_named_with_its_owner(
    commands: Commands, root: Path, tmp_path: Path, what: str, denied: str, code: Exit
) -> None:
    target = root if denied == "." else root / denied
    target.chmod(0)
    ended = command(commands, what, root, tmp_path / "out")
    error = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert (ended.returncode, len(error)) == (code, 1), ended.stderr
    mode = stat.filemode(target.stat().st_mode)
    assert "Permission denied" in error[0]
    assert f"{target} belongs to " in error[0]
    assert f"and has mode {mode}, this process runs as " in error[0]
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_data_set_that_may_only_be_read_is_read(commands: Commands, root: Path, tmp_path: Path) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    ended = command(commands, "train", root, tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["dlio"]["valid"]
    assert os.path.exists(root / MANIFEST)
