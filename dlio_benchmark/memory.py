"""Memory for blocks of rows that is used again as soon as nobody looks at it any more.

Getting large pieces from the system, and giving them back, costs about as much as filling them from a cache does; and
allocators that keep what one thread has released for that thread alone grow with the number of threads.  Here a piece
belongs to nobody: when the last view of it is gone, whichever thread asks next gets it, the warmest one first.

Invariant: pieces in use and those that wait have together at most twice the bytes that were ever in use at the same
time.  So much may wait because pieces of different sizes are needed in turn; where they are of one size, none is made
beyond those that were in use at once.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGN_BYTES = 64
_OWN = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def _piece_bytes(size: int) -> int:
    """Return the bytes of the pieces that serve ``size``: of few sizes, at most half as large again.

    What nobody writes to takes no memory.
    """
    step = max(mmap.PAGESIZE, 1 << max(0, size.bit_length() - 2))
    return -(-size // step) * step


class Pieces:
    """Pieces of anonymous memory; safe to use from several threads.

    Processes share none: a copy sent to another one begins empty, and what one that was forked writes is its own.
    """

    def __init__(self) -> None:
        self._idle: list[mmap.mmap] = []
        self._idle_bytes = self._used_bytes = self._most_bytes = 0
        self._lock = threading.RLock()  # a collection inside of the lock may bring pieces back
        self._lent: dict[int, weakref.ref[NDArray[np.uint8]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Pieces, ()

    @property
    def idle_bytes(self) -> int:
        """Bytes of the pieces that wait to be used again."""
        return self._idle_bytes

    def reserve(self, size: int) -> memoryview:
        """Return ``size`` bytes of any content, at the start of a page; they live as long as views of them do."""
        if size == 0:
            return memoryview(bytearray())
        many = _piece_bytes(size)
        piece = self._taken(many) or mmap.mmap(-1, many, flags=_OWN)
        self._lend(len(piece))
        array = np.frombuffer(piece, np.uint8, size)
        self._await(array, piece)
        return memoryview(array)  # type: ignore[arg-type]  # the protocol of buffers is not in the stubs

    def reserve_all(self, sizes: Sequence[int]) -> list[memoryview]:
        """Return memory of these sizes in bytes side by side, each aligned for any number; they live as long as one."""
        starts = list(accumulate((-(-size // _ALIGN_BYTES) * _ALIGN_BYTES for size in sizes), initial=0))
        piece = self.reserve(starts[-1])
        return [piece[start : start + size] for start, size in zip(starts, sizes, strict=False)]

    def empty(self, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of ``count`` arbitrary values."""
        if count * dtype.itemsize == 0:
            return np.empty(count, dtype)
        return np.frombuffer(self.reserve(count * dtype.itemsize), dtype, count)

    def _taken(self, many: int) -> mmap.mmap | None:
        """Return the piece of that size that was used last, if there is one."""
        with self._lock:
            for place in range(len(self._idle) - 1, -1, -1):
                if len(self._idle[place]) == many:
                    piece = self._idle.pop(place)
                    self._idle_bytes -= len(piece)
                    return piece
        return None

    def _lend(self, many: int) -> None:
        """Count ``many`` bytes as in use, and give back what must not wait any more, the coldest first."""
        with self._lock:
            self._used_bytes += many
            self._most_bytes = max(self._most_bytes, self._used_bytes)
            while self._idle and self._used_bytes + self._idle_bytes > self._most_bytes * 2:
                self._idle_bytes -= len(self._idle.pop(0))

    def _await(self, array: NDArray[np.uint8], piece: mmap.mmap) -> None:
        """Take ``piece`` back when ``array``, which stands for it, is gone."""
        key = id(array)

        def back(_: object) -> None:
            self._lent.pop(key, None)
            with self._lock:
                self._idle.append(piece)
                self._idle_bytes += len(piece)
            self._lend(-len(piece))

        self._lent[key] = weakref.ref(array, back)
