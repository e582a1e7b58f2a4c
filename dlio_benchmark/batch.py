"""Blocks of decoded rows, and batches that are views of them.

A block is what one read gives: every wanted column of some consecutive rows.  A batch is a run of rows
that may cross the border of blocks.  Slicing is lazy and copies nothing; only a column of a batch that
crosses a border is joined, and only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Values = Any  # NDArray of shape (rows,) or (rows, size), or a pyarrow Array of length rows


def as_arrow(values: Values) -> pa.Array:
    """Return ``values`` as an Arrow array; two dimensions become a fixed-size list."""
    if not isinstance(values, np.ndarray):
        return values
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def taken(values: Values, rows: NDArray[np.int64]) -> Values:
    """Return the given rows of ``values``, in the given order, as a copy."""
    if isinstance(values, np.ndarray):
        return np.take(values, rows, axis=0, mode="clip")
    return values.take(pa.array(rows))


def joined(parts: list[Values]) -> Values:
    """Return the values of ``parts`` one after the other, copying only when there are several."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return pa.concat_arrays(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Decoded columns of ``rows`` consecutive rows; ``columns`` is empty when nothing was decoded."""

    rows: int
    columns: Mapping[str, Values] = field(default_factory=dict)

    def take(self, rows: NDArray[np.int64]) -> Block:
        """Return a block of the given rows in the given order."""
        return Block(len(rows), {name: taken(values, rows) for name, values in self.columns.items()})

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


def batches_of(blocks: Iterator[Block], batch: int) -> Iterator[Batch]:
    """Cut a stream of blocks into batches of exactly ``batch`` rows; a shorter rest is left out."""
    parts: list[tuple[Block, int, int]] = []
    wanted = batch
    for block in blocks:
        start, rows = 0, block.rows
        while rows - start >= wanted:
            stop = start + wanted
            yield Batch(((block, start, stop),)) if not parts else Batch((*parts, (block, start, stop)))
            parts, wanted, start = [], batch, stop
        if start < rows:
            parts.append((block, start, rows))
            wanted -= rows - start
