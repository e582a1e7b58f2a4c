"""Files that this process holds open."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from verification.errors import ProbeError

DESCRIPTORS = Path("/proc/self/fd")


def open_files(under: Path | None = None) -> list[str]:
    """Return the paths of the regular files that are open, sorted, once per descriptor; only those below ``under``."""
    found = []
    below = "/" if under is None else f"{under.resolve()}/"
    try:
        numbers = os.listdir(DESCRIPTORS)
    except OSError as error:
        raise ProbeError(f"{DESCRIPTORS} cannot be read: {error}; this probe needs Linux") from None
    for number in numbers:
        try:
            target = os.readlink(f"{DESCRIPTORS}/{number}")
        except OSError:
            continue  # the descriptor of the listing itself
        if target.startswith(below):
            found.append(target)
    return sorted(found)


def calibrate() -> int:
    """Return how many of three leaked descriptors the probe sees.

    Raises:
        ProbeError: if it does not see all three.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "leak"
        place.touch()
        leaked = [place.open("rb") for _ in range(3)]
        seen = len(open_files(Path(folder)))
        for file in leaked:
            file.close()
    if seen != len(leaked):
        raise ProbeError(f"{len(leaked)} open files were seen as {seen}: {DESCRIPTORS} cannot be trusted here")
    return seen
