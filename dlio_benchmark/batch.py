"""Blocks of decoded rows, and batches that are views of them.

A block is what one read gives: every wanted column of some consecutive rows.  A batch is a run of rows
that may cross the border of blocks.  Slicing is lazy and copies nothing; only a column of a batch that
crosses a border is joined, and only when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlio_benchmark.memory import Pieces

Values = Any  # NDArray of shape (rows,) or (rows, size), or a pyarrow Array of length rows


_ALIGN_BYTES = 64
_NUMBERS = {1: "u1", 2: "u2", 4: "u4", 8: "u8"}


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
    width = _row_bytes(values)
    # Rows move as opaque bytes; those of the size of a number as one, for which NumPy has a faster loop.
    opaque = np.ascontiguousarray(values).view(_NUMBERS.get(width, f"V{width}")).reshape(len(values))
    # "wrap" looks at each row as "clip" does, and is the faster of the two for rows that exist.
    found = np.take(opaque, rows, mode="wrap", out=np.frombuffer(room, opaque.dtype, len(rows)))
    return found.view(values.dtype).reshape(len(rows), *values.shape[1:])


def _aligned(size: int) -> int:
    """Return ``size`` rounded up, so that what follows is aligned for any number."""
    return -(-size // _ALIGN_BYTES) * _ALIGN_BYTES


def _row_bytes(values: Values) -> int:
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


def joined(parts: list[Values]) -> Values:
    """Return the values of ``parts`` one after the other, copying only when there are several.

    Rows of different lengths become a list array.
    """
    if len(parts) == 1:
        return parts[0]
    if not all(isinstance(part, np.ndarray) for part in parts):
        kind = next(part.type for part in parts if not isinstance(part, np.ndarray))
        return pa.concat_arrays([as_arrow(part).cast(kind) for part in parts])
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    lengths = np.concatenate([np.full(len(part), part.shape[1], dtype=np.int64) for part in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate([p.reshape(-1) for p in parts])))


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Decoded columns of ``rows`` consecutive rows; ``columns`` is empty when nothing was decoded."""

    rows: int
    columns: Mapping[str, Values] = field(default_factory=dict)

    def take(self, rows: NDArray[np.int64], memory: Pieces) -> Block:
        """Return a block of the given rows in the given order, in a piece of ``memory``."""
        rooms = self._rooms(len(rows), memory)
        return Block(len(rows), {name: taken(values, rows, rooms[name]) for name, values in self.columns.items()})

    def copied(self, start: int, stop: int, memory: Pieces) -> Block:
        """Return a block of the rows ``[start, stop)`` that does not keep this one alive, in a piece of ``memory``."""
        rooms = self._rooms(stop - start, memory)
        return Block(
            stop - start, {name: copied(values[start:stop], rooms[name]) for name, values in self.columns.items()}
        )

    def _rooms(self, rows: int, memory: Pieces) -> dict[str, memoryview]:
        """Return room for ``rows`` rows of each column, all in one piece."""
        sizes = [_row_bytes(values) * rows for values in self.columns.values()]
        starts = list(accumulate(map(_aligned, sizes), initial=0))
        room = memory.reserve(starts[-1])
        return {
            name: room[start : start + size] for name, start, size in zip(self.columns, starts, sizes, strict=False)
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded values."""
        return sum(values.nbytes for values in self.columns.values())


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of one training step, as runs ``(block, start, stop)`` in order."""

    parts: tuple[tuple[Block, int, int], ...]

    def __len__(self) -> int:
        return sum(stop - start for _, start, stop in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in the order asked for."""
        return tuple(self.parts[0][0].columns) if self.parts else ()

    def column(self, name: str) -> Values:
        """Return the values of a column: a view, or a copy where the batch crosses blocks."""
        return joined([block.columns[name][start:stop] for block, start, stop in self.parts])

    def to_arrow(self) -> pa.Table:
        """Return the batch as a table whose column order is `names`."""
        return pa.table({name: as_arrow(self.column(name)) for name in self.names})


Run = tuple[Block, int, int]


def batches_of(runs: Iterator[Run], batch: int, memory: Pieces) -> Iterator[Batch]:
    """Cut a stream of runs ``(block, start, stop)`` into batches of exactly ``batch`` rows.

    The rest of a run that a batch does not fill is copied into ``memory`` where that is less than half of its block, so
    that the block is free before the next one comes: what a batch holds is never more than twice its rows.
    Rows at the end that fill no batch are left out.
    """
    parts: list[Run] = []
    wanted = batch
    for block, begin, stop in runs:
        start = begin
        while stop - start >= wanted:
            end = start + wanted
            yield Batch((*parts, (block, start, end)))
            parts, wanted, start = [], batch, end
        if start < stop:
            rest = stop - start
            parts.append(
                (block, start, stop) if 2 * rest >= block.rows else (block.copied(start, stop, memory), 0, rest)
            )
            wanted -= rest
        del block
