"""The loader for every day: threads read and decode ahead, within a budget of bytes and loads.

One feeder walks the plan in order.  It has the next files opened, and every load read, by a pool of threads; a load is
a block, or a few small ones that are handed over at once.  What the feeder gives out is a queue of promises in plan
order, so the batches are the same as the reference loader's, whatever the number of threads.  A load counts against
the budget from the moment it is asked for until the loop asks for the block after it; a load larger than the budget is
admitted when nothing else is in flight, so nothing can lock up.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from dlio_benchmark.batch import Batch, Run, batches_of
from dlio_benchmark.data_loader.base import Paths, Source, block_rows
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Piece, Visit
from dlio_benchmark.reader.base import OpenFile

_Opened = tuple[OpenFile, Tally]
_Load = deque[tuple[Run, Tally]]
_Promise = tuple[Future[_Load], tuple[int, int], Tally | None]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be in flight.

    Attributes:
        bytes: decoded bytes, a limit for all.
        loads: loads; more are admitted while they hold fewer rows than ``rows``.
        rows: rows that are read ahead however many loads they stand in; a few steps' worth keeps small files busy.
        load_bytes: blocks of a file are put together up to so many decoded bytes, and never more than ``bytes``;
            waking a thread for less costs more.
    """

    bytes: int = 2**30
    loads: int = 2
    rows: int = 0
    load_bytes: int = 4 << 20


class ThreadsLoader:
    """Reads ahead with ``threads`` threads within a budget."""

    name = "threads"

    def __init__(self, source: Source, threads: int, budget: Budget | None = None) -> None:
        self._source = source
        self._threads = max(1, threads)
        self._budget = budget or Budget()
        self._pool = ThreadPoolExecutor(self._threads, "read")
        self._epochs: list[_Feeder] = []

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        """Yield the batches of a plan; reading starts when the first one is asked for."""
        return batches_of(self._runs(plan, paths, tally), plan.batch, self._source.memory)

    def _runs(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Run]:
        feeder = _Feeder(self._source, self._pool, self._threads, self._budget)
        self._epochs.append(feeder)
        feeder.start(plan, paths)
        try:
            yield from feeder.runs(tally)
        finally:
            feeder.stop()
            self._epochs.remove(feeder)

    def close(self) -> None:
        """Stop reading and end the threads."""
        for feeder in list(self._epochs):
            feeder.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Feeder:
    """One epoch of reading ahead."""

    def __init__(self, source: Source, pool: ThreadPoolExecutor, threads: int, budget: Budget) -> None:
        self._source, self._pool, self._threads, self._budget = source, pool, threads, budget
        self._changed = threading.Condition()
        self._promises: deque[_Promise] = deque()
        self._bytes = 0
        self._loads = 0
        self._rows = 0
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, plan: EpochPlan, paths: Paths) -> None:
        """Begin to read."""
        self._thread = threading.Thread(target=self._feed, args=(plan, paths), name="feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the reading; loads that were not taken are dropped."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        for future, _, _ in self._promises:
            future.cancel()

    def runs(self, tally: Tally) -> Iterator[Run]:
        """Yield the runs in plan order and add what each took to ``tally``."""
        while (promise := self._next()) is not None:
            future, cost, opened = promise
            load = future.result()
            if opened is not None:
                tally.add(opened)
            del future, promise
            while load:
                run, read = load.popleft()
                tally.add(read)
                yield run
                del run
            self._release(cost)

    def _next(self) -> _Promise | None:
        with self._changed:
            while not self._promises and not self._ended:
                self._changed.wait()
            if self._promises:
                return self._promises.popleft()
            if self._error is not None:
                raise self._error
            return None

    def _release(self, cost: tuple[int, int]) -> None:
        with self._changed:
            self._bytes -= cost[0]
            self._rows -= cost[1]
            self._loads -= 1
            self._changed.notify_all()

    def _admit(self, cost: tuple[int, int]) -> bool:
        """Wait until a load of ``cost`` (bytes, rows) fits; False when the epoch was stopped."""
        with self._changed:
            while not self._stopped and self._loads and not self._fits(cost[0]):
                self._changed.wait()
            self._bytes += cost[0]
            self._rows += cost[1]
            self._loads += 1
            return not self._stopped

    def _fits(self, cost: int) -> bool:
        few = self._loads < self._budget.loads or self._rows < self._budget.rows
        return few and self._bytes + cost <= self._budget.bytes

    def _feed(self, plan: EpochPlan, paths: Paths) -> None:
        try:
            self._walk(plan, paths)
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _walk(self, plan: EpochPlan, paths: Paths) -> None:
        visits = plan.visits()
        ahead: deque[tuple[Visit, Future[_Opened]]] = deque()
        try:
            while True:
                while len(ahead) <= self._threads and (visit := next(visits, None)) is not None:
                    ahead.append((visit, self._pool.submit(self._source.open, paths(visit.file))))
                if not ahead:
                    return
                visit, opening = ahead.popleft()
                file, opened = opening.result()
                if not self._read(plan, visit, file, opened):
                    return
        finally:
            for _, opening in ahead:
                opening.add_done_callback(_close_unused)

    def _read(self, plan: EpochPlan, visit: Visit, file: OpenFile, opened: Tally) -> bool:
        """Ask for the blocks of a visit; the last load to be read closes the file."""
        counted: Tally | None = opened
        most_bytes = min(self._budget.load_bytes, self._budget.bytes)
        try:
            loads = list(_loads(file, plan.visited(visit, block_rows(file)), most_bytes))
        except BaseException:
            file.close()
            raise
        left = _Countdown(len(loads), file)
        for number, (pieces, cost) in enumerate(loads):
            if not self._admit(cost):
                left.drop(len(loads) - number)
                return False
            future = self._pool.submit(_read_load, self._source, (file, left), pieces)
            future.add_done_callback(left.cancelled)
            with self._changed:
                self._promises.append((future, cost, counted))
                self._changed.notify_all()
            counted = None
        return True


def _loads(file: OpenFile, pieces: Iterable[Piece], most_bytes: int) -> Iterator[tuple[list[Piece], tuple[int, int]]]:
    """Yield the pieces of a file as loads of up to ``most_bytes``, with what each costs: bytes and rows.

    A file of which nothing is wanted makes one load, that is empty.
    """
    load: list[Piece] = []
    total = rows = 0
    for piece in pieces:
        shape = file.shapes[piece.block]
        size = max(shape.decoded_bytes, shape.stored_bytes)
        if load and total + size > most_bytes:
            yield load, (total, rows)
            load, total, rows = [], 0, 0
        load.append(piece)
        total += size
        rows += piece.stop - piece.start
    yield load, (total, rows)


class _Countdown:
    """Closes a file once all its loads are done."""

    def __init__(self, loads: int, file: OpenFile) -> None:
        self._left, self._file, self._lock = loads, file, threading.Lock()

    def drop(self, loads: int) -> None:
        """Count ``loads`` as done."""
        with self._lock:
            self._left -= loads
            if self._left > 0:
                return
        self._file.close()

    def cancelled(self, future: Future[_Load]) -> None:
        """Count a load as done that will not be read."""
        if future.cancelled():
            self.drop(1)


def _read_load(source: Source, held: tuple[OpenFile, _Countdown], pieces: Sequence[Piece]) -> _Load:
    file, left = held
    try:
        return deque(source.read(file, piece) for piece in pieces)
    finally:
        left.drop(1)


def _close_unused(opening: Future[_Opened]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()
