"""The reference loader: reads in the training loop, block after block, obviously right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dlio_benchmark.batch import Batch, Run, batches_of
from dlio_benchmark.data_loader.base import Paths, Source, block_rows
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan


@dataclass(frozen=True, slots=True)
class DirectLoader:
    """Reads each block when its first row is asked for."""

    source: Source
    name: str = "direct"

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        """Yield the batches of a plan."""
        return batches_of(self._runs(plan, paths, tally), plan.batch, self.source.memory)

    def _runs(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Run]:
        for visit in plan.visits():
            file, opened = self.source.open(paths(visit.file))
            tally.add(opened)
            try:
                for piece in plan.visited(visit, block_rows(file)):
                    run, read = self.source.read(file, piece)
                    tally.add(read)
                    yield run
            finally:
                file.close()

    def close(self) -> None:
        """Do nothing: there is nothing to stop."""
