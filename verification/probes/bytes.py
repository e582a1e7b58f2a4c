"""Bytes that read calls gave to this process, counted by the kernel.

The count covers all threads and all files, and not memory maps: a check with a bound from below sees a reader that
goes around it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from verification.errors import ProbeError

COUNTERS = Path("/proc/self/io")
SAMPLE_BYTES = 3_000_000
TOLERANCE_BYTES = 65_536


def bytes_read(call: Callable[[], object]) -> int:
    """Return how many bytes read calls returned during ``call``, in bytes.

    Raises:
        ProbeError: if this system does not count them.
    """
    before = _count()
    own = _count() - before
    call()
    return _count() - before - 2 * own


def calibrate() -> int:
    """Return what the probe sees of a read of `SAMPLE_BYTES` through several buffers.

    Raises:
        ProbeError: if it is further off than `TOLERANCE_BYTES`.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(SAMPLE_BYTES))
        file.flush()
        seen = bytes_read(lambda: _read_in_pieces(file.name))
    if abs(seen - SAMPLE_BYTES) > TOLERANCE_BYTES:
        raise ProbeError(f"a read of {SAMPLE_BYTES} bytes was seen as {seen}: {COUNTERS} cannot be trusted here")
    return seen


def _read_in_pieces(path: str) -> None:
    with open(path, "rb", buffering=4096) as file:
        while file.read(1000):
            continue


def _count() -> int:
    try:
        lines = COUNTERS.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ProbeError(f"{COUNTERS} cannot be read: {error}; this probe needs Linux") from None
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar:"))
