"""What a target is: it describes itself, generates a data set, and trains on one; everything else is seen in files.

A workload is the tree below ``workload``.  The folder of a trial holds the data set in ``data`` and results in ``out``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Tree = Mapping[str, Any]

BLACK_BOX = frozenset({"generator", "reader", "training"})
DATA, OUT = "data", "out"
ROWS, FILES, BATCH, EPOCHS = 40, 4, 5, 2


@dataclass(frozen=True, slots=True)
class Description:
    """Who a target is, and what it offers: of `BLACK_BOX`, what it lacks makes claims NOT APPLICABLE."""

    name: str
    version: str
    capabilities: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its code, what it said, and the bytes that read calls gave to all its processes."""

    code: int
    output: str
    bytes_read: int = 0


class Target(Protocol):
    """An implementation; a call returns when everything it started has ended, and raises only if nothing started."""

    def describe(self) -> Description:
        """Return who this is.

        Raises:
            VerificationError: if it cannot be started.
        """

    def generate(self, tree: Tree, folder: Path) -> Ended:
        """Generate the data set of ``tree`` below ``folder``."""

    def train(self, tree: Tree, folder: Path, *, ranks: int = 1) -> Ended:
        """Train as ``tree`` says on the data set below ``folder``, and leave the results there."""


def workload(
    columns: Sequence[Mapping[str, Any]], *, parquet: Tree | None = None, epochs: int = EPOCHS, **dataset: Any
) -> dict[str, Any]:
    """Return a small workload on files of ``columns``; ``parquet`` and ``dataset`` add to these sections."""
    section = {"columns": [dict(column) for column in columns], "row_group_size": 10} | dict(parquet or {})
    return {
        "framework": "pytorch",
        "model": {"name": "black_box"},
        "dataset": {
            "format": "parquet",
            "num_files_train": FILES,
            "num_files_eval": 0,
            "num_subfolders_train": 0,
            "num_subfolders_eval": 0,
            "num_samples_per_file": ROWS,
            "parquet": section,
        }
        | dataset,
        "reader": {"batch_size": BATCH, "file_shuffle": "off", "sample_shuffle": "off"},
        "train": {"epochs": epochs, "computation_time": 0.0},
    }


def placed(tree: Tree, folder: Path, *, generate: bool) -> dict[str, Any]:
    """Return ``tree`` as it is run below ``folder``: to generate, or to train."""
    full = deepcopy(dict(tree))
    full["dataset"]["data_folder"] = str(folder / DATA)
    full["output"] = {"folder": str(folder / OUT)}
    full["workflow"] = {"generate_data": generate, "train": not generate, "evaluation": False, "checkpoint": False}
    return full


def files(folder: Path) -> list[Path]:
    """Return the training files below ``folder``, by name."""
    return sorted((folder / DATA / "train").rglob("*.parquet"))


def steps(folder: Path) -> dict[int, int]:
    """Return how many steps each rank left the times of, over all epochs."""
    found = {}
    for path in (folder / OUT).glob("*_output.json"):
        times = json.loads(path.read_text(encoding="utf-8"))
        blocks = [epoch.get("load", {}) for name, epoch in times.items() if name.isdigit()]
        rank = int(path.name.partition("_")[0])
        found[rank] = sum(len(block) for epoch in blocks for block in epoch.values())
    return dict(sorted(found.items()))
