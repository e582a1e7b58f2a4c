"""What lies in a folder: names, sizes, digests, and Parquet files that are not whole."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from verification.errors import ProbeError

MAGIC = b"PAR1"
SHORTEST = 12  # magic, length of the footer, magic


@dataclass(frozen=True, slots=True)
class Seen:
    """One file as it lies on the disk."""

    size: int
    sha256: str


def snapshot(folder: Path) -> dict[str, Seen]:
    """Return every file below ``folder`` by its relative path, sorted; two equal snapshots are the same bytes."""
    return {
        path.relative_to(folder).as_posix(): Seen(path.stat().st_size, _digest(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def incomplete(folder: Path, pattern: str = "*.parquet") -> list[str]:
    """Return the files below ``folder`` that match ``pattern`` and have no whole Parquet frame, judged by bytes."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob(pattern))
        if path.is_file() and not framed(path.read_bytes())
    ]


def framed(content: bytes) -> bool:
    """Return whether ``content`` begins and ends as a Parquet file, with a footer that fits into it."""
    if len(content) < SHORTEST or not (content.startswith(MAGIC) and content.endswith(MAGIC)):
        return False
    return int.from_bytes(content[-8:-4], "little") <= len(content) - SHORTEST


def calibrate() -> int:
    """Return how many of three broken files the probe sees.

    Raises:
        ProbeError: if it does not see exactly those.
    """
    broken = {"empty": b"", "short": MAGIC + MAGIC, "cut": MAGIC + bytes(20)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, content in broken.items():
            (folder / f"{title}.parquet").write_bytes(content)
        (folder / "whole.parquet").write_bytes(MAGIC + bytes(4) + (4).to_bytes(4, "little") + MAGIC)
        seen = incomplete(folder)
    if seen != sorted(f"{title}.parquet" for title in broken):
        raise ProbeError(f"of four files the broken ones were seen as {seen}")
    return len(seen)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
