"""A loader that needs no time: the limit of what the loop itself allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dlio_benchmark.batch import Batch, Block
from dlio_benchmark.data_loader.base import Paths
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan


@dataclass(frozen=True, slots=True)
class SyntheticLoader:
    """Gives batches of the planned size without reading anything."""

    name: str = "synthetic"

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:  # noqa: ARG002
        """Yield the batches of a plan."""
        batch = Batch(((Block(plan.batch), 0, plan.batch),))
        for _ in range(len(plan)):
            tally.rows += plan.batch
            yield batch

    def close(self) -> None:
        """Do nothing: there is nothing to stop."""
