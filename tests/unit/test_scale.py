"""The plan of a very large job needs megabytes on a rank, and no two ranks read the same."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
from numpy.typing import NDArray

from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
from dlio_benchmark.plan.world import World

FILES, ROWS, RANKS, BATCH = 10**6, 1_000, 10_000, 10


def plan(rank: int, rows: NDArray[np.int64]) -> EpochPlan:
    return EpochPlan(rows, BATCH, World(rank, RANKS), Shuffling(1, 2))


def test_a_rank_of_ten_thousand_plans_a_billion_samples_in_megabytes() -> None:
    rows = np.full(FILES, ROWS)
    tracemalloc.start()
    some = [list(plan(rank, rows).visits()) for rank in (0, 4_999, 5_000, RANKS - 1)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(plan(0, rows)) == FILES * ROWS // (RANKS * BATCH)
    assert [sum(visit.stop - visit.start for visit in visits) for visits in some] == [len(plan(0, rows)) * BATCH] * 4
    assert peak < 10 * rows.nbytes
    for one, other in itertools.pairwise(some[1:3]):
        assert {visit.file for visit in one if visit.stop - visit.start == ROWS}.isdisjoint(v.file for v in other)
