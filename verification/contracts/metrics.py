"""What every summary of a run promises: rate, utilization, rows and bytes follow from the recorded events."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dlio_benchmark.batch import Batch, Block
from dlio_benchmark.clock import FakeClock
from dlio_benchmark.comm import Comm
from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.data_loader.base import Paths
from dlio_benchmark.engine.train import Compute, Pass, run_pass
from dlio_benchmark.metrics.events import RankRecord, Tally
from dlio_benchmark.metrics.summary import problems
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.report import results
from dlio_benchmark.report.host import Host
from verification.evidence import Recorder

Records = Sequence[RankRecord]
Report = Callable[[Records], Mapping[str, Any]]
STEPS, BATCH, EPOCHS = 6, 4, 2
PROMISED, SHORT = 10_000, 700


class _Waiting:
    """A loader whose batches take a time that differs between ranks and steps, on a clock that is moved by hand."""

    name = "waiting"

    def __init__(self, clock: FakeClock, *, short: int) -> None:
        self._clock, self._short = clock, short

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:  # noqa: ARG002
        for step in range(len(plan)):
            self._clock.advance((3 + plan.world.rank + step % 2) * 1_000_000)
            tally.rows += plan.batch
            yield Batch(((Block(plan.batch), 0, plan.batch),))
        tally.add(Tally(bytes_promised=PROMISED, bytes_requested=PROMISED, bytes_read=PROMISED - self._short))

    def close(self) -> None:
        """Do nothing."""


def recorded(comm: Comm, *, short: int = 0) -> list[RankRecord]:
    """Return the records of all ranks of a run in which each rank reads ``short`` bytes less than promised."""
    clock = FakeClock()
    plan = EpochPlan(np.array([STEPS * BATCH * comm.world.size]), BATCH, comm.world)
    compute = Compute(Duration("constant", (0.01,)), clock, np.random.default_rng(0))
    phases = tuple(
        run_pass(
            Pass(epoch, DatasetType.TRAIN, plan, str), _Waiting(clock, short=short), compute, clock=clock, comm=comm
        )
        for epoch in range(1, EPOCHS + 1)
    )
    return comm.gather(RankRecord(comm.world.rank, "host", phases), "records")


def product_report(records: Records) -> Mapping[str, Any]:
    """Return the product's summary of ``records``."""
    shape = {"format": "parquet", "num_files_train": 1, "num_samples_per_file": STEPS * BATCH * len(records)}
    workload = decode({"framework": "pytorch", "dataset": shape}).workload
    outcome = results.Outcome(
        workload=workload,
        ranks=records,
        hosts=[Host("host", 1, "", 1.0, {}, {})],
        record_bytes=1000.0,
        loader="waiting",
        decode="full",
        launch="",
        started="",
        ended="",
        problems=problems(records, decoded=True),
    )
    return results.summary_of(outcome)


def numbers_follow_from_the_events(evidence: Recorder, comm: Comm, report: Report) -> None:
    """Hold utilization, rate, rows and bytes of a summary to arithmetic on the recorded times."""
    records = recorded(comm)
    summary = report(records)
    metric, proof = summary["metric"], summary["dlio"]
    evidence.equal(summary["num_accelerators"], comm.world.size, what="ranks told")
    evidence.equal((proof["valid"], list(proof["problems"])), (True, []), what="verdict told")
    for number in range(EPOCHS):
        au, rate = _recomputed(records, number)
        off = metric["train_au_percentage"][number] - au
        evidence.hold(
            round(off, 9),
            what="utilization recomputed from the events",
            at_least=-0.01,
            at_most=0.01,
            unit="percent points",
        )
        told = metric["train_throughput_samples_per_second"][number] / rate
        evidence.hold(round(told, 9), what="rate told against recomputed", at_least=1 - 1e-6, at_most=1 + 1e-6)
        epoch = proof["epochs"][number]
        evidence.equal(epoch["rows"], STEPS * BATCH * comm.world.size, what="rows told")
        evidence.equal(epoch["steps"], STEPS, what="steps told")
        evidence.equal(epoch["bytes_read"], PROMISED * comm.world.size, what="bytes told")


def _recomputed(records: Records, number: int) -> tuple[float, float]:
    utilizations, rates = [], []
    for record in records:
        phase = record.phases[number]
        load, compute = list(phase.step_times.load_ns), list(phase.step_times.compute_ns)
        window_s = (phase.end_ns - phase.start_ns - load[0] - compute[0]) / 1e9
        utilizations.append(100 * sum(compute[1:]) / 1e9 / window_s)
        rates.append((len(compute) - 1) * phase.batch / window_s)
    return statistics.fmean(utilizations), math.fsum(rates)


def bytes_not_read_are_told(evidence: Recorder, comm: Comm, report: Report) -> None:
    """Hold that a run which read less than the footers promise is told as such, and is not valid."""
    summary = report(recorded(comm, short=SHORT))
    for epoch in summary["dlio"]["epochs"]:
        evidence.equal(epoch["bytes_read"], (PROMISED - SHORT) * comm.world.size, what="bytes told of a short run")
    evidence.equal(summary["dlio"]["valid"], False, what="verdict on a short run")
