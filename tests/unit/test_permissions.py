"""Data that a process may not read or write are refused with the right code, and with whose they are.

The command runs without the privileges of root, which reads and writes everything: the kernel takes them away.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_data import make, workload

from dlio_benchmark.data_generator.manifest import MANIFEST, TABLE
from dlio_benchmark.errors import Exit

# Drops what lets root pass by file modes: the bounding set without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
UNPRIVILEGED = """
import ctypes, os, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(24, 1, 0, 0, 0) == 0 and libc.prctl(24, 2, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.executable, [sys.executable, "-m", "dlio_benchmark.main", *sys.argv[1:]])
"""
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


def command(what: str, root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run the command without the privileges of root."""
    flags = {"workflow.generate_data": what == "generate", "workflow.train": what == "train"}
    keys = {**TREE, **{name: str(wanted).lower() for name, wanted in flags.items()}, "dataset.data_folder": root}
    words = [f"++workload.{name}={value}" for name, value in keys.items()]
    return subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, *(["verify"] * (what == "verify")), *words, f"++hydra.run.dir={out}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "data"
    make(made, workload())
    yield made
    for path in (made, *made.rglob("*")):
        path.chmod(0o755)


@pytest.mark.parametrize(("what", "denied", "code"), CASES)
def test_what_may_not_be_read_or_written_is_named_with_its_owner(
    root: Path, tmp_path: Path, what: str, denied: str, code: Exit
) -> None:
    target = root if denied == "." else root / denied
    target.chmod(0)
    ended = command(what, root, tmp_path / "out")
    error = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert (ended.returncode, len(error)) == (code, 1), ended.stderr
    mode = stat.filemode(target.stat().st_mode)
    assert "Permission denied" in error[0]
    assert f"{target} belongs to " in error[0]
    assert f"and has mode {mode}, this process runs as " in error[0]
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_data_set_that_may_only_be_read_is_read(root: Path, tmp_path: Path) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    ended = command("train", root, tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["dlio"]["valid"]
    assert os.path.exists(root / MANIFEST)
