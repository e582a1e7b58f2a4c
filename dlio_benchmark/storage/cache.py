"""The page cache: how much of the data is in it, and how to ask the kernel to forget it.

Nothing here needs root.  Residency is measured with ``mincore`` on a mapping that is never touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterable, Sequence

_PROT_READ = 1
_MAP_SHARED = 1
_COLD = 0.01
_WARM = 0.99


def evict(paths: Iterable[str]) -> None:
    """Ask the kernel to forget the clean pages of the files; what cannot be opened is left alone."""
    for path in paths:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def resident_share(paths: Sequence[str]) -> float | None:
    """Return the share of the files' pages that the page cache holds, from 0 to 1; None if it cannot be told.

    The kernel tells it only to those who may write a file; others would hear that all pages are there.
    """
    try:
        if not all(os.access(path, os.W_OK) for path in paths):
            return None
        counts = [_pages(path) for path in paths]
    except (OSError, AttributeError):
        return None
    total = sum(pages for _, pages in counts)
    return sum(resident for resident, _ in counts) / total if total else None


def label(share: float | None) -> str:
    """Return the state of the cache in a word: cold, warm, partly warm, or unknown."""
    if share is None:
        return "unknown"
    if share < _COLD:
        return "cold"
    return "warm" if share > _WARM else "partly warm"


def device_bytes() -> int:
    """Return the bytes that this process has caused to be read from devices; 0 where the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/io", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("read_bytes:"))
    return 0


def _pages(path: str) -> tuple[int, int]:
    """Return (resident, all) pages of a file."""
    size = os.path.getsize(path)
    if not size:
        return 0, 0
    pages = -(-size // mmap.PAGESIZE)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        at = libc.mmap(None, size, _PROT_READ, _MAP_SHARED, fd, 0)
    finally:
        os.close(fd)
    if at in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap", path)
    try:
        seen = (ctypes.c_ubyte * pages)()
        if libc.mincore(at, size, seen):
            raise OSError(ctypes.get_errno(), "mincore", path)
        return sum(one & 1 for one in bytes(seen)), pages
    finally:
        libc.munmap(at, size)
