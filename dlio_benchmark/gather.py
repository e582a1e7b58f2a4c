"""Columns put together out of their parts, all rows or some of them, in memory of their own.

Taking rows jumps about in a column, which is fast while the column is whole, aligned and in a cache that is near.  So
columns are laid side by side into a small piece of memory, a few at once, and taken from there.  Columns that stand at
equal distances are laid with one call: threads share the interpreter, and hand it on around each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dlio_benchmark.memory import Pieces
from dlio_benchmark.values import (
    NUMBERS,
    Sheet,
    Sheets,
    Values,
    Viewed,
    copied,
    joined,
    parts_of,
    row_bytes,
    seen,
    side_by_side,
    taken,
)

Rows = NDArray[np.int64]
Numbers = NDArray[Any]  # unsigned, of shape (columns, rows)

_SIDE_BYTES = 2 << 20


class _Alike(Protocol):
    """Columns of numbers of ``width`` bytes."""

    @property
    def width(self) -> int:
        """Bytes of a row of a column."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""

    def lay(self, into: Numbers, first: int) -> None:
        """Fill ``into`` with columns from number ``first`` on, whole."""

    def named(self, numbers: Numbers) -> Iterator[tuple[str, Values]]:
        """Yield ``numbers``, which are rows of the columns, by name and as what they are."""


class _Together:
    """Columns on a sheet."""

    def __init__(self, memory: memoryview, sheet: Sheet) -> None:
        self.width, self.names = sheet.width, sheet.names
        self._sheet, self._all = sheet, sheet.over(memory)

    def lay(self, into: Numbers, first: int) -> None:
        some = self._all[first : first + len(into)]
        np.copyto(into.reshape(some.shape), some)

    def named(self, numbers: Numbers) -> Iterator[tuple[str, Values]]:
        for name, dtype, values in zip(self.names, self._sheet.dtypes, numbers, strict=True):
            yield name, values.view(dtype)


class _Apart(NamedTuple):
    """Columns that stand anywhere, in equally many parts."""

    width: int
    columns: dict[str, Sequence[Values]]

    @property
    def names(self) -> Sequence[str]:
        return list(self.columns)

    def lay(self, into: Numbers, first: int) -> None:
        for values, parts in zip(into, list(self.columns.values())[first : first + len(into)], strict=True):
            np.concatenate(parts, out=_like(values, parts[0]))

    def named(self, numbers: Numbers) -> Iterator[tuple[str, Values]]:
        for (name, (first, *_)), values in zip(self.columns.items(), numbers, strict=True):
            yield name, _like(values, first)


def whole(columns: Mapping[str, Values], count: int, memory: Pieces) -> Mapping[str, Values]:
    """Return ``columns`` of ``count`` rows, those that stand in several parts joined in ``memory``."""
    if isinstance(columns, Viewed):
        if columns.is_whole:
            return columns
    elif all(len(parts_of(columns, name)) == 1 for name in columns):
        return columns
    found: dict[str, Values] = dict.fromkeys(columns)
    alike, others = _sorted_out(columns, count)
    for one, room in zip(alike, memory.reserve_all([_bytes_each(one) * count for one in alike]), strict=True):
        numbers = _numbers(room, one, count)
        one.lay(numbers, 0)
        found.update(one.named(numbers))
    found.update((name, joined(parts, memory)) for name, parts in others.items())
    return found


def run_of(columns: Mapping[str, Values], start: int, stop: int, memory: Pieces) -> Mapping[str, Values]:
    """Return the rows ``[start, stop)`` of ``columns`` as copies in ``memory``."""
    if isinstance(columns, Viewed) and columns.is_whole:
        return Viewed(columns.names, [_run_of(room, sheets, start, stop, memory) for room, sheets in columns.pieces])
    rooms = memory.reserve_all([row_bytes(values) * (stop - start) for values in columns.values()])
    named = zip(columns.items(), rooms, strict=True)
    return {name: copied(values[start:stop], room) for (name, values), room in named}


def _run_of(room: memoryview, sheets: Sheets, start: int, stop: int, memory: Pieces) -> tuple[memoryview, Sheets]:
    """Return rows of columns that are whole, side by side."""
    found, many = side_by_side([(sheet.names, sheet.dtypes) for sheet in sheets.together], stop - start)
    into = memory.reserve(many)
    for source, target in zip(sheets.together, found.together, strict=True):
        np.copyto(target.octets(into, 0, stop - start), source.octets(room, start, stop))
    return into, found


def rows_of(columns: Mapping[str, Values], count: int, rows: Rows, memory: Pieces) -> dict[str, Values]:
    """Return the given rows of ``columns`` of ``count`` rows, in the given order, as copies in ``memory``.

    Rows are not negative and exist.
    """
    found: dict[str, Values] = dict.fromkeys(columns)
    alike, apart = _sorted_out(columns, count)
    others = {name: joined(parts, memory) for name, parts in apart.items()}
    widths = [*map(_bytes_each, alike), *map(row_bytes, others.values())]
    rooms = iter(memory.reserve_all([width * len(rows) for width in widths]))
    for one in alike:
        numbers = _numbers(next(rooms), one, len(rows))
        _take(numbers, one, count, rows, memory)
        found.update(one.named(numbers))
    found.update((name, taken(values, rows, next(rooms))) for name, values in others.items())
    return found


def _sorted_out(columns: Mapping[str, Values], count: int) -> tuple[Sequence[_Alike], dict[str, Sequence[Values]]]:
    """Return the columns whose rows are as large as numbers, and the others."""
    if isinstance(columns, Viewed):
        return [_Together(memory, sheet) for memory, sheets in columns.pieces for sheet in sheets.together], {}
    alike: dict[tuple[int, int], _Apart] = {}
    others: dict[str, Sequence[Values]] = {}
    for name in columns:
        parts = [seen(part) for part in parts_of(columns, name)]
        width = _width(parts) if count else 0
        if width:
            alike.setdefault((width, len(parts)), _Apart(width, {})).columns[name] = parts
        else:
            others[name] = parts
    return list(alike.values()), others


def _width(parts: Sequence[Values]) -> int:
    """Return the bytes of a row if it is as large as a number and the same in all parts, else 0."""
    if not all(isinstance(part, np.ndarray) for part in parts):
        return 0
    dtype, tail = parts[0].dtype, parts[0].shape[1:]
    if any(part.dtype != dtype or part.shape[1:] != tail for part in parts[1:]):
        return 0
    width: int = dtype.itemsize * math.prod(tail)
    return width if width in NUMBERS else 0


def _like(numbers: Numbers, part: Values) -> Values:
    """Return ``numbers``, one for each row, as rows of the same kind as those of ``part``."""
    return numbers.view(part.dtype).reshape(len(numbers), *part.shape[1:])


def _bytes_each(alike: _Alike) -> int:
    """Return the bytes of a row of all columns."""
    return alike.width * len(alike.names)


def _numbers(room: memoryview, alike: _Alike, rows: int) -> Numbers:
    """Return ``room`` as ``rows`` rows of each column."""
    return np.frombuffer(room, NUMBERS[alike.width]).reshape(len(alike.names), rows)


def _take(into: Numbers, alike: _Alike, count: int, rows: Rows, memory: Pieces) -> None:
    """Fill ``into`` with the given rows of the columns, each of which has ``count`` rows."""
    if not len(rows):
        return
    step = min(len(into), max(1, _SIDE_BYTES // (count * alike.width)))
    side = memory.empty(step * count, into.dtype).reshape(step, count)
    for first in range(0, len(into), step):
        some = into[first : first + step]
        alike.lay(side[: len(some)], first)
        # "wrap" looks at each row as "clip" does, and is the faster of the two for rows that exist.
        np.take(side[: len(some)], rows, axis=1, mode="wrap", out=some)
