"""Peak of resident memory that a call adds, by the kernel's own high-water mark, in a fresh process."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verification.errors import ProbeError
from verification.probes.child import in_child

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SAMPLE_BYTES = 64 * 2**20
TOLERANCE = 0.1


def peak_growth(
    call: Callable[..., object], *arguments: Any, warm_up: tuple[Callable[..., object], tuple[Any, ...]] | None = None
) -> int:
    """Return by how many bytes the resident memory of a fresh process peaks above its level before the call.

    ``warm_up`` is a call and its arguments that come first: what it leaves in memory (code pages, allocator pools,
    threads) does not count.  Both must be importable by name.
    """
    return in_child(_measure, call, arguments, warm_up)


def calibrate() -> int:
    """Return what the probe sees of a call that takes and gives back `SAMPLE_BYTES`.

    Raises:
        ProbeError: if it is further off than `TOLERANCE`.
    """
    seen = peak_growth(_take_and_release, SAMPLE_BYTES)
    if abs(seen - SAMPLE_BYTES) > TOLERANCE * SAMPLE_BYTES:
        raise ProbeError(f"a peak of {SAMPLE_BYTES} bytes was seen as {seen}: {STATUS} cannot be trusted here")
    return seen


def _measure(
    call: Callable[..., object],
    arguments: tuple[Any, ...],
    warm_up: tuple[Callable[..., object], tuple[Any, ...]] | None,
) -> int:
    if warm_up is not None:
        warm_up[0](*warm_up[1])
    return growth_here(call, *arguments)


def growth_here(call: Callable[..., object], *arguments: Any) -> int:
    """Return the same of this process, whose past may hide a growth: it should have none but a warm-up."""
    gc.collect()
    try:
        REFERENCES.write_text("5", encoding="ascii")  # resets the high-water mark to the present level
    except OSError:
        return _growth_without_reset(call, arguments)
    base = _status("VmRSS")
    call(*arguments)
    return _status("VmHWM") - base


def _growth_without_reset(call: Callable[..., object], arguments: tuple[Any, ...]) -> int:
    """Use the mark of the whole life of this process, which is young: what came before can only make it too small."""
    base = _status("VmHWM")
    call(*arguments)
    return _status("VmHWM") - base


def _take_and_release(size: int) -> None:
    block = bytearray(size)
    block[::4096] = b"x" * len(block[::4096])
    del block


def _status(field: str) -> int:
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ProbeError(f"{STATUS} cannot be read: {error}; this probe needs Linux") from None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
