"""Work done ahead by a few threads, handed over in order.

Only what is in flight is in memory: what is made and what waits to be written, bounded by number and by bytes.  Two
jobs are always allowed, so that one can be made while another is written, however large they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

BYTES_IN_FLIGHT = 64 << 20
JOBS_AHEAD = 5


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """Something to make, and the memory that it will take."""

    make: Callable[[], T]
    cost_bytes: int


def in_order(
    jobs: Iterable[Job[T]], threads: int, *, bytes_in_flight: int = BYTES_IN_FLIGHT, ahead: int = JOBS_AHEAD
) -> Generator[T, None, None]:
    """Yield what the jobs make, in their order; with ``threads`` 0 everything happens in the calling thread.

    ``ahead`` jobs may be in flight beside those that the threads can make at once, so that the threads go on while many
    small results are written with one call.
    The result that was yielded last counts as in flight until the next one is asked for.  An error of a job is raised
    when its turn comes.  Close the iterator to end early; what is in flight is awaited and dropped.
    """
    if threads < 1:
        yield from (job.make() for job in jobs)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="pages") as pool:
        yield from _ahead(jobs, pool, threads + ahead, bytes_in_flight)


def _ahead(
    jobs: Iterable[Job[T]], pool: ThreadPoolExecutor, most_jobs: int, most_bytes: int
) -> Generator[T, None, None]:
    waiting: deque[tuple[Future[T], int]] = deque()
    in_flight = 0
    for job in jobs:
        while len(waiting) > 1 and (len(waiting) >= most_jobs or in_flight + job.cost_bytes > most_bytes):
            future, cost = waiting.popleft()
            yield future.result()
            del future
            in_flight -= cost
        waiting.append((pool.submit(job.make), job.cost_bytes))
        in_flight += job.cost_bytes
    while waiting:
        yield waiting.popleft()[0].result()
