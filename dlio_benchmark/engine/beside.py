"""Files made beside each other by a few threads, their results in order; when one fails or the run ends, all end.

A file is large, so nobody waits for the others to be whole: each of them ends at its next write.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from dlio_benchmark.errors import DlioError
from dlio_benchmark.storage.base import OutputFile, Outputs

T = TypeVar("T")


class _StoppedError(DlioError):
    """A file was given up because of what happened elsewhere."""


class Stop:
    """What ends all that is written: set once, with the first error as its cause."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.cause: BaseException | None = None

    def because_of(self, error: BaseException) -> None:
        """End all writing; the first cause counts."""
        with self._lock:
            self.cause = self.cause or error

    def check(self) -> None:
        """Raise an error if the end has come."""
        if self.cause is not None:
            raise _StoppedError("the file was given up")


class StoppableOutputs:
    """Outputs of ``storage`` whose writes fail after ``stop``, so that what is unfinished is forgotten."""

    def __init__(self, storage: Outputs, stop: Stop) -> None:
        self._storage, self._stop = storage, stop

    def open_output(self, path: str) -> OutputFile:
        """Open a file for writing."""
        self._stop.check()
        return _Output(self._storage.open_output(path), self._stop)


class _Output:
    def __init__(self, inner: OutputFile, stop: Stop) -> None:
        self._inner, self._stop = inner, stop

    def write(self, chunk: bytes | memoryview) -> int:
        self._stop.check()
        return self._inner.write(chunk)

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)


def beside(jobs: Iterable[Callable[[], T]], threads: int, stop: Stop) -> Generator[T, None, None]:
    """Yield what ``jobs`` make, in their order, made by ``threads`` threads; by the calling one if that is less than 2.

    Close the iterator to end early.  The first error that a job raised is raised, whatever the order of the jobs, and
    no job begins after it.
    """
    if threads < 2:
        yield from (job() for job in jobs)
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="files") as pool:
        try:
            for job in jobs:
                if len(waiting) > threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(_guarded, job, stop))
            while waiting:
                yield waiting.popleft().result()
        except BaseException as error:
            stop.because_of(error)
            for future in waiting:
                future.cancel()
            if isinstance(error, Exception) and stop.cause is not None and stop.cause is not error:
                raise stop.cause from None
            raise


def _guarded(job: Callable[[], T], stop: Stop) -> T:
    stop.check()
    try:
        return job()
    except BaseException as error:
        stop.because_of(error)
        raise
