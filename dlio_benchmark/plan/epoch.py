"""Which rank reads which rows in which step of an epoch.

The files of a split are put into the order of the epoch; their rows, laid end to end in that order, are the
sequence of the epoch.  Rank r takes the r-th of ``size`` runs of ``steps x batch`` consecutive positions.  So the
steps are equal on all ranks by construction, no row is read by two ranks or twice, and fewer than batch x size rows are
left out.  Inside a file the plan speaks of positions; `visited` says which rows stand there once the footer has
told where the row groups begin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dlio_benchmark.common.enumerations import ShuffleScope
from dlio_benchmark.plan.order import Ids, Order, mixed


@dataclass(frozen=True, slots=True)
class World:
    """This process among ``size`` processes."""

    rank: int = 0
    size: int = 1


@dataclass(frozen=True, slots=True)
class Visit:
    """Positions ``[start, stop)`` of the visiting order of file number ``file``."""

    file: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Positions ``[start, stop)`` of a block; ``key`` None means in file order, else in the order of that key."""

    block: int
    start: int
    stop: int
    key: int | None = None


@dataclass(frozen=True, slots=True)
class Shuffling:
    """Keys of an epoch's orders; None leaves that order as it is on disk."""

    files: int | None = None
    samples: int | None = None
    scope: ShuffleScope = ShuffleScope.WINDOW


@dataclass(frozen=True, slots=True, eq=False)
class EpochPlan:
    """Steps of one rank in one epoch; ``len(plan)`` is their number, the same on every rank.

    Args:
        rows: rows of each file of the split, int64.
        batch: rows per step and rank.
        most_steps: a cap on the steps, or None.
    """

    rows: Ids
    batch: int
    world: World = World()
    shuffling: Shuffling = Shuffling()
    most_steps: int | None = None

    @property
    def samples(self) -> int:
        """Rows of the split."""
        return int(self.rows.sum())

    def __len__(self) -> int:
        steps = self.samples // (self.batch * self.world.size)
        return steps if self.most_steps is None else min(steps, self.most_steps)

    @property
    def rows_left_out(self) -> int:
        """Rows that no rank reads in this epoch."""
        return self.samples - len(self) * self.batch * self.world.size

    def file_order(self) -> Order:
        """Return the order in which the files follow each other in this epoch."""
        return Order(len(self.rows), self.shuffling.files)

    def visits(self) -> Iterator[Visit]:
        """Yield the rank's visits in the order of reading: one per file, consecutive positions each."""
        share = len(self) * self.batch
        first, last = self.world.rank * share, (self.world.rank + 1) * share
        if not share:
            return
        order = self.file_order()[:]
        ends = np.cumsum(self.rows[order])
        at = int(np.searchsorted(ends, first, side="right"))
        while first < last:
            file, end = int(order[at]), int(ends[at])
            begin = end - int(self.rows[file])
            stop = min(last, end)
            if stop > first:
                yield Visit(file, first - begin, stop - begin)
            first, at = stop, at + 1

    def visited(self, visit: Visit, block_rows: Sequence[int]) -> Iterator[Piece]:
        """Yield the pieces of the blocks that a visit reads, given the rows of each block of its file."""
        key = None if self.shuffling.samples is None else mixed(self.shuffling.samples, visit.file)
        scope_key = key if self.shuffling.scope is not ShuffleScope.ROW_GROUP else None
        begin = 0
        for block in map(int, Order(len(block_rows), key)[:]):
            end = begin + block_rows[block]
            start, stop = max(begin, visit.start), min(end, visit.stop)
            if start < stop:
                yield Piece(block, start - begin, stop - begin, None if scope_key is None else mixed(scope_key, block))
            begin = end
