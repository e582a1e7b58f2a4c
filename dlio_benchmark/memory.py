"""Memory for blocks of rows that is used again as soon as nobody looks at it any more.

Getting large pieces from the system, and giving them back, costs about as much as filling them from a cache does; and
allocators that keep what one thread has released for that thread alone grow with the number of threads.  Here a piece
belongs to nobody: when the last view of it is gone, whichever thread asks next gets it, the warmest one first.

Invariant: before a new piece is made, pieces that wait are given back to the system, as many bytes as are asked for, so
all pieces together are never much more than were in use at the same time.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAGE_BYTES = mmap.PAGESIZE
_SLACK = 8  # a piece may be larger than what is asked for by one part in so many


def _new(size: int) -> mmap.mmap:
    piece = mmap.mmap(-1, -(-size // _PAGE_BYTES) * _PAGE_BYTES)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        piece.madvise(mmap.MADV_HUGEPAGE)
    return piece


class Pieces:
    """Pieces of anonymous memory; safe to use from several threads.  A copy in another process begins empty."""

    def __init__(self) -> None:
        self._idle: list[mmap.mmap] = []
        self._lock = threading.RLock()  # a collection inside of the lock may bring pieces back
        self._lent: dict[int, weakref.ref[NDArray[np.uint8]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Pieces, ()

    @property
    def idle_bytes(self) -> int:
        """Bytes of the pieces that wait to be used again."""
        with self._lock:
            return sum(map(len, self._idle))

    def reserve(self, size: int) -> memoryview:
        """Return ``size`` bytes of any content, at the start of a page; they live as long as views of them do."""
        if size == 0:
            return memoryview(bytearray())
        piece = self._taken(size) or _new(size)
        array = np.frombuffer(piece, np.uint8, size)
        self._await(array, piece)
        return memoryview(array)  # type: ignore[arg-type]  # the protocol of buffers is not in the stubs

    def empty(self, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of ``count`` arbitrary values."""
        if count * dtype.itemsize == 0:
            return np.empty(count, dtype)
        return np.frombuffer(self.reserve(count * dtype.itemsize), dtype, count)

    def _taken(self, size: int) -> mmap.mmap | None:
        """Return the piece that fits and was used last; without one, give back others of ``size`` bytes in all."""
        with self._lock:
            for place in range(len(self._idle) - 1, -1, -1):
                if size <= len(self._idle[place]) <= size + size // _SLACK + _PAGE_BYTES:
                    return self._idle.pop(place)
            freed = 0
            while self._idle and freed < size:
                freed += len(self._idle.pop(0))
        return None

    def _await(self, array: NDArray[np.uint8], piece: mmap.mmap) -> None:
        """Take ``piece`` back when ``array``, which stands for it, is gone."""
        key = id(array)

        def back(_: object) -> None:
            self._lent.pop(key, None)
            with self._lock:
                self._idle.append(piece)

        self._lent[key] = weakref.ref(array, back)
