"""A small data set for tests of what is made of it and found in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlio_benchmark.comm import Comm, Solo
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Workload
from dlio_benchmark.engine.generate import Check, Generated, generate
from dlio_benchmark.engine.parts import WRITERS
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.posix import Posix

Tree = dict[str, Any]


class Heard:
    """Progress that adds up what it hears."""

    def __init__(self) -> None:
        self.files = self.bytes = 0

    def advance(self, files: int, stored_bytes: int) -> None:
        self.files += files
        self.bytes += stored_bytes


def tree(**dataset: Any) -> Tree:
    """Return the workload of three training files and one for evaluation, with two columns."""
    columns = [{"name": "number", "dtype": "int32"}, {"name": "truth", "dtype": "bool"}]
    shape = {
        "format": "parquet",
        "num_files_train": 3,
        "num_files_eval": 1,
        "num_samples_per_file": 20,
        "parquet": {"columns": columns, "row_group_size": 8},
    }
    return {"workflow": {"generate_data": True, "train": False}, "dataset": shape | dataset}


def workload(**dataset: Any) -> Workload:
    """Return the decoded tree."""
    return decode(tree(**dataset), strict=True).workload


def make(
    root: Path | str,
    work: Workload | None = None,
    *,
    calls: Posix | None = None,
    comm: Comm | None = None,
    check: Check | None = None,
    heard: Heard | None = None,
) -> Generated:
    """Generate below ``root``."""
    work = work or workload()
    writer = WRITERS[work.dataset.format](work, 0, lambda _many: None)
    storage = LocalStorage(str(root), calls)
    return generate(work, storage, comm or Solo(), writer=writer, progress=heard or Heard(), check=check)


def files(root: Path) -> dict[str, bytes]:
    """Return all files below ``root``."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
