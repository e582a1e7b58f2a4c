"""The result files: what outside tools read, in the names and units they know, and our own block of proof.

Everything is strict JSON.  Each file is written aside and renamed, and ``summary.json`` comes last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dlio_benchmark import __version__
from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.model import Workload
from dlio_benchmark.metrics.events import Phase, RankRecord
from dlio_benchmark.metrics.summary import (
    GIB,
    MIB,
    Shares,
    Split,
    Window,
    au_percent,
    shares,
    skew,
    split_metrics,
    sums_of,
    throughput,
)
from dlio_benchmark.report.host import Host
from dlio_benchmark.storage.cache import label

BLOCK = "block1"
_PREFIX = {DatasetType.TRAIN: "train", DatasetType.VALID: "eval"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the result of a run is made from."""

    workload: Workload
    ranks: Sequence[RankRecord]
    hosts: Sequence[Host]
    record_bytes: float
    loader: str
    decode: str
    launch: str
    started: str
    ended: str
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    problems: Sequence[str] = ()

    @property
    def window(self) -> Window:
        """Steps that the metrics leave out."""
        metric = self.workload.output.metric
        return Window(metric.exclude_start_steps, metric.exclude_end_steps)

    def split(self, split: DatasetType) -> Split | None:
        """Return the metrics of a split, or None if it was not run."""
        target = self.workload.metric.au
        return split_metrics(self.ranks, split, self.window, record_bytes=self.record_bytes, target=target)


def metric_of(outcome: Outcome) -> dict[str, Any]:
    """Return the mapping ``metric`` of summary.json."""
    out: dict[str, Any] = {}
    for split, prefix in _PREFIX.items():
        numbers = outcome.split(split)
        if numbers is not None:
            out |= {
                f"{prefix}_au_percentage": list(numbers.au_percent.values),
                f"{prefix}_au_mean_percentage": numbers.au_percent.mean,
                f"{prefix}_au_meet_expectation": "success" if numbers.met else "fail",
                f"{prefix}_au_stdev_percentage": numbers.au_percent.stdev,
                f"{prefix}_throughput_samples_per_second": list(numbers.throughput.values),
                f"{prefix}_throughput_mean_samples_per_second": numbers.throughput.mean,
                f"{prefix}_throughput_stdev_samples_per_second": numbers.throughput.stdev,
                f"{prefix}_io_mean_MB_per_second": numbers.nominal_mib_per_s,
                f"{prefix}_io_stdev_MB_per_second": numbers.nominal_mib_per_s_stdev,
            }
    return out


def phase_proof(phases: Sequence[Phase], window: Window) -> dict[str, Any]:
    """Return what all ranks together read in one phase; times are seconds summed over ranks.

    The page cache is that of the host with the largest share in it: one that is warm makes the phase warm.
    """
    tallies = [phase.tally for phase in phases]
    sums = [sums_of(phase, window) for phase in phases]
    first = phases[0]
    resident = [phase.resident_share for phase in phases]
    most = None if None in resident else max(share for share in resident if share is not None)
    seconds = max(phase.seconds for phase in phases)
    read = sum(tally.bytes_read for tally in tallies)
    return {
        "epoch": first.epoch,
        "split": str(first.split),
        "steps": len(first.times),
        "steps_planned": first.steps_planned,
        "rows": sum(tally.rows for tally in tallies),
        "rows_planned": sum(phase.steps_planned * phase.batch for phase in phases),
        "rows_left_out": first.rows_left_out,
        "row_groups": sum(tally.row_groups for tally in tallies),
        "files": sum(tally.files for tally in tallies),
        "requests": sum(tally.requests for tally in tallies),
        "bytes_promised": sum(tally.bytes_promised for tally in tallies),
        "bytes_requested": sum(tally.bytes_requested for tally in tallies),
        "bytes_read": read,
        "footer_bytes": sum(tally.footer_bytes for tally in tallies),
        "device_bytes": sum(tally.device_bytes for tally in tallies),
        "seconds": seconds,
        "measured_MiB_per_second": read / MIB / seconds if seconds > 0 else 0.0,
        "io_seconds": sum(tally.io_ns for tally in tallies) / 1e9,
        "decode_seconds": sum(tally.decode_ns for tally in tallies) / 1e9,
        "shuffle_seconds": sum(tally.shuffle_ns for tally in tallies) / 1e9,
        "preprocess_seconds": sum(tally.preprocess_ns for tally in tallies) / 1e9,
        "wait_seconds": sum(one.load_ns for one in sums) / 1e9,
        "compute_seconds": sum(one.compute_ns for one in sums) / 1e9,
        "barrier_seconds": sum(one.barrier_ns for one in sums) / 1e9,
        "cache_before": label(most),
        "cache_resident_share": most,
    }


def _phase_proofs(outcome: Outcome) -> list[dict[str, Any]]:
    phases = zip(*(rank.phases for rank in outcome.ranks), strict=True)
    proofs = [phase_proof(of_ranks, outcome.window) for of_ranks in phases]
    # The kernel counts by process, and a rank hears of none but its own.
    is_known = outcome.loader != "pytorch" or outcome.workload.reader.read_threads == 0
    return proofs if is_known else [proof | {"device_bytes": None} for proof in proofs]


def proof_of(outcome: Outcome) -> dict[str, Any]:
    """Return our own block of summary.json: what was done, and why the metrics may be believed."""
    where = shares(outcome.ranks, outcome.window)
    return {
        "complete": True,
        "valid": not outcome.problems,
        "problems": list(outcome.problems),
        "launch": outcome.launch,
        "version": __version__,
        "ranks": len(outcome.ranks),
        "verdict": where.verdict,
        "seconds": {name: value for name, value in asdict(where).items() if name.endswith("_s")},
        "skew": _skew_of(outcome),
        "read_mode": str(outcome.workload.dataset.parquet.read_mode),
        "decode": outcome.decode,
        "loader": outcome.loader,
        "record_bytes": outcome.record_bytes,
        "batch_size": outcome.workload.reader.batch_size,
        "batch_size_eval": outcome.workload.reader.batch_size_eval,
        "compression": str(outcome.workload.dataset.compression),
        "format": str(outcome.workload.dataset.format),
        "epochs": _phase_proofs(outcome),
        "peak_rss_bytes": [rank.peak_rss_bytes for rank in outcome.ranks],
        "notes": [*outcome.warnings, *outcome.notes],
    }


def _skew_of(outcome: Outcome) -> dict[str, Any] | None:
    found = skew(outcome.ranks, outcome.window)
    if found is None:
        return None
    return {
        "busiest_rank": found.rank,
        "host": found.host,
        "busy_seconds": found.busy_s,
        "median_of_others_seconds": found.others_s,
        "ratio": found.ratio,
        "straggler": found.is_straggler,
    }


def straggler_line(outcome: Outcome) -> str:
    """Return a line that names the rank which held up the others, or nothing if none did."""
    found = skew(outcome.ranks, outcome.window)
    if found is None or not found.is_straggler:
        return ""
    return (
        f"straggler: rank {found.rank} on host {found.host} was busy for {found.busy_s:.2f} s "
        f"with loading and computing, the median of the others for {found.others_s:.2f} s"
    )


def summary_of(outcome: Outcome) -> dict[str, Any]:
    """Return summary.json."""
    dataset = outcome.workload.dataset
    per_host = len(outcome.ranks) // max(1, len(outcome.hosts))
    samples = per_host * dataset.num_samples_per_file * dataset.num_files_train // max(1, len(outcome.ranks))
    data_gib = samples * outcome.record_bytes / GIB
    first = outcome.hosts[0]
    return {
        "start": outcome.started,
        "end": outcome.ended,
        "num_accelerators": len(outcome.ranks),
        "num_hosts": len(outcome.hosts),
        "hostname": first.hostname,
        "metric": metric_of(outcome),
        "num_files_train": dataset.num_files_train,
        "num_files_eval": dataset.num_files_eval,
        "num_samples_per_file": dataset.num_samples_per_file,
        "host_cpu_count": [host.cpu_count for host in outcome.hosts],
        "host_processor_name": first.processor,
        "potential_caching": [int(host.memory_gib > data_gib) for host in outcome.hosts],
        "host_cpuinfo": first.cpuinfo,
        "host_meminfo": first.meminfo,
        "host_memory_GB": [host.memory_gib for host in outcome.hosts],
        "data_size_per_host_GB": data_gib,
        "epochs": sum(phase.split is DatasetType.TRAIN for phase in outcome.ranks[0].phases),
        "dlio": proof_of(outcome),
    }


def rank_output(record: RankRecord, host: Host, window: Window, *, data_gib: float) -> dict[str, Any]:
    """Return {rank}_output.json: times in seconds per step, by epoch and block."""
    out: dict[str, Any] = {
        "host_memory_GB": host.memory_gib,
        "host_cpu_count": host.cpu_count,
        "host_processor_name": host.processor,
        "potential_caching": int(host.memory_gib > data_gib),
        "host_cpuinfo": host.cpuinfo,
        "host_meminfo": host.meminfo,
        "hostname": host.hostname,
    }
    for phase in record.phases:
        epoch = out.setdefault(str(phase.epoch), {name: {} for name in ("load", "proc", "compute", "throughput", "au")})
        name = BLOCK if phase.split is DatasetType.TRAIN else "eval"
        times = phase.step_times
        epoch["load"][name] = [ns / 1e9 for ns in times.load_ns]
        epoch["proc"][name] = [(a + b) / 1e9 for a, b in zip(times.load_ns, times.compute_ns, strict=True)]
        epoch["compute"][name] = [ns / 1e9 for ns in times.compute_ns]
        epoch["throughput"][name] = throughput(phase, window)
        epoch["au"][name] = au_percent(phase, window)
        epoch["host_meminfo"] = host.meminfo
        epoch["end"] = phase.ended
    return out


def rank_epochs(record: RankRecord) -> dict[str, Any]:
    """Return {rank}_per_epoch_stats.json: when each epoch and block began and ended."""
    out: dict[str, Any] = {}
    for phase in record.phases:
        stamp = {"start": phase.started, "end": phase.ended, "duration": f"{phase.seconds:.2f}"}
        epoch = out.setdefault(str(phase.epoch), dict(stamp))
        epoch[BLOCK if phase.split is DatasetType.TRAIN else "eval"] = stamp
    return out


def not_finite(value: Any, path: str = "") -> list[str]:
    """Return the paths of all numbers in ``value`` that are not finite."""
    if isinstance(value, float):
        return [] if math.isfinite(value) else [path]
    if isinstance(value, Mapping):
        return [found for name, one in value.items() for found in not_finite(one, f"{path}.{name}".lstrip("."))]
    if isinstance(value, list | tuple):
        return [found for number, one in enumerate(value) for found in not_finite(one, f"{path}[{number}]")]
    return []


def metric_lines(outcome: Outcome) -> str:
    """Return the block of ``[METRIC]`` lines at the end of a run."""
    rule = "=" * 58
    lines = [rule, f"Number of Simulated Accelerators: {len(outcome.ranks)} "]
    train, evaluation = outcome.split(DatasetType.TRAIN), outcome.split(DatasetType.VALID)
    if train is not None:
        lines += [
            f"Training Accelerator Utilization [AU] (%): {train.au_percent.mean:.4f} ({train.au_percent.stdev:.4f})",
            f"Training Throughput (samples/second): {train.throughput.mean:.4f} ({train.throughput.stdev:.4f})",
            f"Training I/O Throughput (MiB/second): {_mean_and_spread(train, 4)}",
            f"train_au_meet_expectation: {'success' if train.met else 'fail'}",
        ]
    if evaluation is not None:
        au, rate = evaluation.au_percent, evaluation.throughput
        lines += [
            f"Eval Accelerator Utilization [AU] (%): {au.mean:.4f} ({au.stdev:.4f})",
            f"Eval Throughput (samples/second): {rate.mean:.6f} ({rate.stdev:.6f})",
            f"Eval Throughput (MiB/second): {_mean_and_spread(evaluation, 6)}",
            f"eval_au_meet_expectation: {'success' if evaluation.met else 'fail'}",
        ]
    return "\n".join(f"[METRIC] {line}" for line in [*lines, rule])


def _mean_and_spread(split: Split, digits: int) -> str:
    return f"{split.nominal_mib_per_s:.{digits}f} ({split.nominal_mib_per_s_stdev:.{digits}f})"


def verdict_line(outcome: Outcome) -> str:
    """Return one line that says what the run showed, or why it shows nothing."""
    if outcome.problems:
        return "INVALID: " + "; ".join(outcome.problems[:3])
    where: Shares = shares(outcome.ranks, outcome.window)
    train = outcome.split(DatasetType.TRAIN)
    au = f"AU {train.au_percent.mean:.1f} %, " if train else ""
    rate = f"{train.throughput.mean:,.0f} samples/s, " if train else ""
    proofs = _phase_proofs(outcome)
    read = sum(proof["bytes_read"] for proof in proofs)
    rows = sum(proof["rows"] for proof in proofs)
    return (
        f"VALID on {len(outcome.ranks)} rank(s): {au}{rate}{where.verdict}; "
        f"{rows:,} rows and {read / MIB:,.1f} MiB read as promised by the footers; "
        f"cache before the first epoch: {proofs[0]['cache_before'] if proofs else 'unknown'}"
    )
