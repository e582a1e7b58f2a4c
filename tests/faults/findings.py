"""What the experiments share: a small data set, its files as bytes, and what an experiment found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dlio_benchmark.comm import Comm, Solo
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Workload
from dlio_benchmark.data_generator.manifest import JOURNAL
from dlio_benchmark.data_generator.parquet_generator import ParquetWriter
from dlio_benchmark.engine.generate import Generated, generate
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.lock import LOCK_NAME
from dlio_benchmark.storage.output import PARTIAL
from dlio_benchmark.storage.posix import Posix

Tree = dict[str, Any]
Files = Mapping[str, bytes]


@dataclass(slots=True)
class Finding:
    """What an experiment counted, and every violation of what it is there to show."""

    figures: dict[str, int | float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)

    def count(self, what: str, many: int | float = 1) -> None:
        """Add to a figure."""
        self.figures[what] = self.figures.get(what, 0) + many

    def wrong(self, text: str) -> None:
        """Note a violation."""
        self.violations.append(text)


class Unheard:
    """Progress that nobody listens to."""

    def advance(self, files: int, stored_bytes: int) -> None:
        """Take notice of nothing."""


def tree(**dataset: Any) -> Tree:
    """Return the workload of a small data set: all kinds of columns, several row groups, sub-folders."""
    columns = [
        {"name": "number", "dtype": "float32"},
        {"name": "vector", "dtype": "int16", "size": 5},
        {"name": "text", "dtype": "string", "size": 7},
        {"name": "truth", "dtype": "bool"},
    ]
    return {
        "framework": "pytorch",
        "workflow": {"generate_data": True, "train": False},
        "dataset": {
            "format": "parquet",
            "num_files_train": 4,
            "num_files_eval": 1,
            "num_samples_per_file": 200,
            "num_subfolders_train": 2,
            "compression": "snappy",
            "parquet": {"columns": columns, "row_group_size": 64},
        }
        | dataset,
    }


def make(
    root: str,
    work: Tree | Workload,
    *,
    calls: Posix | None = None,
    comm: Comm | None = None,
    threads: int = 0,
    files_at_once: int = 1,
) -> Generated:
    """Generate the data set of a workload below ``root``."""
    workload = work if isinstance(work, Workload) else decode(work, strict=True).workload
    writer = ParquetWriter(workload, threads, lambda _bytes: None)
    storage, group = LocalStorage(root, calls), comm or Solo()
    return generate(workload, storage, group, writer=writer, progress=Unheard(), files_at_once=files_at_once)


def files_below(root: str) -> dict[str, bytes]:
    """Return all files below ``root`` by path, read without the code under test."""
    found = {}
    for here, _, names in os.walk(root):
        for name in names:
            path = os.path.join(here, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = file.read()
    return found


def is_final(path: str) -> bool:
    """Return whether a path is one that a reader may take for a file of the data set."""
    aside = path.endswith(PARTIAL) or path == LOCK_NAME
    return not aside and not path.startswith(f"{JOURNAL}/")


def partial_files(root: str, whole: Files) -> list[str]:
    """Return the final names below ``root`` whose content is not that of ``whole``."""
    return [path for path, body in files_below(root).items() if is_final(path) and whole.get(path) != body]


def differences(root: str, whole: Files) -> list[str]:
    """Return the paths that are missing, added or different below ``root``."""
    found = files_below(root)
    return sorted(path for path in found.keys() | whole.keys() if found.get(path) != whole.get(path))
