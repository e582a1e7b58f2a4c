"""The results tree: a leaf per command, the metadata in it, and what must be there when the engine is done."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dlio_benchmark.errors import CannotCreateError
from dlio_benchmark.mlpstorage.folders import absolute

STAMP_FORMAT = "%Y%m%d_%H%M%S"
CONFIG_FILES = ("config.yaml", "hydra.yaml", "overrides.yaml")

_ALWAYS = ("dlio.log", *(f"dlio_config/{name}" for name in CONFIG_FILES))
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "datagen": _ALWAYS,
    "run": (*_ALWAYS, "summary.json", "*_output.json", "*_per_epoch_stats.json"),
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """The folder of one command in the results tree, and the moment that names it."""

    path: Path
    started: datetime
    command: str

    @property
    def stamp(self) -> str:
        """The moment as it stands in the names of folder and files."""
        return self.started.strftime(STAMP_FORMAT)

    @property
    def metadata_path(self) -> Path:
        """File of the metadata."""
        return self.path / f"training_{self.stamp}_metadata.json"

    @property
    def timeseries_path(self) -> Path:
        """File of the host's counters during the run."""
        return self.path / f"training_{self.stamp}_timeseries.json"

    @property
    def cluster_path(self) -> Path:
        """File of what the hosts are."""
        return self.path / "training_cluster_info.json"

    def log_path(self, stream: str) -> Path:
        """Return the file of the engine's ``stdout`` or ``stderr``."""
        return self.path / f"training_{self.command}.{stream}.log"


def claim_leaf(results_dir: Path, model: str, command: str, *, now: datetime) -> Leaf:
    """Create and return a leaf that no other command has; a second in use is left to its owner.

    Raises:
        CannotCreateError: if the folder cannot be created.
    """
    parent = absolute(results_dir) / "training" / model / command
    started = now.replace(microsecond=0)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            leaf = Leaf(parent / started.strftime(STAMP_FORMAT), started, command)
            with contextlib.suppress(FileExistsError):
                leaf.path.mkdir()
                return leaf
            started += timedelta(seconds=1)
    except OSError as error:
        raise CannotCreateError(f"--results-dir: {error.filename or parent}: {error.strerror}") from error


def write_json(path: Path, content: Mapping[str, Any] | list[Any]) -> None:
    """Write ``content`` as strict JSON; the file appears whole or not at all.

    Raises:
        CannotCreateError: if the file cannot be written.
    """
    write_text(path, json.dumps(strict(content), indent=2, default=str, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` with its line ends as they are; the file appears whole or not at all.

    Raises:
        CannotCreateError: if the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # Names of files need not be text; one that is not must not cost the whole report.
        draft.write_bytes(text.encode("utf-8", "backslashreplace"))
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise CannotCreateError(f"{path}: {error.strerror}") from error


def strict(value: Any) -> Any:
    """Return ``value`` with every number that JSON has no word for replaced by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value


def missing(leaf: Leaf) -> list[str]:
    """Return the names of the files that the engine owes this leaf and did not write."""
    return [pattern for pattern in _REQUIRED.get(leaf.command, ()) if not any(leaf.path.glob(pattern))]


def shortcomings(leaf: Leaf, launch: str) -> Iterator[str]:
    """Yield why what is in this leaf is not the result of ``launch``, although the engine says it succeeded."""
    absent = missing(leaf)
    if absent:
        yield f"the engine did not write {', '.join(absent)}"
    elif leaf.command == "run":
        yield from _flaws_of_summary(leaf.path / "summary.json", launch)


def _flaws_of_summary(path: Path, launch: str) -> Iterator[str]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"{path.name} cannot be read: {error}"
        return
    if not isinstance(summary, Mapping):
        yield f"{path.name} holds no object"
        return
    proof = summary.get("dlio")
    if not isinstance(proof, Mapping):
        return
    yield from (f"{path.name}: {flaw}" for flaw in flaws_of_proof(proof))
    if proof.get("launch") not in (None, "", launch):
        yield f"{path.name} is the result of another launch"


def flaws_of_proof(proof: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the engine itself, in its own block of the summary, does not vouch for the result."""
    reasons = "; ".join(str(problem) for problem in proof.get("problems") or ()) or "no reason given"
    if proof.get("complete") is not True:
        yield f"the result is not complete: {reasons}"
    elif proof.get("valid", True) is not True:
        yield f"the result is not valid: {reasons}"
