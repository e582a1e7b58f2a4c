"""Wrong reporters: each makes a summary from the right events in a wrong way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dlio_benchmark.metrics.events import Phase, RankRecord, StepTimes
from verification.contracts.metrics import Records, Report, product_report

Change = Callable[[dict[str, Any], Records], None]


def _afterwards(change: Change) -> Report:
    def report(records: Records) -> Mapping[str, Any]:
        summary = copy.deepcopy(dict(product_report(records)))
        change(summary, records)
        return summary

    return report


def _before(change: Callable[[RankRecord], RankRecord]) -> Report:
    return lambda records: product_report([change(record) for record in records])


def _planned_bytes(record: RankRecord) -> RankRecord:
    def claimed(phase: Phase) -> Phase:
        tally = copy.copy(phase.tally)
        tally.bytes_read = tally.bytes_promised
        return replace(phase, tally=tally)

    return replace(record, phases=tuple(map(claimed, record.phases)))


def _changed_times(record: RankRecord, wait: Callable[[int], int]) -> RankRecord:
    def changed(phase: Phase) -> Phase:
        times = phase.step_times
        load = [wait(ns) for ns in times.load_ns]
        end = phase.end_ns - sum(times.load_ns) + sum(load)
        return replace(phase, times=StepTimes(load, times.compute_ns, times.barrier_ns), end_ns=end)

    return replace(record, phases=tuple(map(changed, record.phases)))


def _planned_rate(summary: dict[str, Any], records: Records) -> None:
    for number, phase in enumerate(records[0].phases):
        samples = phase.steps_planned * phase.batch * len(records)
        summary["metric"]["train_throughput_samples_per_second"][number] = samples / phase.seconds


def _one_rank_less(records: Records) -> Mapping[str, Any]:
    return product_report(records[: max(1, len(records) - 1)])


REPORTS: Mapping[str, Report] = {
    "reports-planned-for-read": _before(_planned_bytes),
    "utilization-without-waits": _before(lambda record: _changed_times(record, lambda _: 0)),
    "rounds-the-wait-away": _before(lambda record: _changed_times(record, lambda ns: round(ns / 1e9) * 10**9)),
    "rate-from-planned-samples": _afterwards(_planned_rate),
    "drops-one-rank-from-the-summary": _one_rank_less,
}
