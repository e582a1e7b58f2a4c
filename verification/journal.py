"""The durable record of a run: one file of JSON lines per process, synced to disk at the end of every test.

A line says what happened (`event`), when (`t`, seconds since the epoch), on which rank of how many.  A process that
ends without a `finish` line leaves an incomplete journal, and an incomplete journal never passes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from verification.errors import JournalError
from verification.model import Evidence, EvidenceKind

SUPERVISOR = "supervisor"
DURABLE = frozenset({"session", "collected", "end", "lost", "finish"})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a journal and the file it stands in."""

    event: str
    t: float
    rank: int
    size: int
    attempt: int
    stream: str
    folder: Path
    body: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.body[key]


class Journal:
    """Writes one file; safe against the death of the process at any moment, not against several writers."""

    def __init__(self, folder: Path, stream: str, *, rank: int = 0, size: int = 1, attempt: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{stream}-attempt{attempt}-rank{rank}.jsonl"
        self.stacks = self.path.with_suffix(".stacks.txt")
        self._fixed = {"rank": rank, "size": size, "attempt": attempt, "stream": stream}
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, event: str, **body: object) -> None:
        """Append one line; lines that end something are on the disk when this returns."""
        line = {"event": event, "t": round(time.time(), 6), **self._fixed, **body}
        self._file.write(json.dumps(line, default=_plain, allow_nan=True) + "\n")
        self._file.flush()
        if event in DURABLE:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Release the file; writing afterwards is an error."""
        self._file.close()


def read(places: Iterable[Path]) -> list[Line]:
    """Return all lines of the journals in files and folders, file by file in order of writing.

    Raises:
        JournalError: if there is no journal at one of the places.
    """
    lines: list[Line] = []
    for place in places:
        paths = sorted(place.rglob("*.jsonl")) if place.is_dir() else [place] if place.is_file() else []
        if not paths:
            raise JournalError(f"{place}: no journal found; a run writes *.jsonl files there")
        for path in paths:
            lines += _lines(path)
    return lines


def _lines(path: Path) -> Iterator[Line]:
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            body = json.loads(text)
            yield Line(
                event=body.pop("event"),
                t=float(body.pop("t")),
                rank=int(body.pop("rank")),
                size=int(body.pop("size")),
                attempt=int(body.pop("attempt")),
                stream=str(body.pop("stream")),
                folder=path.parent,
                body=body,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a line cut short by the death of its writer is not evidence


def clear(folder: Path) -> None:
    """Remove the journals of an earlier run from ``folder``, and nothing else."""
    for pattern in ("*.jsonl", "*.stacks.txt", "*.log", "*.select", "*.watched", "*.lifeline"):
        for path in folder.rglob(pattern):
            path.unlink(missing_ok=True)


def encode(evidence: Evidence) -> dict[str, Any]:
    """Return ``evidence`` as a mapping that JSON can hold."""
    return {**asdict(evidence), "kind": evidence.kind.value}


def decode(mapping: dict[str, Any]) -> Evidence:
    """Return the evidence that `encode` gave ``mapping`` for."""
    return Evidence(**{**mapping, "kind": EvidenceKind(mapping["kind"])})


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    item = getattr(value, "item", None)  # numbers of array libraries
    return item() if callable(item) else str(value)
