"""``python -m benchmarks.scale``: what the plan and the metrics of a very large job cost one rank, by simulation.

10^9 samples in 10^6 files over 10,000 ranks: nothing is read, but every rank's plan can be made, and the records
that all ranks would tell each other are really built, pickled and summed up.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.reduction import ForkingPickler
from typing import TypeVar

import numpy as np

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.metrics.events import Phase, RankRecord, StepTimes, Tally
from dlio_benchmark.metrics.summary import Window, condensed, problems, shares, split_metrics
from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
from dlio_benchmark.plan.world import World

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """The size of a job."""

    files: int = 10**6
    rows: int = 1_000
    ranks: int = 10_000
    batch: int = 10
    epochs: int = 5

    def plan(self, rank: int) -> EpochPlan:
        """Return a rank's plan of an epoch with all orders shuffled."""
        return EpochPlan(np.full(self.files, self.rows), self.batch, World(rank, self.ranks), Shuffling(1, 2))

    def record(self) -> RankRecord:
        """Return what a rank knows at the end."""
        plan = self.plan(0)
        steps, ns = len(plan), 5_000_000
        times = StepTimes(*(array("q", [ns]) * steps for _ in range(3)))
        tally = Tally(rows=steps * self.batch, bytes_promised=1, bytes_requested=1, bytes_read=1)
        end = 3 * steps * ns
        phases = [
            Phase(epoch, DatasetType.TRAIN, self.batch, steps, 0, 0, end, "", "", times, tally)
            for epoch in range(self.epochs)
        ]
        return RankRecord(0, "host", tuple(phases))


def visited_rows(job: Job, rank: int) -> int:
    """Walk a rank's visits and return their rows."""
    return sum(visit.stop - visit.start for visit in job.plan(rank).visits())


def told_bytes(job: Job) -> tuple[int, int]:
    """Return the bytes of a rank's record as it is, and as the ranks tell it to each other."""
    whole = job.record()
    return len(ForkingPickler.dumps(whole)), len(ForkingPickler.dumps(condensed(whole, Window())))


def summed_up(job: Job) -> float:
    """Build the metrics of all ranks from what they tell, and return the mean AU in percent."""
    told = condensed(job.record(), Window())
    ranks = [replace(told, rank=rank) for rank in range(job.ranks)]
    found = split_metrics(ranks, DatasetType.TRAIN, Window(), record_bytes=1, target=0.9)
    shares(ranks)
    if found is None or problems(ranks, decoded=True):
        raise AssertionError
    return found.au_percent.mean


def costed(what: str, work: Callable[[], T]) -> T:
    """Do ``work``, print its seconds and its peak of memory, and return its value."""
    begin = time.process_time()
    work()
    seconds = time.process_time() - begin
    tracemalloc.start()
    value = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"{what:<50} {seconds:8.3f} s CPU {peak / 2**20:9.1f} MiB")
    return value


def main() -> int:
    """Print the costs."""
    job = Job()
    print(f"{job.files * job.rows:,} samples, {job.files:,} files, {job.ranks:,} ranks, {job.epochs} epochs")
    costed("plan and visits of an epoch, rank 0", lambda: visited_rows(job, 0))
    costed("plan and visits of an epoch, last rank", lambda: visited_rows(job, job.ranks - 1))
    whole, told = told_bytes(job)
    print(f"a rank's record: {whole:,} bytes; as it is told: {told:,} bytes; of all ranks: {told * job.ranks:,} bytes")
    costed("metrics of all ranks", lambda: summed_up(job))
    return 0


if __name__ == "__main__":
    sys.exit(main())
