"""The loop makes every planned step once, times it by the clock it is given, and notices a loader that does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.batch import Batch, Block
from dlio_benchmark.clock import FakeClock
from dlio_benchmark.comm import Simulated, Solo
from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.data_loader.base import Paths
from dlio_benchmark.data_loader.synthetic import SyntheticLoader
from dlio_benchmark.engine.train import Compute, Pass, run_pass
from dlio_benchmark.errors import InvalidResultError
from dlio_benchmark.metrics.events import Phase, Tally
from dlio_benchmark.metrics.summary import Window, au_percent
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.plan.world import World


class SlowLoader:
    """Takes ``wait_ns`` of the fake clock for each of ``count`` batches."""

    name = "slow"

    def __init__(self, clock: FakeClock, wait_ns: int, count: int) -> None:
        self.clock, self.wait_ns, self.count = clock, wait_ns, count

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        for _ in range(self.count):
            self.clock.advance(self.wait_ns)
            tally.rows += plan.batch
            yield Batch(((Block(plan.batch), 0, plan.batch),))

    def close(self) -> None:
        pass


def todo(plan: EpochPlan) -> Pass:
    return Pass(1, DatasetType.TRAIN, plan, str)


def compute(clock: FakeClock, seconds: float) -> Compute:
    return Compute(Duration("constant", (seconds,)), clock, np.random.default_rng(0))


@given(steps=st.integers(1, 30), wait_ms=st.integers(0, 50), work_ms=st.integers(0, 50))
def test_waiting_and_computing_are_timed_apart(steps: int, wait_ms: int, work_ms: int) -> None:
    clock = FakeClock()
    plan = EpochPlan(np.array([steps * 2]), 2)
    loader = SlowLoader(clock, wait_ms * 10**6, steps)
    done = run_pass(todo(plan), loader, compute(clock, work_ms / 1e3), clock=clock, comm=Solo())
    assert list(done.step_times.load_ns) == [wait_ms * 10**6] * steps
    assert list(done.step_times.compute_ns) == [work_ms * 10**6] * steps
    assert done.end_ns - done.start_ns == steps * (wait_ms + work_ms) * 10**6
    assert done.tally.rows == 2 * steps
    if steps > 1 and work_ms:
        assert au_percent(done, Window()) == pytest.approx(100 * work_ms / (wait_ms + work_ms))


@pytest.mark.parametrize(("count", "said"), [(3, "ended after 3 of 5"), (6, "more batches than the 5 planned")])
def test_a_loader_with_another_number_of_batches_invalidates_the_run(count: int, said: str) -> None:
    clock = FakeClock()
    plan = EpochPlan(np.array([10]), 2)
    with pytest.raises(InvalidResultError, match=said):
        run_pass(todo(plan), SlowLoader(clock, 1, count), compute(clock, 0), clock=clock, comm=Solo())


def test_all_ranks_meet_after_every_step() -> None:
    """Were one barrier missing on a rank, the group would name the operations that differ."""

    def work(comm: Simulated) -> Phase:
        clock = FakeClock()
        plan = EpochPlan(np.array([7, 8, 9]), 3, World(comm.world.rank, comm.world.size))
        return run_pass(todo(plan), SyntheticLoader(), compute(clock, 0), clock=clock, comm=comm)

    phases = Simulated.run(4, work)
    assert [len(one.times) for one in phases] == [2] * 4


def test_the_step_sees_its_batch() -> None:
    seen: list[int] = []
    clock = FakeClock()
    work = Compute(Duration(), clock, np.random.default_rng(0), lambda batch: seen.append(len(batch)))
    run_pass(todo(EpochPlan(np.array([12]), 4)), SyntheticLoader(), work, clock=clock, comm=Solo())
    assert seen == [4, 4, 4]


def test_adding_adds_every_count() -> None:
    names = [one.name for one in fields(Tally)]
    first, second = (Tally(**{name: base + at for at, name in enumerate(names)}) for base in (100, 10_000))
    first.add(second)
    assert {name: getattr(first, name) for name in names} == {name: 10_100 + 2 * at for at, name in enumerate(names)}


def test_the_stamps_of_a_phase_are_as_far_apart_as_its_clock_says() -> None:
    clock = FakeClock()
    plan = EpochPlan(np.array([40]), 4)
    compute = Compute(Duration("constant", (600.25,)), clock, np.random.default_rng(0))
    todo = Pass(1, DatasetType.TRAIN, plan, str)
    phase = run_pass(todo, SyntheticLoader(), compute, clock=clock, comm=Solo())
    begin, end = map(datetime.fromisoformat, (phase.started, phase.ended))
    assert (end - begin).total_seconds() == (phase.end_ns - phase.start_ns) / 1e9 == len(plan) * 600.25
