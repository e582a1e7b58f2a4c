"""What is to be read next, and what has been: an epoch that is read ahead of the loop that takes it.

`Ahead` holds no thread and waits for nothing; whoever uses it from several threads holds a lock meanwhile.  It gives
out jobs in the order of the plan, which are then done without the lock: to open a file, or to read a load, which is a
block, or a few small ones that are handed over at once.  Loads are numbered, and the loop asks for the slot of each
number in turn, before or after its load is begun.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dlio_benchmark.batch import Run
from dlio_benchmark.data_loader.base import Paths, Source, block_rows
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Piece, Visit
from dlio_benchmark.reader.base import OpenFile

_UNEVEN_LOADS, _UNEVEN_BYTES = 2, 16 << 20
_MEMORY_NS = 10_000  # of a request that memory answers; waking a thread takes as long


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be in flight.

    Attributes:
        bytes: decoded bytes, a limit for all.
        loads: loads; more are admitted while they hold fewer rows than ``rows``, and two more of at most 16 MiB where
            rows are moved.
        rows: rows that are read ahead however many loads they stand in; a few steps' worth keeps small files busy.
        load_bytes: blocks of a file are put together up to so many decoded bytes, and never more than ``bytes``;
            handing over less costs more.
    """

    bytes: int = 2**30
    loads: int = 2
    rows: int = 0
    load_bytes: int = 4 << 20


class Job(Protocol):
    """Something to be done, without the lock but for its `finish`; an error is kept in it."""

    error: BaseException | None

    def do(self, source: Source) -> None:
        """Do it."""

    def finish(self) -> OpenFile | None:
        """Take note that it was done, and return a file that is to be closed; with the lock."""

    def hand_over(self) -> None:
        """Let the loop have what came out."""

    def has_waited(self, took_ns: int, /) -> bool:
        """Return whether ``took_ns`` is so long that others had better work meanwhile; with the lock."""


class Opening:
    """A file that the plan visits: opened ahead, and closed after the last of its loads."""

    __slots__ = ("error", "file", "is_over", "is_ready", "path", "reading", "tally", "visit")

    def __init__(self, visit: Visit, path: str) -> None:
        self.visit, self.path = visit, path
        self.file: OpenFile | None = None
        self.tally: Tally | None = None
        self.error: BaseException | None = None
        self.is_ready = self.is_over = False
        self.reading = 0

    def do(self, source: Source) -> None:
        """Open the file."""
        try:
            self.file, self.tally = source.open(self.path)
        except BaseException as error:
            self.error = error

    def finish(self) -> OpenFile | None:
        """Let its loads be found, or return the file if the epoch was left meanwhile."""
        self.is_ready = True
        return self.unused()

    def hand_over(self) -> None:
        """Do nothing: the loop has it with its first load."""

    def has_waited(self, _took_ns: int) -> bool:
        """Return False: most of it goes into the footer."""
        return False

    def unused(self) -> OpenFile | None:
        """Return the open file, once, if nothing more is read from it."""
        if not self.is_over or self.reading:
            return None
        file, self.file = self.file, None
        return file


class Slot:
    """Where a load is handed over; ``done`` is released when it is read, or where the plan ends, maybe in an error."""

    __slots__ = ("done", "error", "load")

    def __init__(self) -> None:
        self.done = threading.Lock()
        self.done.acquire()
        self.load: Load | None = None
        self.error: BaseException | None = None


class Load:
    """Pieces of a file that are read at once, and what became of them; ``opened`` is what opening the file took."""

    __slots__ = ("bytes", "error", "file", "opened", "opening", "pieces", "rows", "runs", "slot")

    def __init__(self, opening: Opening, file: OpenFile, opened: Tally | None) -> None:
        self.opening, self.file, self.opened = opening, file, opened
        self.pieces: list[Piece] = []
        self.bytes = self.rows = 0
        self.slot: Slot | None = None
        self.runs: deque[tuple[Run, Tally]] = deque()
        self.error: BaseException | None = None

    def do(self, source: Source) -> None:
        """Read the pieces."""
        try:
            for piece in self.pieces:
                self.runs.append(source.read(self.file, piece))
        except BaseException as error:
            self.error = error

    def finish(self) -> OpenFile | None:
        """Count as read, and return the file if this was the last load of it."""
        self.opening.reading -= 1
        return self.opening.unused()

    def hand_over(self) -> None:
        """Let the loop have the runs, or the error."""
        slot, self.slot = self.slot, None  # or the two would keep each other
        if slot is not None:
            slot.done.release()

    def has_waited(self, took_ns: int) -> bool:
        """Return whether it took longer than its requests do out of memory; what decoding took counts, too."""
        return took_ns > _MEMORY_NS * max(1, sum(read.requests for _, read in self.runs))


class Ahead:
    """The jobs of an epoch within a budget; ``openings`` files are opened before they are needed.

    ``is_over`` tells that no job will follow.
    """

    def __init__(self, plan: EpochPlan, paths: Paths, budget: Budget, openings: int) -> None:
        self._plan, self._paths, self._budget, self._openings = plan, paths, budget, openings
        self._visits = plan.visits()
        self._has_visits = True
        self._ahead: deque[Opening] = deque()
        self._current: Opening | None = None
        self._loads: Iterator[Load] = iter(())
        self._next: Load | None = None
        self._number = 0
        self._half_known: dict[int, Slot] = {}
        self._bytes = self._rows = self._count = 0
        self.is_over = False

    @property
    def has_job(self) -> bool:
        """Whether there may be something to do now."""
        return not self.is_over and (self._admitted is not None or self._may_open)

    @property
    def _admitted(self) -> Load | None:
        """The next load, if it fits into the budget."""
        load, most = self._next, self._budget
        if load is None or not self._count:
            return load
        few = self._count < most.loads + self._more_of(load) or self._rows < most.rows
        return load if few and self._bytes + load.bytes <= most.bytes else None

    def _more_of(self, load: Load) -> int:
        """Return how many loads more than the budget says may be in flight, so that a slow one holds up no others.

        Moving rows takes unevenly long, as threads get into each other's way.
        """
        return _UNEVEN_LOADS if self._plan.moves_rows and load.bytes <= _UNEVEN_BYTES else 0

    @property
    def _may_open(self) -> bool:
        return self._has_visits and len(self._ahead) < self._openings

    def job(self) -> Job | None:
        """Return the next job that may be begun, or None: for now, or for good if ``is_over``."""
        self._advance()
        # What the loop waits for comes before the files of later.
        if self._count or self._admitted is None:
            opening = self._opening()
            if opening is not None:
                return opening
        load = None if self.is_over else self._admitted
        if load is not None:
            self._begin(load)
        return load

    def slot(self, number: int) -> Slot:
        """Return the slot of the load with that number: to the loop once, and once to who begins the load."""
        slot = self._half_known.pop(number, None)
        if slot is None:
            slot = self._half_known[number] = Slot()
        return slot

    def release(self, load: Load) -> None:
        """Give back the room of a load that the loop has taken."""
        self._bytes -= load.bytes
        self._rows -= load.rows
        self._count -= 1

    def stop(self) -> list[OpenFile]:
        """Give out no more jobs; return the files that are to be closed."""
        self._end(None)
        left = [opening for opening in (self._current, *self._ahead) if opening is not None]
        self._current, self._next, self._loads = None, None, iter(())
        self._ahead.clear()
        for opening in left:
            opening.is_over = True
        return [file for opening in left if (file := opening.unused()) is not None]

    def _begin(self, load: Load) -> None:
        self._bytes += load.bytes
        self._rows += load.rows
        self._count += 1
        load.opening.reading += 1
        load.slot = self.slot(self._number)
        load.slot.load = load
        self._number += 1
        self._next = None
        self._advance()

    def _opening(self) -> Opening | None:
        """Return a file to be opened ahead, if there is one."""
        if self.is_over or not self._may_open:
            return None
        try:
            for visit in self._visits:
                self._ahead.append(Opening(visit, self._paths(visit.file)))
                return self._ahead[-1]
        except BaseException as error:
            self._end(error)
        self._has_visits = False
        self._advance()
        return None

    def _advance(self) -> None:
        """Find the load that comes next, if its file is open."""
        try:
            while self._next is None and not self.is_over:
                if self._current is not None:
                    self._next = next(self._loads, None)
                    if self._next is None:
                        self._current.is_over = True
                        self._current = None
                elif self._ahead and self._ahead[0].is_ready:
                    self._current = self._ahead.popleft()
                    self._loads = self._loads_of(self._current)
                elif self._ahead or self._has_visits:
                    return
                else:
                    self._end(None)
        except BaseException as error:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if not self.is_over:
            self.is_over = True
            slot = self.slot(self._number)
            slot.error = error
            slot.done.release()

    def _loads_of(self, opening: Opening) -> Iterator[Load]:
        """Yield the pieces of a file as loads; a file of which nothing is wanted makes one that is empty."""
        if opening.file is None or opening.error is not None:
            raise opening.error or RuntimeError(opening.path)
        file, most_bytes = opening.file, min(self._budget.load_bytes, self._budget.bytes)
        load = Load(opening, file, opening.tally)
        for piece in self._plan.visited(opening.visit, block_rows(file)):
            shape = file.shapes[piece.block]
            size = max(shape.decoded_bytes, shape.stored_bytes)
            if load.pieces and load.bytes + size > most_bytes:
                yield load
                load = Load(opening, file, None)
            load.pieces.append(piece)
            load.bytes += size
            load.rows += piece.stop - piece.start
        yield load
