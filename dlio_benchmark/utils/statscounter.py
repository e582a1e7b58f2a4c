"""DLIO's face of the metrics: the published formulas on its own records of seconds per step."""

from __future__ import annotations

import time
from typing import Any

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.metrics.events import Phase, StepTimes
from dlio_benchmark.metrics.summary import Window, au_percent, throughput

_NS = 1e9


class StatsCounter:
    """Metrics of blocks, kept in ``output[epoch][name]["block<n>"]``; usable on any object with these attributes."""

    output: dict[Any, dict[str, dict[str, Any]]]
    batch_size: int
    metric_start_step: int
    metric_end_step: int
    start_timestamp: float
    end_timestamp: float
    start_time_loading: float
    start_time_compute: float

    def compute_metrics_train(self, epoch: Any, block: int) -> None:
        """Set AU in percent and samples per second of a block; both are 0 without a step or time that counts."""
        of_epoch, key = self.output[epoch], f"block{block}"
        phase = _phase(self, of_epoch["proc"][key], of_epoch["compute"][key])
        steps = len(phase.times)
        window = Window(self.metric_start_step, steps - 1 - self.metric_end_step)
        of_epoch["au"][key] = au_percent(phase, window)
        of_epoch["throughput"][key] = throughput(phase, window)

    def batch_processed(self, epoch: Any, step: int, block: int) -> None:  # noqa: ARG002 - DLIO's arguments
        """Note the times of a step that ends now, in the wall clock of its two starts."""
        now, key = time.time(), f"block{block}"
        of_epoch = self.output[epoch]
        of_epoch["proc"].setdefault(key, []).append(now - self.start_time_loading)
        of_epoch["compute"].setdefault(key, []).append(now - self.start_time_compute)


def _phase(counter: Any, proc_s: list[float], compute_s: list[float]) -> Phase:
    """Return a block as the metrics know it, from seconds per step."""
    compute = [round(seconds * _NS) for seconds in compute_s]
    load = [round(seconds * _NS) - spent for seconds, spent in zip(proc_s, compute, strict=True)]
    return Phase(
        epoch=0,
        split=DatasetType.TRAIN,
        batch=counter.batch_size,
        steps_planned=len(compute),
        rows_left_out=0,
        start_ns=round(counter.start_timestamp * _NS),
        end_ns=round(counter.end_timestamp * _NS),
        started="",
        ended="",
        times=StepTimes(load, compute, [0] * len(compute)),
    )
