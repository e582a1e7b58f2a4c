"""Wrong results: each takes the files of a right one and says what a wrong engine or reporter would say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Spoil = Callable[[Path], None]


def spoiled(name: str, out: Path, folder: Path) -> Path:
    """Return a copy of the results in ``out``, as the saboteur ``name`` would have left them."""
    copy = folder / name
    shutil.copytree(out, copy)
    RESULTS[name](copy)
    return copy


def _change(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _ranks(out: Path) -> list[Path]:
    return sorted(out.glob("[0-9]*_output.json"))


def _blocks(times: dict[str, Any]) -> list[dict[str, Any]]:
    return [epoch for name, epoch in times.items() if name.isdigit()]


def _last_rank_idle(out: Path) -> None:
    def idle(times: dict[str, Any]) -> None:
        for epoch in _blocks(times):
            for kind in ("load", "proc", "compute"):
                epoch[kind]["block1"] = []

    _change(_ranks(out)[-1], idle)
    _scale_epochs(out, ("rows", "bytes_read", "bytes_requested"), 1 - 1 / len(_ranks(out)))


def _last_rank_early(out: Path) -> None:
    def early(times: dict[str, Any]) -> None:
        for epoch in _blocks(times):
            for kind in ("load", "proc", "compute"):
                del epoch[kind]["block1"][-1:]

    _change(_ranks(out)[-1], early)
    _scale_epochs(out, ("rows", "steps"), 0.5)


def _scale_epochs(out: Path, keys: tuple[str, ...], factor: float) -> None:
    def scale(summary: dict[str, Any]) -> None:
        for epoch in summary["dlio"]["epochs"]:
            for key in keys:
                epoch[key] = int(epoch[key] * factor)

    _change(out / "summary.json", scale)


def _without_times(times: dict[str, Any]) -> None:
    for epoch in _blocks(times):
        for kind in ("load", "proc", "compute"):
            epoch[kind].clear()


def _no_samples(out: Path) -> None:
    for path in _ranks(out):
        _change(path, _without_times)
    _scale_epochs(out, ("rows", "steps", "bytes_read", "bytes_requested"), 0)


def _metric(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Spoil:
    def spoil(out: Path) -> None:
        _change(out / "summary.json", lambda summary: change(summary["metric"], summary))

    return spoil


def _without_waits(metric: dict[str, Any], _summary: dict[str, Any]) -> None:
    metric["train_au_percentage"] = [100.0 for _ in metric["train_au_percentage"]]
    metric["train_au_mean_percentage"] = 100.0


def _planned_rate(metric: dict[str, Any], summary: dict[str, Any]) -> None:
    planned = summary["num_files_train"] * summary["num_samples_per_file"]
    seconds = [epoch["seconds"] for epoch in summary["dlio"]["epochs"] if epoch["split"] == "train"]
    metric["train_throughput_samples_per_second"] = [2 * planned / one for one in seconds]


def _one_rank_less(out: Path) -> None:
    last = _ranks(out)[-1]
    last.unlink()

    def less(summary: dict[str, Any]) -> None:
        ranks = summary["num_accelerators"]
        summary["num_accelerators"] = summary["dlio"]["ranks"] = ranks - 1
        metric = summary["metric"]
        rates = metric["train_throughput_samples_per_second"]
        metric["train_throughput_samples_per_second"] = [rate * (ranks - 1) / ranks for rate in rates]

    _change(out / "summary.json", less)


def _rounded_waits(metric: dict[str, Any], summary: dict[str, Any]) -> None:
    compute = [e["compute_seconds"] / summary["num_accelerators"] for e in summary["dlio"]["epochs"]]
    metric["train_au_percentage"] = [min(100.0, 100 * spent / max(spent, round(spent))) for spent in compute]


def _planned_bytes(out: Path) -> None:
    def nominal(summary: dict[str, Any]) -> None:
        size = summary["num_files_train"] * summary["num_samples_per_file"] * 1000
        for epoch in summary["dlio"]["epochs"]:
            epoch["bytes_read"] = epoch["bytes_requested"] = size

    _change(out / "summary.json", nominal)


RESULTS: Mapping[str, Spoil] = {
    "rank-1-does-nothing": _last_rank_idle,
    "rank-that-returns-early": _last_rank_early,
    "reports-success-with-no-samples": _no_samples,
    "reports-planned-for-read": _planned_bytes,
    "utilization-without-waits": _metric(_without_waits),
    "rate-from-planned-samples": _metric(_planned_rate),
    "drops-one-rank-from-the-summary": _one_rank_less,
    "rounds-the-wait-away": _metric(_rounded_waits),
}
