"""Values of a column: a NumPy array, or an Arrow array where NumPy has no type for them.

Columns that were read together are a mapping, which also tells in which parts their values stand, and where.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlio_benchmark.memory import Pieces

Values = Any  # NDArray of shape (rows,) or (rows, size), or a pyarrow Array of length rows

NUMBERS = {1: "u1", 2: "u2", 4: "u4", 8: "u8"}
_ALIGN_BYTES = 64


def as_arrow(values: Values) -> pa.Array:
    """Return ``values`` as an Arrow array; two dimensions become a fixed-size list."""
    if not isinstance(values, np.ndarray):
        return values
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def taken(values: Values, rows: NDArray[np.int64], room: memoryview) -> Values:
    """Return the given rows of ``values``, in the given order, as a copy; rows are not negative and exist.

    Numbers are copied into ``room``, which has space for them.
    """
    if not isinstance(values, np.ndarray):
        return values.take(pa.array(rows))
    if not values.size:
        return values[rows]
    width = row_bytes(values)
    opaque = np.ascontiguousarray(values).view(f"V{width}").reshape(len(values))  # NumPy is fast with one axis only
    # "wrap" looks at each row as "clip" does, and is the faster of the two for rows that exist.
    found = np.take(opaque, rows, mode="wrap", out=np.frombuffer(room, opaque.dtype, len(rows)))
    return found.view(values.dtype).reshape(len(rows), *values.shape[1:])


def row_bytes(values: Values) -> int:
    """Return the bytes that a row takes in an array, none where it is Arrow's."""
    return values.itemsize * math.prod(values.shape[1:]) if isinstance(values, np.ndarray) else 0


def copied(values: Values, room: memoryview) -> Values:
    """Return a copy that shares no memory with ``values``; numbers are copied into ``room``, which they fit into."""
    if not isinstance(values, np.ndarray):
        return pa.concat_arrays([values]) if len(values) == 0 else values.take(pa.array(np.arange(len(values))))
    if not values.size:
        return values.copy()
    out = np.frombuffer(room, values.dtype, values.size).reshape(values.shape)
    out[...] = values
    return out


def joined(parts: Sequence[Values], memory: Pieces | None = None) -> Values:
    """Return the values of ``parts`` one after the other; several are copied, into ``memory`` if it is given.

    Rows of different lengths become a list array.
    """
    if len(parts) == 1:
        return parts[0]
    if not all(isinstance(part, np.ndarray) for part in parts):
        kind = next(part.type for part in parts if not isinstance(part, np.ndarray))
        return pa.concat_arrays([as_arrow(part).cast(kind) for part in parts])
    if len({part.shape[1:] for part in parts}) == 1:
        if memory is None:
            return np.concatenate(parts)
        count, tail = sum(map(len, parts)), parts[0].shape[1:]
        room = memory.empty(count * math.prod(tail), np.result_type(*parts)).reshape(count, *tail)
        return np.concatenate(parts, out=room)
    lengths = np.concatenate([np.full(len(part), part.shape[1], dtype=np.int64) for part in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate([p.reshape(-1) for p in parts])))


class Stored(NamedTuple):
    """``rows`` numbers that stand at byte ``start`` of ``memory``: a part of a column that nobody has looked at."""

    memory: memoryview
    dtype: np.dtype[Any]
    rows: int
    start: int


Part = Any  # Stored, or Values


def seen(part: Part) -> Values:
    """Return the values of a part of a column; those that are stored as a view of their memory."""
    return np.frombuffer(*part) if type(part) is Stored else part


class Columns(Mapping[str, Values]):
    """Columns whose values may stand in several parts, one after the other; a column is joined when it is asked for.

    All columns have their parts at the same rows.
    """

    __slots__ = ()

    @abstractmethod
    def parts(self, name: str) -> Sequence[Part]:
        """Return the parts of a column, at least one."""

    def __getitem__(self, name: str) -> Values:
        parts = self.parts(name)
        return seen(parts[0]) if len(parts) == 1 else joined([seen(part) for part in parts])

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # a copy has the values, and none of the bytes between them


class Parted(Columns):
    """Columns by their parts."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Mapping[str, Sequence[Part]]) -> None:
        self._parts = parts

    def parts(self, name: str) -> Sequence[Part]:
        """Return the parts of a column."""
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


class Sheet(NamedTuple):
    """Columns of numbers of the same width in ``parts`` parts of ``rows`` rows each, at equal distances in memory.

    Row r of part p of column c stands at byte ``start + c * column_step + p * part_step + r * width``.
    """

    names: Sequence[str]
    dtypes: Sequence[np.dtype[Any]]
    width: int
    parts: int
    rows: int
    start: int
    column_step: int
    part_step: int

    def octets(self, memory: memoryview, start: int, stop: int) -> NDArray[np.uint8]:
        """Return rows ``[start, stop)`` of each column of a sheet of one part in ``memory``, as bytes."""
        shape = (len(self.names), (stop - start) * self.width)
        return np.ndarray(shape, np.uint8, memory, self.start + start * self.width, (self.column_step, 1))

    def over(self, memory: memoryview) -> NDArray[Any]:
        """Return the sheet in ``memory`` as unsigned numbers, of shape (columns, parts, rows)."""
        shape, steps = (len(self.names), self.parts, self.rows), (self.column_step, self.part_step, self.width)
        return np.ndarray(shape, NUMBERS[self.width], memory, self.start, steps)


class Sheets:
    """Where columns stand in a piece of memory."""

    def __init__(self, together: Sequence[Sheet]) -> None:
        self.together = together

    @cached_property
    def places(self) -> Mapping[str, Sequence[tuple[np.dtype[Any], int, int]]]:
        """The dtype, the rows and the start of each part of each column."""
        return {
            name: [
                (dtype, sheet.rows, sheet.start + number * sheet.column_step + part * sheet.part_step)
                for part in range(sheet.parts)
            ]
            for sheet in self.together
            for number, (name, dtype) in enumerate(zip(sheet.names, sheet.dtypes, strict=True))
        }

    @property
    def are_whole(self) -> bool:
        """Whether no column has several parts."""
        return all(sheet.parts == 1 for sheet in self.together)


def side_by_side(columns: Iterable[tuple[Sequence[str], Sequence[np.dtype[Any]]]], rows: int) -> tuple[Sheets, int]:
    """Return where columns of ``rows`` rows stand next to each other, and the bytes that they take.

    ``columns`` are names and dtypes of those of the same width.
    """
    together, start = [], 0
    for names, dtypes in columns:
        step = rows * dtypes[0].itemsize
        together.append(Sheet(names, dtypes, dtypes[0].itemsize, 1, rows, start, step, step))
        start += -(-step * len(names) // _ALIGN_BYTES) * _ALIGN_BYTES
    return Sheets(together), start


class Viewed(Columns):
    """The columns ``names``, each of them stored in one of some pieces of memory."""

    __slots__ = ("names", "pieces")

    def __init__(self, names: Sequence[str], pieces: Sequence[tuple[memoryview, Sheets]]) -> None:
        self.names, self.pieces = names, pieces

    @property
    def is_whole(self) -> bool:
        """Whether no column has several parts."""
        return all(sheets.are_whole for _, sheets in self.pieces)

    def parts(self, name: str) -> Sequence[Part]:
        """Return the parts of a column."""
        for memory, sheets in self.pieces:
            if name in sheets.places:
                return [Stored(memory, *place) for place in sheets.places[name]]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def parts_of(columns: Mapping[str, Values], name: str) -> Sequence[Part]:
    """Return the parts of a column of ``columns``, whatever mapping that is."""
    return columns.parts(name) if isinstance(columns, Columns) else (columns[name],)
