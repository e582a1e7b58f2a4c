"""A plan dealt out to workers: tasks that can be sent to another process, and the desk where one is done.

A task is a few whole visits of small files, or a share of the blocks of one large visit.  Tasks are made in plan
order, and what they bring, laid end to end, is what the reference loader reads: no block is in two tasks.  Which
blocks a share is follows from the footer, so whoever gets a share opens the file: a file in n shares is
opened, and its footer read, by up to n workers instead of once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dlio_benchmark.batch import Run
from dlio_benchmark.data_loader.base import Paths, Source, block_rows
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Piece, Visit
from dlio_benchmark.reader.base import OpenFile

SHARE_BYTES = 16 << 20
_JOINED_BYTES = 1 << 20
_JOINED_FILES = 16


@dataclass(frozen=True, slots=True)
class Task:
    """Share number ``share`` of ``shares`` of the blocks of each visit, in pass number ``turn`` of the loader.

    ``plan`` is the plan that the visits are of, without its list of files.
    """

    turn: int
    visits: tuple[tuple[str, Visit], ...]
    plan: EpochPlan
    share: int = 0
    shares: int = 1

    def pieces(self, visit: Visit, file: OpenFile) -> list[Piece]:
        """Return the pieces of a visit that belong to the task, in plan order."""
        every = list(self.plan.visited(visit, block_rows(file)))
        return every[len(every) * self.share // self.shares : len(every) * (self.share + 1) // self.shares]


def tasks(plan: EpochPlan, paths: Paths, *, row_bytes: float, turn: int = 0) -> Iterator[Task]:
    """Yield the tasks of a plan in its order; ``row_bytes`` is about what a row takes decoded."""
    rule = replace(plan, rows=plan.rows[:0].copy())
    joined: list[tuple[str, Visit]] = []
    total = 0.0
    for visit in plan.visits():
        size = (visit.stop - visit.start) * row_bytes
        if joined and (total + size > _JOINED_BYTES or len(joined) == _JOINED_FILES):
            yield Task(turn, tuple(joined), rule)
            joined, total = [], 0.0
        named = paths(visit.file), visit
        shares = math.ceil(size / SHARE_BYTES)
        if shares > 1:
            yield from (Task(turn, (named,), rule, share, shares) for share in range(shares))
        else:
            joined.append(named)
            total += size
    if joined:
        yield Task(turn, tuple(joined), rule)


class Desk:
    """Does tasks one after the other; a file stays open for the next share of it in the same pass."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._held: tuple[tuple[int, str], OpenFile] | None = None

    def work(self, task: Task) -> tuple[list[Run], Tally]:
        """Return the runs of a task in plan order, and what reading them took."""
        runs: list[Run] = []
        tally = Tally()
        for path, visit in task.visits:
            file = self._opened(task.turn, path, tally)
            for piece in task.pieces(visit, file):
                run, read = self._source.read(file, piece)
                runs.append(run)
                tally.add(read)
        if task.share + 1 == task.shares:
            self.close()
        return runs, tally

    def _opened(self, turn: int, path: str, tally: Tally) -> OpenFile:
        if self._held is not None and self._held[0] == (turn, path):
            return self._held[1]
        self.close()
        file, opened = self._source.open(path)
        tally.add(opened)
        self._held = (turn, path), file
        return file

    def close(self) -> None:
        """Close the file that is open, if any."""
        held, self._held = self._held, None
        if held is not None:
            held[1].close()
