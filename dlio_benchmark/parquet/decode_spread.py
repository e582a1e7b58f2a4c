"""Chunks of a known form read apart: the values of each column whole and aligned, what stands around them elsewhere.

Rows can be taken from columns that lie so without moving them before, and right behind the read, while they are still
in a cache that is near.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlio_benchmark.memory import Pieces
from dlio_benchmark.values import Viewed, side_by_side

_WORD_BYTES = 8


class Held(NamedTuple):
    """A chunk of a portion: its column, its row group, and how many bytes stand before its values and behind them."""

    name: str
    group: int
    dtype: np.dtype[Any]
    rows: int
    before: int
    behind: int


class Spread:
    """Where the bytes of a portion go in a room of ``bytes`` bytes.

    ``chunks`` are in the order of the file.  Of the bytes around values, one after the other, ``mask`` says which bits
    all portions of the form have in common, and ``expected`` what they are.
    """

    def __init__(self, chunks: Sequence[Held], mask: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
        groups = sorted({(chunk.group, chunk.rows) for chunk in chunks})
        firsts = dict(
            zip((group for group, _ in groups), accumulate((rows for _, rows in groups), initial=0), strict=False)
        )
        self.rows = sum(rows for _, rows in groups)
        dtypes = {chunk.name: chunk.dtype for chunk in chunks}
        self.names = tuple(dtypes)
        self._columns = _by_width(dtypes)
        self._sheets, self._around = side_by_side(self._columns, self.rows)
        self._mask, self._expected = _words(mask), _words(expected).tobytes()
        self.bytes = self._around + len(self._mask) * _WORD_BYTES
        self._parts: list[list[slice]] = []
        at = self._around
        for chunk in chunks:
            (_, _, start), width = self._sheets.places[chunk.name][0], chunk.dtype.itemsize
            start += firsts[chunk.group] * width
            parts = [slice(at, at + chunk.before), slice(start, start + chunk.rows * width)]
            at += chunk.before
            if chunk.behind:
                parts.append(slice(at, at + chunk.behind))
                at += chunk.behind
            self._parts.append(parts)

    def fits(self, room: memoryview) -> bool:
        """Return whether the bytes around the values in ``room`` are those of the form."""
        # So few words that NumPy keeps the interpreter, for which threads would wait else.
        found = np.frombuffer(room, np.uint64, len(self._mask), self._around) & self._mask
        return found.tobytes() == self._expected

    def parts(self, first: int, chunks: int) -> Sequence[slice]:
        """Return where the bytes of so many chunks go, from number ``first`` on, in the order of the file."""
        return [part for parts in self._parts[first : first + chunks] for part in parts]

    def joined(self, room: memoryview, into: memoryview) -> None:
        """Fill ``into`` with the bytes in the order of the file."""
        at = 0
        for parts in self._parts:
            for part in parts:
                end = at + part.stop - part.start
                into[at:end] = room[part]
                at = end

    def taken(self, room: memoryview, rows: NDArray[np.int64], memory: Pieces) -> Viewed:
        """Return the given rows of the columns in ``room``, in the given order, as copies in ``memory``.

        Rows are not negative and exist.
        """
        sheets, many = self._sheets, self._around
        if len(rows) != self.rows:
            sheets, many = side_by_side(self._columns, len(rows))
        into = memory.reserve(many)
        if len(rows):
            for source, target in zip(self._sheets.together, sheets.together, strict=True):
                # "wrap" looks at each row as "clip" does, and is the faster of the two for rows that exist.
                np.take(source.over(room)[:, 0], rows, axis=1, mode="wrap", out=target.over(into)[:, 0])
        return Viewed(self.names, [(into, sheets)])


def _by_width(dtypes: Mapping[str, np.dtype[Any]]) -> list[tuple[list[str], list[np.dtype[Any]]]]:
    """Return names and types of the columns of each width."""
    widths: dict[int, list[str]] = {}
    for name, dtype in dtypes.items():
        widths.setdefault(dtype.itemsize, []).append(name)
    return [(names, [dtypes[name] for name in names]) for names in widths.values()]


def _words(octets: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return bytes, and zeros behind them, as words."""
    words = np.zeros(-(-len(octets) // _WORD_BYTES), np.uint64)
    words.view(np.uint8)[: len(octets)] = octets
    return words
