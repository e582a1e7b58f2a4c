"""What happened in a run, as values: the only input of the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dlio_benchmark.common.enumerations import DatasetType


@dataclass(slots=True)
class Tally:
    """What a rank read in one phase, counted where it was read.

    ``bytes_promised`` is the sum that the footers state for the column chunks of every block of the plan; footers
    themselves are counted apart, in ``footer_bytes``.
    """

    rows: int = 0
    row_groups: int = 0
    blocks: int = 0
    files: int = 0
    requests: int = 0
    bytes_promised: int = 0
    bytes_requested: int = 0
    bytes_read: int = 0
    footer_bytes: int = 0
    io_ns: int = 0
    decode_ns: int = 0
    shuffle_ns: int = 0
    preprocess_ns: int = 0
    device_bytes: int = 0

    def add(self, other: Tally) -> None:
        """Add the counts of ``other``."""
        self.rows += other.rows
        self.row_groups += other.row_groups
        self.blocks += other.blocks
        self.files += other.files
        self.requests += other.requests
        self.bytes_promised += other.bytes_promised
        self.bytes_requested += other.bytes_requested
        self.bytes_read += other.bytes_read
        self.footer_bytes += other.footer_bytes
        self.io_ns += other.io_ns
        self.decode_ns += other.decode_ns
        self.shuffle_ns += other.shuffle_ns
        self.preprocess_ns += other.preprocess_ns
        self.device_bytes += other.device_bytes


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Nanoseconds of each step of a phase: waiting for the batch, computing, and waiting for the other ranks."""

    load_ns: Sequence[int]
    compute_ns: Sequence[int]
    barrier_ns: Sequence[int]

    def __len__(self) -> int:
        return len(self.load_ns)

    def sums(self, first: int, last: int) -> StepSums:
        """Return the sums over all steps, those of the steps ``[first, last)`` apart."""
        load, compute, counted = sum(self.load_ns), sum(self.compute_ns), sum(self.compute_ns[first:last])
        outside = load - sum(self.load_ns[first:last]) + compute - counted
        return StepSums((first, last), len(self), load, compute, sum(self.barrier_ns), counted, outside)


@dataclass(frozen=True, slots=True)
class StepSums:
    """Nanoseconds of ``steps`` steps together: what is left of `StepTimes` when a rank tells it to the others.

    ``window_compute_ns`` is computing in the steps of ``window``, ``outside_ns`` loading and computing in the others.
    """

    window: tuple[int, int]
    steps: int
    load_ns: int
    compute_ns: int
    barrier_ns: int
    window_compute_ns: int
    outside_ns: int

    def __len__(self) -> int:
        return self.steps

    def sums(self, first: int, last: int) -> StepSums:
        """Return the sums, which must be those for the window ``[first, last)``."""
        if (first, last) != self.window:
            msg = f"the sums are those of the window {self.window}, not of {(first, last)}"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True)
class Phase:
    """One pass over a split: an epoch of training, or an evaluation after it.

    ``start_ns`` and ``end_ns`` are of the run's monotonic clock; ``started`` and ``ended`` are UTC, for people.
    """

    epoch: int
    split: DatasetType
    batch: int
    steps_planned: int
    rows_left_out: int
    start_ns: int
    end_ns: int
    started: str
    ended: str
    times: StepTimes | StepSums
    tally: Tally = field(default_factory=Tally)
    resident_share: float | None = None

    @property
    def step_times(self) -> StepTimes:
        """The times of single steps, which only the rank that made them has.

        Raises:
            ValueError: if there are only sums.
        """
        if isinstance(self.times, StepSums):
            msg = "the times of single steps stay with their rank"
            raise ValueError(msg)
        return self.times

    @property
    def seconds(self) -> float:
        """Length of the phase in seconds."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True)
class RankRecord:
    """Everything that one rank has to tell at the end of a run."""

    rank: int
    host: str
    phases: tuple[Phase, ...]
    peak_rss_bytes: int = 0
    start_ns_offset: int = 0
