"""A storage that no longer answers does not hide the error of another read, nor keep the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from small_data import make, workload

from dlio_benchmark.errors import Exit

# The first file cannot be read, when the read of the second one, by another thread, has begun to wait for ever.
PROGRAM = """
import os, threading
from dlio_benchmark import main
from dlio_benchmark.storage.posix import Posix
preadv, waits = Posix.preadv, threading.Event()

def stuck(fd, into, offset):
    name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
    if name == "img_00_of_12.parquet":
        assert waits.wait(60)
        raise OSError(5, "Input/output error")
    if name == "img_01_of_12.parquet":
        waits.set()
        threading.Event().wait()
    return preadv(fd, into, offset)

Posix.preadv = staticmethod(stuck)
main._LEAVE_S = 0.3
main.main()
"""


def test_an_error_is_told_although_another_read_never_ends(tmp_path: Path) -> None:
    make(tmp_path / "data", workload(num_files_train=12))
    (tmp_path / "workload").mkdir()
    (tmp_path / "workload" / "stuck.yaml").write_text("framework: pytorch\n")
    words = {
        "workflow.train": "true",
        "dataset.data_folder": tmp_path / "data",
        "dataset.format": "parquet",
        "dataset.num_files_train": 12,
        "reader.batch_size": 4,
        "reader.read_threads": 4,
        "reader.file_shuffle": "off",
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--config-dir", str(tmp_path), "workload=stuck"]
        + [f"++workload.{name}={value}" for name, value in words.items()]
        + [f"++hydra.run.dir={tmp_path / 'out'}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, "Input/output error" in ended.stderr) == (Exit.IO, True), ended.stderr
