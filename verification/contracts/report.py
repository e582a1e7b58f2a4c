"""What every result promises: each number in it follows from the files that were read and the steps that were made."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from verification import oracle
from verification.evidence import Recorder

BLOCK = "block1"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked for: files, the columns wanted of them (all if None), ranks, rows per step, epochs."""

    files: Sequence[Path]
    ranks: int
    batch: int
    epochs: int
    columns: Sequence[str] | None = None

    @property
    def steps(self) -> int:
        """Steps of a rank in an epoch, by arithmetic."""
        return sum(oracle.footer(path).rows for path in self.files) // (self.batch * self.ranks)

    @property
    def bytes(self) -> int:
        """Stored bytes of the wanted columns of all files, by their footers."""
        found = [oracle.footer(path) for path in self.files]
        return sum(one.needed(one.types if self.columns is None else self.columns) for one in found)


def strict_json(path: Path) -> dict[str, Any]:
    """Return the content of a file of strict JSON, in which every number is finite."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{path}: {word} is no JSON")

    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return found


def every_rank_did_its_part(evidence: Recorder, out: Path, asked: Asked) -> None:
    """Hold that each rank left the times of every step of every epoch, and that together they are all samples."""
    samples = 0
    for rank in range(asked.ranks):
        path = out / f"{rank}_output.json"
        evidence.equal(path.exists(), True, what="times of a rank")
        times = strict_json(path)
        for epoch in range(1, asked.epochs + 1):
            blocks = [times.get(str(epoch), {}).get(kind, {}).get(BLOCK, []) for kind in ("load", "compute", "proc")]
            evidence.equal([len(block) for block in blocks], [asked.steps] * 3, what="steps of a rank in an epoch")
            samples += len(blocks[0]) * asked.batch
    wanted = asked.epochs * asked.steps * asked.ranks * asked.batch
    evidence.hold(samples, what="samples trained on", at_least=max(1, wanted), at_most=wanted, unit="samples")


def the_summary_follows_from_files_and_steps(evidence: Recorder, out: Path, asked: Asked) -> None:
    """Hold rows, steps, bytes and ranks of the summary to what files and plan say."""
    summary = strict_json(out / "summary.json")
    proof = summary["dlio"]
    evidence.equal((proof["complete"], proof["valid"], proof["problems"]), (True, True, []), what="verdict")
    evidence.equal((summary["num_accelerators"], proof["ranks"]), (asked.ranks, asked.ranks), what="ranks")
    epochs = [epoch for epoch in proof["epochs"] if epoch["split"] == "train"]
    evidence.equal(len(epochs), asked.epochs, what="epochs")
    for epoch in epochs:
        evidence.equal(epoch["steps"], asked.steps, what="steps of an epoch")
        evidence.equal(epoch["rows"], asked.steps * asked.batch * asked.ranks, what="rows of an epoch")
        evidence.hold(
            epoch["bytes_read"], what="bytes read in an epoch", at_least=asked.bytes, at_most=asked.bytes, unit="B"
        )
        evidence.equal(epoch["bytes_requested"], epoch["bytes_read"], what="bytes requested against read")


def the_metrics_follow_from_the_step_times(evidence: Recorder, out: Path, asked: Asked, *, points: float) -> None:
    """Hold utilization and rate to what the times of the steps give, within so many percent points."""
    metric = strict_json(out / "summary.json")["metric"]
    for number in range(asked.epochs):
        per_rank = [_rank_metrics(out, rank, str(number + 1), asked.batch) for rank in range(asked.ranks)]
        au = statistics.fmean(utilization for utilization, _ in per_rank)
        rate = math.fsum(rate for _, rate in per_rank)
        told, told_rate = metric["train_au_percentage"][number], metric["train_throughput_samples_per_second"][number]
        evidence.hold(
            round(told - au, 4),
            what="utilization told against recomputed",
            at_least=-points,
            at_most=points,
            unit="percent points",
        )
        evidence.hold(
            round(100 * (told_rate / rate - 1), 4),
            what="rate told against recomputed",
            at_least=-2 * points,
            at_most=2 * points,
            unit="%",
        )
    mean = statistics.fmean(metric["train_au_percentage"])
    evidence.hold(
        abs(metric["train_au_mean_percentage"] - mean), what="mean utilization against its parts", at_most=1e-9
    )


def _rank_metrics(out: Path, rank: int, epoch: str, batch: int) -> tuple[float, float]:
    times = strict_json(out / f"{rank}_output.json")[epoch]
    stamps = strict_json(out / f"{rank}_per_epoch_stats.json")[epoch][BLOCK]
    begin, end = (datetime.fromisoformat(stamps[name]) for name in ("start", "end"))
    load, compute = times["load"][BLOCK], times["compute"][BLOCK]
    window = (end - begin).total_seconds() - load[0] - compute[0]
    return 100 * sum(compute[1:]) / window, (len(compute) - 1) * batch / window
