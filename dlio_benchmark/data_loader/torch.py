"""The loader over PyTorch's DataLoader: worker processes read, and send few large pieces of shared memory.

This process deals out tasks in plan order; what a worker reads for a task comes back as one packed buffer in
shared memory, and batches are cut from the buffers here.  PyTorch gives the results in the order of the tasks, so
the batches are the reference loader's whatever the number of workers.  What borders between tasks cost is said in
`dlio_benchmark.data_loader.tasks`.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info

from dlio_benchmark.batch import Batch, Run, batches_of
from dlio_benchmark.data_loader.base import Paths, Source
from dlio_benchmark.data_loader.parcel import RunLayout, parcel_of, unpacked
from dlio_benchmark.data_loader.tasks import SHARE_BYTES, Desk, Task, tasks
from dlio_benchmark.errors import DlioError, WorkerLostError
from dlio_benchmark.guard import die_with_parent
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.values import Values

_CAUSES = {
    signal.SIGKILL: "probably out of memory",
    signal.SIGBUS: "probably no room in /dev/shm",
}
_MIB = 2**20

_Done = tuple[list[Run], Tally]


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a worker sends for a task."""

    memory: torch.Tensor
    layouts: tuple[RunLayout, ...]
    tally: Tally

    def runs(self) -> Iterator[Run]:
        """Yield the runs, as views of the memory."""
        return unpacked(self.memory.numpy(), self.layouts)


class TorchLoader:
    """Reads with ``workers`` processes that live as long as the loader; 0 reads in this one.

    Args:
        sources: what worker n reads from is ``sources[n]``; all of it can be pickled.  One is enough for no workers.
        workers: the processes.
        row_bytes: about what a row takes decoded.
        prefetch: tasks in flight per worker.
        prefetch_bytes: about the most bytes that all tasks in flight may hold.
        context: how processes start, as `multiprocessing` names it.
    """

    name = "pytorch"

    def __init__(
        self,
        sources: Sequence[Source],
        workers: int,
        *,
        row_bytes: float,
        prefetch: int = 2,
        prefetch_bytes: int = 256 * _MIB,
        context: str | None = "spawn",
    ) -> None:
        self._row_bytes = row_bytes
        self._turn = 0
        self._memory = sources[0].memory
        self._hand = _Hand()
        self._watch = _Watch()
        parallel: dict[str, Any] = {}
        if workers:
            in_flight = min(prefetch, prefetch_bytes // (workers * SHARE_BYTES))
            parallel = {
                "persistent_workers": True,
                "prefetch_factor": max(1, in_flight),
                "multiprocessing_context": context,
                # a fork server is the parent of its workers, and ends with this process
                "worker_init_fn": partial(_begin, None if context == "forkserver" else os.getpid()),
            }
        self._loader: Any = DataLoader(
            _Desks(sources),
            batch_size=None,
            sampler=self._hand,
            num_workers=workers,
            collate_fn=_packed if workers else _as_it_is,
            **parallel,
        )

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        """Yield the batches of a plan; the first call starts the workers."""
        return batches_of(self._runs(plan, paths, tally), plan.batch, self._memory)

    def _runs(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Run]:
        self._turn += 1
        self._hand.deal = partial(tasks, plan, paths, row_bytes=self._row_bytes, turn=self._turn)
        with self._watch.starting():
            results = iter(self._loader)
        while (result := self._next(results)) is not None:
            if isinstance(result, DlioError):
                raise result
            runs, read = (result.runs(), result.tally) if isinstance(result, _Sent) else result
            tally.add(read)
            del result
            yield from runs

    def _next(self, results: Iterator[Any]) -> Any:
        with self._watch.waiting():
            return next(results, None)

    def close(self) -> None:
        """End the workers."""
        self._watch.leave()
        self._loader = None


def tensors(batch: Batch) -> Mapping[str, torch.Tensor | Values]:
    """Return the columns of a batch as tensors, without a copy where the memory may be written.

    Columns that no tensor can hold (text, bytes, lists of different lengths) are given as Arrow arrays.
    """
    return {name: _tensor(batch.column(name)) for name in batch.names}


def _tensor(values: Values) -> torch.Tensor | Values:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        return values
    return torch.from_numpy(values if values.flags.writeable else values.copy())


class _Hand:
    """The tasks of the pass at hand, as the sampler that PyTorch asks for them."""

    def __init__(self) -> None:
        self.deal: Callable[[], Iterator[Task]] = partial(iter, ())

    def __iter__(self) -> Iterator[Task]:
        return self.deal()


class _Desks:
    """What PyTorch calls a data set: maps a task to what it brings, or to the error that it ended with."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._desk: Desk | None = None

    def __getitem__(self, task: Task) -> _Done | DlioError:
        if self._desk is None:
            worker = get_worker_info()
            self._desk = Desk(self._sources[worker.id if worker else 0])
        try:
            return self._desk.work(task)
        except DlioError as error:
            return error


def _begin(parent: int | None, _worker: int) -> None:
    """Tie a worker to the process that started it, ``parent`` if it is known; this process alone answers to Ctrl-C."""
    die_with_parent(parent=parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(done: _Done | DlioError) -> _Done | DlioError:
    return done


def _packed(done: _Done | DlioError) -> _Sent | DlioError:
    if isinstance(done, DlioError):
        return done
    runs, tally = done
    parcel = parcel_of(runs)
    memory = torch.empty(parcel.bytes, dtype=torch.uint8).share_memory_()
    parcel.pack(memory.numpy())
    return _Sent(memory, parcel.layouts(), tally)


class _Watch:
    """Knows the worker processes, and raises as soon as one of them has ended.

    In the main thread the kernel's word that a child has ended raises at once, whatever the thread is doing; in
    another one the end is noticed when the next result is waited for.
    """

    def __init__(self) -> None:
        self._workers: list[BaseProcess] = []
        self._lost: WorkerLostError | None = None
        self._unhook: Callable[[], Any] | None = None

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Take the processes that begin in the block for workers."""
        before = set(multiprocessing.active_children())
        with self.waiting():
            yield
        begun = set(multiprocessing.active_children()) - before
        self._workers += sorted(begun, key=lambda process: process.pid or 0)
        if begun and threading.current_thread() is threading.main_thread():
            former = signal.getsignal(signal.SIGCHLD)
            self._unhook = partial(signal.signal, signal.SIGCHLD, former)
            signal.signal(signal.SIGCHLD, partial(self._ended, former))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Name the worker that has ended when PyTorch only knows that one has."""
        self._check()
        try:
            yield
        except RuntimeError:
            self._check()
            raise

    def leave(self) -> None:
        """Let workers end without a word."""
        self._workers = []
        unhook, self._unhook = self._unhook, None
        if unhook is not None and threading.current_thread() is threading.main_thread():
            unhook()

    def _ended(self, former: Any, signum: int, frame: Any) -> None:
        self._check()
        if callable(former):
            former(signum, frame)

    def _check(self) -> None:
        for number, process in enumerate(self._workers):
            if process.exitcode is not None:
                self._lost = _lost(number, process, process.exitcode)
                self.leave()
        if self._lost is not None:
            raise self._lost


def _lost(number: int, process: BaseProcess, code: int) -> WorkerLostError:
    how = f"ended with code {code}; what it said stands above"
    if code < 0:
        found = signal.Signals(-code)
        cause = f", {_CAUSES[found]}" if found in _CAUSES else ""
        how = f"was ended by signal {found.value} ({found.name}){cause}"
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / _MIB
    remedy = "remedy: fewer workers (reader.read_threads), a smaller reader.prefetch_size, or smaller row groups"
    return WorkerLostError(
        f"loader worker {number} (pid {process.pid}) {how}; "
        f"the largest worker that has ended had {largest:.0f} MiB of resident memory; {remedy}"
    )
