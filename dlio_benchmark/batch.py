"""Blocks of decoded rows, and batches that are views of them.

A block is what one read gives: every wanted column of some consecutive rows.  A batch is a run of rows
that may cross the border of blocks.  Slicing is lazy and copies nothing; only a column of a batch that
crosses a border is joined, and only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlio_benchmark.gather import rows_of, run_of, whole
from dlio_benchmark.memory import Pieces
from dlio_benchmark.values import Values, as_arrow, joined, parts_of, seen


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Decoded columns of ``rows`` consecutive rows; ``columns`` is empty when nothing was decoded."""

    rows: int
    columns: Mapping[str, Values] = field(default_factory=dict)

    def take(self, rows: NDArray[np.int64], memory: Pieces) -> Block:
        """Return a block of the given rows in the given order, in ``memory``."""
        return Block(len(rows), rows_of(self.columns, self.rows, rows, memory))

    def whole(self, memory: Pieces) -> Block:
        """Return the block, or one whose columns are joined in ``memory`` if they stand in several parts."""
        columns = whole(self.columns, self.rows, memory)
        return self if columns is self.columns else Block(self.rows, columns)

    def copied(self, start: int, stop: int, memory: Pieces) -> Block:
        """Return a block of the rows ``[start, stop)`` that does not keep this one alive, in a piece of ``memory``."""
        return Block(stop - start, run_of(self.columns, start, stop, memory))

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded values."""
        return sum(seen(part).nbytes for name in self.columns for part in parts_of(self.columns, name))


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
