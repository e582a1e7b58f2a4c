"""The loader for every day: threads read and decode ahead, within a budget of bytes and loads.

The loop takes the loads of `Ahead` by their numbers, so the batches are those of the reference loader, whatever the
number of threads.  A load counts against the budget from the moment it is begun until the loop asks for the block after
it; a load larger than the budget is admitted when nothing else is in flight, so nothing can lock up.

Threads share one interpreter, and hand it on around each request.  Where requests are answered from memory, sooner
than a thread is woken, several threads take longer than one.  So an epoch begins with one thread, unless rows are to be
moved one by one, and has all of them as soon as a load has taken its time, or the loop had to wait.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from dlio_benchmark.batch import Batch, Run, batches_of
from dlio_benchmark.data_loader.ahead import Ahead, Budget, Job, Load
from dlio_benchmark.data_loader.base import Paths, Source
from dlio_benchmark.errors import DlioError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan

_PATIENCE_S = 0.002


class ThreadsLoader:
    """Reads ahead with ``threads`` threads within a budget."""

    name = "threads"

    def __init__(self, source: Source, threads: int, budget: Budget | None = None) -> None:
        self._source = source
        self._threads = max(1, threads)
        self._budget = budget or Budget()
        self._epochs: list[_Epoch] = []
        self._leaving: list[threading.Thread] = []

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        """Yield the batches of a plan; reading starts when the first one is asked for."""
        return batches_of(self._runs(plan, paths, tally), plan.batch, self._source.memory)

    def _runs(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Run]:
        ahead = Ahead(plan, paths, self._budget, self._threads + 1)
        epoch = _Epoch(self._source, ahead, self._threads, self._threads if plan.moves_rows else 1)
        self._epochs.append(epoch)
        try:
            yield from epoch.runs(tally)
        finally:
            try:
                epoch.stop()
            finally:
                self._epochs.remove(epoch)
                self._leaving = [thread for thread in (*self._leaving, *epoch.threads) if thread.is_alive()]

    def close(self) -> None:
        """Stop reading and end the threads."""
        epochs = tuple(self._epochs)  # they may be left meanwhile
        for epoch in epochs:
            epoch.stop()
        for thread in itertools.chain(self._leaving, *(epoch.threads for epoch in epochs)):
            thread.join()


class _Epoch:
    """The threads of one epoch, hired when there is work for them."""

    def __init__(self, source: Source, ahead: Ahead, most: int, at_once: int = 1) -> None:
        self._source, self._ahead, self._most, self._at_once = source, ahead, most, at_once
        self._changed = threading.Condition(threading.Lock())
        self.threads: list[threading.Thread] = []
        self._busy = self._idle = 0

    def runs(self, tally: Tally) -> Iterator[Run]:
        """Yield the runs in plan order and add what each took to ``tally``."""
        load: Load | None = None
        for number in itertools.count():
            load = self._taken(number, load)
            if load is None:
                return
            if load.opened is not None:
                tally.add(load.opened)
            while load.runs:
                run, read = load.runs.popleft()
                tally.add(read)
                yield run
                del run

    def stop(self) -> None:
        """Begin nothing more; loads that were not taken are dropped."""
        with self._changed:
            left = self._ahead.stop()
            self._changed.notify_all()
        with ExitStack() as closing:  # all of them, whatever one of them raises
            for file in reversed(left):
                closing.enter_context(suppress(DlioError))
                closing.callback(file.close)

    def _taken(self, number: int, last: Load | None) -> Load | None:
        """Give back the room of the ``last`` load, wait for the next one and return it, or None at the end."""
        with self._changed:
            if last is not None:
                self._ahead.release(last)
            slot = self._ahead.slot(number)
            self._wake()
        if not slot.done.acquire(timeout=_PATIENCE_S):
            with self._changed:
                self._at_once = self._most
                self._wake()
            slot.done.acquire()
        error = slot.error if slot.load is None else slot.load.error
        if error is not None:
            raise error
        return slot.load

    def _wake(self) -> None:
        """Have one more thread look for work if there may be some; with the lock held."""
        if self._busy < self._at_once and self._ahead.has_job:
            if self._idle:
                self._changed.notify()
            elif len(self.threads) < self._most:
                thread = threading.Thread(target=self._work, name=f"read-{len(self.threads)}", daemon=True)
                thread.start()
                self.threads.append(thread)
                self._idle += 1

    def _work(self) -> None:
        with self._changed:
            self._idle -= 1
        job: Job | None = None
        while (job := self._job(job)) is not None:
            self._do(job)

    def _do(self, job: Job) -> None:
        now_ns = self._source.clock.now_ns
        begin_ns = now_ns()
        job.do(self._source)
        took_ns = now_ns() - begin_ns
        with self._changed:
            closing = job.finish()
            if job.has_waited(took_ns):
                self._at_once = self._most
        if closing is not None:
            try:
                closing.close()
            except BaseException as error:
                job.error = job.error or error
        job.hand_over()

    def _job(self, last: Job | None) -> Job | None:
        """Wait for a job and return it; None when there will be none."""
        with self._changed:
            self._busy -= last is not None
            while not self._ahead.is_over:
                job = self._ahead.job() if self._busy < self._at_once else None
                if job is not None:
                    self._busy += 1
                    try:
                        self._wake()
                    except BaseException as error:  # the system may give no more threads, and the job is taken
                        job.error = error
                    return job
                if not self._ahead.is_over:
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
            self._changed.notify_all()
            return None
