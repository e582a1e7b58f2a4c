"""Numbers from events, by the published formulas; pure.

A block is the steps of a phase.  With a steps left out at its start and e at its end, the window holds the other
steps; its time W is the time of the block less the load and compute times of the steps left out:

    AU          = 100 * sum(compute in the window) / W                   percent
    throughput  = steps in the window / W * batch size                   samples per second and rank

Job values per epoch are the mean of AU and the sum of throughput over ranks; the summary gives mean and population
standard deviation over epochs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.metrics.events import Phase, RankRecord, StepSums

MIB = 2**20
GIB = 2**30
_OVERLONG = 1.25


@dataclass(frozen=True, slots=True)
class Window:
    """Steps that metrics leave out at the start and at the end of a block."""

    exclude_start: int = 1
    exclude_end: int = 0

    def bounds(self, steps: int) -> tuple[int, int]:
        """Return the positions ``[first, last)`` of the steps that count."""
        return min(self.exclude_start, steps), max(min(self.exclude_start, steps), steps - self.exclude_end)


@dataclass(frozen=True, slots=True)
class Rate:
    """Mean and population standard deviation over epochs, with the value of each."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the epochs; 0 without any."""
        return statistics.fmean(self.values) if self.values else 0.0

    @property
    def stdev(self) -> float:
        """Population standard deviation over the epochs; 0 without any."""
        return statistics.pstdev(self.values) if self.values else 0.0


@dataclass(frozen=True, slots=True)
class Split:
    """Metrics of one split over all epochs and ranks."""

    au_percent: Rate
    throughput: Rate
    nominal_mib_per_s: float
    nominal_mib_per_s_stdev: float
    met: bool


def sums_of(phase: Phase, window: Window) -> StepSums:
    """Return the sums over the steps of a block, those in the window apart."""
    return phase.times.sums(*window.bounds(len(phase.times)))


def condensed(rank: RankRecord, window: Window) -> RankRecord:
    """Return a record whose phases have sums in place of the times of their steps, of the same size for any steps."""
    return replace(rank, phases=tuple(replace(phase, times=sums_of(phase, window)) for phase in rank.phases))


def window_ns(phase: Phase, window: Window) -> int:
    """Return W of the block in nanoseconds."""
    return phase.end_ns - phase.start_ns - sums_of(phase, window).outside_ns


def au_percent(phase: Phase, window: Window) -> float:
    """Return the accelerator utilization of a rank's block in percent; 0 for an empty window."""
    first, last = window.bounds(len(phase.times))
    spent = window_ns(phase, window)
    return 100.0 * sums_of(phase, window).window_compute_ns / spent if last > first and spent > 0 else 0.0


def throughput(phase: Phase, window: Window) -> float:
    """Return the samples per second of a rank's block; 0 for an empty window."""
    first, last = window.bounds(len(phase.times))
    spent = window_ns(phase, window)
    return (last - first) * phase.batch / (spent / 1e9) if last > first and spent > 0 else 0.0


def split_metrics(
    ranks: Sequence[RankRecord], split: DatasetType, window: Window, *, record_bytes: float, target: float
) -> Split | None:
    """Return the metrics of a split, or None if no phase of it ran.

    Args:
        ranks: records of all ranks.
        split: training or evaluation.
        window: steps left out.
        record_bytes: nominal bytes of a sample, for the nominal rate.
        target: AU that counts as success, as a share.
    """
    per_rank = [[phase for phase in rank.phases if phase.split is split] for rank in ranks]
    if not per_rank or not per_rank[0]:
        return None
    epochs = list(zip(*per_rank, strict=True))
    au = Rate(tuple(statistics.fmean(au_percent(phase, window) for phase in phases) for phases in epochs))
    rate = Rate(tuple(math.fsum(throughput(phase, window) for phase in phases) for phases in epochs))
    scale = record_bytes / MIB
    return Split(au, rate, rate.mean * scale, rate.stdev * scale, au.mean >= 100 * target)


def unmeasured(ranks: Sequence[RankRecord], window: Window) -> list[str]:
    """Return a line for each split that has a phase with no step in the window, so that its metrics are 0."""
    splits = {phase.split: len(phase.times) for rank in ranks for phase in rank.phases if _is_empty(phase, window)}
    return [
        f"nothing is measured of {split}: {steps} steps, of which {window.exclude_start} at the start and "
        f"{window.exclude_end} at the end are left out; AU and throughput count as 0"
        for split, steps in splits.items()
    ]


def overlong(ranks: Sequence[RankRecord], window: Window, asked_s: Mapping[DatasetType, float]) -> list[str]:
    """Return a line for each split whose steps computed much longer on average than ``asked_s``; it raises their AU."""
    out = []
    for split, seconds in asked_s.items():
        sums = [sums_of(phase, window) for rank in ranks for phase in rank.phases if phase.split is split]
        steps = sum(len(one) for one in sums)
        took = sum(one.compute_ns for one in sums) / 1e9 / steps if steps else 0.0
        if took > _OVERLONG * seconds > 0:
            out.append(
                f"{split}: a step computed for {took:.3g} s on average, {seconds:.3g} s were asked for; AU counts the "
                "longer time and is too high: the hosts have too few processors for their ranks"
            )
    return out


def _is_empty(phase: Phase, window: Window) -> bool:
    first, last = window.bounds(len(phase.times))
    return first >= last


def problems(ranks: Sequence[RankRecord], *, decoded: bool) -> list[str]:
    """Return why the run proves nothing, one reason each; empty for a valid run.

    Every phase of every rank must have made the planned steps, delivered their rows, and read the bytes that
    the footers promise; there must be at least one step.
    """
    found = []
    if not any(len(phase.times) for rank in ranks for phase in rank.phases):
        found.append("no step was executed")
    for rank in ranks:
        for phase in rank.phases:
            where = f"rank {rank.rank}, epoch {phase.epoch} ({phase.split})"
            found.extend(f"{where}: {reason}" for reason in _gaps(phase, decoded=decoded))
    return found


def _gaps(phase: Phase, *, decoded: bool) -> list[str]:
    tally, wanted = phase.tally, phase.steps_planned * phase.batch
    pairs = [
        ("steps made", len(phase.times), "planned", phase.steps_planned),
        ("rows delivered", tally.rows, "planned", wanted),
        ("bytes requested", tally.bytes_requested, "promised by the footers", tally.bytes_promised),
        ("bytes read", tally.bytes_read, "promised by the footers", tally.bytes_promised),
    ]
    out = [f"{a} {x}, {b} {y}" for a, x, b, y in pairs if x != y]
    if decoded and wanted and tally.bytes_promised == 0:
        out.append("no byte was read")
    return out


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the time of the ranks went, in seconds summed over ranks and phases, and what bounds the run.

    ``au`` is the share of the window that was spent computing; of all time where no step is in the window.
    """

    compute_s: float
    wait_s: float
    barrier_s: float
    other_s: float
    io_s: float
    decode_s: float
    shuffle_s: float
    preprocess_s: float
    total_s: float
    au: float

    @property
    def verdict(self) -> str:
        """What bounds the run: the accelerators if they compute 95 % of the time that counts for their utilization.

        Else it is the largest of waiting, barrier and the rest, which is the client's; for waiting it is the slower
        stage behind it.
        """
        if self.total_s <= 0 or self.au >= 0.95:
            return "accelerator-bound"
        if self.barrier_s > max(self.wait_s, self.other_s):
            return "barrier-bound"
        waits_for_storage = self.io_s > self.decode_s + self.shuffle_s + self.preprocess_s
        return "storage-bound" if waits_for_storage and self.wait_s >= self.other_s else "client-bound"


def shares(ranks: Sequence[RankRecord], window: Window = Window()) -> Shares:
    """Return where the time of a run went."""
    phases = [phase for rank in ranks for phase in rank.phases]
    sums = [sums_of(phase, window) for phase in phases]
    compute = sum(one.compute_ns for one in sums) / 1e9
    wait = sum(one.load_ns for one in sums) / 1e9
    barrier = sum(one.barrier_ns for one in sums) / 1e9
    total = math.fsum(phase.seconds for phase in phases)
    counted = math.fsum(window_ns(phase, window) for phase in phases if not _is_empty(phase, window)) / 1e9
    computed = compute if counted <= 0 else sum(one.window_compute_ns for one in sums) / 1e9
    return Shares(
        compute_s=compute,
        wait_s=wait,
        barrier_s=barrier,
        other_s=max(0.0, total - compute - wait - barrier),
        io_s=sum(phase.tally.io_ns for phase in phases) / 1e9,
        decode_s=sum(phase.tally.decode_ns for phase in phases) / 1e9,
        shuffle_s=sum(phase.tally.shuffle_ns for phase in phases) / 1e9,
        preprocess_s=sum(phase.tally.preprocess_ns for phase in phases) / 1e9,
        total_s=total,
        au=computed / (counted or total) if counted or total else 0.0,
    )


@dataclass(frozen=True, slots=True)
class Skew:
    """The busiest rank against the others, in seconds; a rank is busy with what is no waiting for other ranks.

    ``others_s`` is the median of the others, ``total_s`` the time of the phases.
    """

    rank: int
    host: str
    busy_s: float
    others_s: float
    total_s: float

    @property
    def ratio(self) -> float:
        """How many times as long as the others it took; 1 where nobody did anything."""
        return self.busy_s / self.others_s if self.others_s > 0 else 1.0

    @property
    def is_straggler(self) -> bool:
        """Whether the rank held up the others for long enough to look after it."""
        return self.busy_s - self.others_s > max(_STRAGGLES * self.others_s, _HOLDS_UP * self.total_s)


_STRAGGLES = 0.25
_HOLDS_UP = 0.05


def skew(ranks: Sequence[RankRecord], window: Window = Window()) -> Skew | None:
    """Return how far the busiest rank stands out, or None for a rank alone."""
    if len(ranks) < 2:
        return None
    busy = [
        sum(one.load_ns + one.compute_ns for one in (sums_of(phase, window) for phase in rank.phases)) for rank in ranks
    ]
    most = max(range(len(ranks)), key=busy.__getitem__)
    others = statistics.median(busy[:most] + busy[most + 1 :])
    total = math.fsum(phase.seconds for phase in ranks[most].phases)
    return Skew(ranks[most].rank, ranks[most].host, busy[most] / 1e9, others / 1e9, total)
