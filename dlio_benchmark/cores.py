"""How many threads a rank uses: the processors of its host, shared with the other ranks there."""

from __future__ import annotations

import os

from dlio_benchmark.config.model import Workload

_MOST_THREADS = 8


def cores_of_rank(ranks_on_host: int) -> int:
    """Return the processors that a rank may count as its own, at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, ranks_on_host))


def read_threads(workload: Workload, ranks_on_host: int) -> int:
    """Return the threads that read: the configured number, or the rank's processors up to a limit."""
    asked = workload.reader.read_threads
    return min(cores_of_rank(ranks_on_host), _MOST_THREADS) if asked is None else asked


def write_threads(workload: Workload, ranks_on_host: int) -> int:
    """Return the threads that make pages while the rank writes."""
    asked = workload.reader.write_threads
    return min(cores_of_rank(ranks_on_host), _MOST_THREADS) if asked is None else asked
