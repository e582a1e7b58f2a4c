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
from dlio_benchmark.plan.world import World


@dataclass(frozen=True, slots=True)
class Visit:
    """Positions ``[start, stop)`` of the visiting order of file number ``file``.

    With ``rows`` (ascending, int64) the visit is to these rows of the file instead.
    """

    file: int
    start: int
    stop: int
    rows: Ids | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Positions ``[start, stop)`` of a block, in file order if ``key`` is None, else in the `Order` of the keys.

    With ``rows`` (int64, counted from the start of the block) the piece is these rows instead.
    """

    block: int
    start: int
    stop: int
    key: int | None = None
    rows: Ids | None = None
    kin: int | None = None

    @property
    def moves_rows(self) -> bool:
        """Whether the rows of the piece may stand in another order than in the file."""
        return self.rows is not None or self.key is not None

    def chosen(self, rows: int) -> Ids:
        """Return the rows of the piece in their order, of a block of ``rows`` rows."""
        return Order(rows, self.key, self.kin)[self.start : self.stop] if self.rows is None else self.rows


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
    world: World = World()  # noqa: RUF009 - it is frozen
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

    @property
    def moves_rows(self) -> bool:
        """Whether rows are moved one by one."""
        return self.shuffling.samples is not None and self.shuffling.scope is not ShuffleScope.ROW_GROUP

    def file_order(self) -> Order:
        """Return the order in which the files follow each other in this epoch."""
        return Order(len(self.rows), self.shuffling.files)

    def visits(self) -> Iterator[Visit]:
        """Yield the rank's visits in the order of reading: one per file, consecutive positions each.

        With the scope ``global`` there is one per batch and file of the batch: each sample of the split is equally
        likely to stand anywhere, and the block of every one of them is read for it alone.
        """
        if self.shuffling.samples is not None and self.shuffling.scope is ShuffleScope.GLOBAL:
            yield from self._scattered(self.shuffling.samples)
            return
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

    def _scattered(self, key: int) -> Iterator[Visit]:
        ends = np.cumsum(self.rows)
        order = Order(self.samples, key)
        first = self.world.rank * len(self) * self.batch
        for start in range(first, first + len(self) * self.batch, self.batch):
            ids = np.sort(order[start : start + self.batch])
            files, begins = np.unique(np.searchsorted(ends, ids, side="right"), return_index=True)
            for file, rows in zip(files.tolist(), np.split(ids, begins[1:]), strict=True):
                yield Visit(file, 0, len(rows), rows - (ends[file] - self.rows[file]))

    def visited(self, visit: Visit, block_rows: Sequence[int]) -> Iterator[Piece]:
        """Yield the pieces of the blocks that a visit reads, given the rows of each block of its file."""
        if visit.rows is not None:
            yield from _holding(visit.rows, block_rows)
            return
        key = None if self.shuffling.samples is None else mixed(self.shuffling.samples, visit.file)
        scope_key = key if self.shuffling.scope is not ShuffleScope.ROW_GROUP else None
        begin = 0
        for block in map(int, Order(len(block_rows), key)[:]):
            end = begin + block_rows[block]
            start, stop = max(begin, visit.start), min(end, visit.stop)
            if start < stop:
                own = None if scope_key is None else mixed(scope_key, block)
                yield Piece(block, start - begin, stop - begin, own, kin=self.shuffling.samples)
            begin = end


def _holding(rows: Ids, block_rows: Sequence[int]) -> Iterator[Piece]:
    """Yield a piece for each block that holds some of ``rows``."""
    ends = np.cumsum(np.asarray(block_rows, dtype=np.int64))
    blocks, begins = np.unique(np.searchsorted(ends, rows, side="right"), return_index=True)
    for block, part in zip(blocks.tolist(), np.split(rows, begins[1:]), strict=True):
        yield Piece(block, 0, len(part), rows=part - (ends[block] - block_rows[block]))
