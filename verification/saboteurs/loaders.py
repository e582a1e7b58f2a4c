"""Wrong loaders, which give other batches than their plan says or keep them, and a plan that is wrong itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from dlio_benchmark.batch import Batch
from dlio_benchmark.clock import RealClock
from dlio_benchmark.data_loader.base import Loader, Paths, Source
from dlio_benchmark.data_loader.direct import DirectLoader
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.plan.world import World
from dlio_benchmark.reader.base import Reader


class WrongLoader:
    """A loader that passes everything on; wrong ones change `batches`."""

    name = "wrong"

    def __init__(self, reader: Reader) -> None:
        self.inner = DirectLoader(Source(reader, RealClock()))

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        """Yield the batches of a plan."""
        yield from self.inner.batches(plan, paths, tally)

    def close(self) -> None:
        """Stop."""
        self.inner.close()


class SameShard(WrongLoader):
    """Gives every rank the shard of rank 0."""

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        yield from self.inner.batches(replace(plan, world=World(0, plan.world.size)), paths, tally)


class StaleShuffle(WrongLoader):
    """Begins an epoch in the order of the first one and goes on in its own."""

    first: EpochPlan | None = None

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        self.first = self.first or plan
        half = len(plan) // 2
        yield from islice(self.inner.batches(self.first, paths, tally), half)
        yield from islice(self.inner.batches(plan, paths, tally), half, None)


class UnevenSteps(WrongLoader):
    """Gives rank 0 one batch more."""

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        batch = None
        for batch in self.inner.batches(plan, paths, tally):
            yield batch
        if plan.world.rank == 0 and batch is not None:
            yield batch


class ReturnsEarly(WrongLoader):
    """Ends one batch early on the last rank."""

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        last = plan.world.rank == plan.world.size - 1
        yield from islice(self.inner.batches(plan, paths, tally), len(plan) - last)


class DoesNothingOnTheLastRank(WrongLoader):
    """Gives the last rank no batch."""

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        if plan.world.rank < plan.world.size - 1:
            yield from self.inner.batches(plan, paths, tally)


class KeepsEveryBatch(WrongLoader):
    """Holds all batches until it is closed."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        self.kept: list[Batch] = []

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        for batch in self.inner.batches(plan, paths, tally):
            self.kept.append(batch)
            yield batch


class HalfOfThePlan(EpochPlan):
    """Plans half of the steps that there are, and takes the rows of the others for those that fill no step."""

    def __len__(self) -> int:
        return EpochPlan.__len__(self) // 2


LOADERS: Mapping[str, Callable[[Reader], Loader]] = {
    "same-shard-on-two-ranks": SameShard,
    "stale-shuffle-in-epoch-2": StaleShuffle,
    "uneven-steps": UnevenSteps,
    "rank-that-returns-early": ReturnsEarly,
    "rank-1-does-nothing": DoesNothingOnTheLastRank,
    "keeps-every-batch": KeepsEveryBatch,
}

PLANS: Mapping[str, type[EpochPlan]] = {"half-of-the-steps-planned": HalfOfThePlan}
