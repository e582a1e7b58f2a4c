"""The training loop: wait for a batch, compute, wait for the other ranks; every step timed by one clock."""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dlio_benchmark.batch import Batch
from dlio_benchmark.clock import Clock, after
from dlio_benchmark.comm import Comm
from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.duration import Dice, Duration
from dlio_benchmark.data_loader.base import Loader, Paths
from dlio_benchmark.errors import InvalidResultError
from dlio_benchmark.metrics.events import Phase, StepTimes, Tally
from dlio_benchmark.plan.epoch import EpochPlan

Step = Callable[[Batch], None]


@dataclass(frozen=True, slots=True)
class Compute:
    """The emulated computation of a step, or a real one; ``step`` sees the batch before the time is taken."""

    duration: Duration
    clock: Clock
    dice: Dice
    step: Step | None = None

    def __call__(self, batch: Batch) -> None:
        """Take the time of one step."""
        if self.step is not None:
            self.step(batch)
        if not self.duration.is_zero:
            self.clock.sleep(self.duration.draw(self.dice))


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over a split that is to be made."""

    epoch: int
    split: DatasetType
    plan: EpochPlan
    paths: Paths


def run_pass(
    todo: Pass,
    loader: Loader,
    compute: Compute,
    *,
    clock: Clock,
    comm: Comm,
    progress: Callable[[int], None] = lambda _step: None,
) -> Phase:
    """Make all steps of a pass and return what happened.

    Between two steps all ranks meet, as data-parallel training does; that time is no part of a step's own times.

    Raises:
        InvalidResultError: if the loader gives fewer batches than the plan has steps.
    """
    plan, tally = todo.plan, Tally()
    name = f"epoch {todo.epoch} {todo.split}"
    comm.barrier(f"start of {name}")
    started, start_ns = datetime.datetime.now(datetime.UTC), clock.now_ns()
    batches = loader.batches(plan, todo.paths, tally)
    times = _steps(plan, batches, compute, (clock, comm, progress, name))
    end_ns = clock.now_ns()
    for _ in batches:
        msg = f"{name}: the loader has more batches than the {len(plan)} planned"
        raise InvalidResultError(msg)
    return Phase(
        epoch=todo.epoch,
        split=todo.split,
        batch=plan.batch,
        steps_planned=len(plan),
        rows_left_out=plan.rows_left_out,
        start_ns=start_ns,
        end_ns=end_ns,
        started=_stamp(started),
        # By the clock of the steps, so that start, end and steps of a phase fit together whatever came in between.
        ended=_stamp(after(started, end_ns - start_ns)),
        times=times,
        tally=tally,
    )


def _steps(
    plan: EpochPlan,
    batches: Iterator[Batch],
    compute: Compute,
    around: tuple[Clock, Comm, Callable[[int], None], str],
) -> StepTimes:
    clock, comm, progress, name = around
    now, barrier = clock.now_ns, comm.barrier
    load, computed, waited = array("q"), array("q"), array("q")
    mark = now()
    for step in range(len(plan)):
        batch = next(batches, None)
        if batch is None:
            msg = f"{name}: the loader ended after {step} of {len(plan)} steps"
            raise InvalidResultError(msg)
        loaded = now()
        compute(batch)
        del batch
        done = now()
        barrier()
        met = now()
        load.append(loaded - mark)
        computed.append(done - loaded)
        waited.append(met - done)
        mark = met
        progress(step)
    return StepTimes(load, computed, waited)


def _stamp(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="microseconds")
