"""``reports reportgen``: every leaf of a results tree judged, listed and written to results.json and results.csv."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlio_benchmark.errors import DataMissingError, DlioError
from dlio_benchmark.mlpstorage import results, rules
from dlio_benchmark.mlpstorage.metadata import redacted
from dlio_benchmark.mlpstorage.parameters import flatten
from dlio_benchmark.mlpstorage.rules import Finding, Verdict
from dlio_benchmark.mlpstorage.status import Status

_LAYOUT = "<results-dir>/training/<model>/<command>/<YYYYMMDD_HHMMSS>/"
_MEASURED = frozenset({"run"})


class LeafError(DlioError):
    """A leaf cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """One leaf, read and judged; ``record`` is what the reports hold of it."""

    path: Path
    model: str
    accelerator: str
    findings: tuple[Finding, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None

    @property
    def verdict(self) -> Verdict:
        """The division that the run belongs to."""
        return rules.verdict(self.findings)


def reportgen(results_dir: str, output_dir: str | None) -> Status:
    """Judge every run below ``results_dir``, print the verdicts, and write the two report files.

    Raises:
        DataMissingError: if there is no such folder.
    """
    root = Path(results_dir)
    if not root.is_dir():
        raise DataMissingError(f"--results-dir: there is no folder '{root}'; expected {_LAYOUT}")
    runs = [judged for path in leaves(root) if (judged := read_run(path)) is not None]
    output = Path(output_dir) if output_dir else root
    output.mkdir(parents=True, exist_ok=True)
    records = [run.record for run in runs if run.record is not None]
    results.write_json(output / "results.json", records)
    write_csv(output / "results.csv", records)
    _print(runs, output)
    return Status.SUCCESS


def leaves(root: Path) -> list[Path]:
    """Return the folders below ``root`` that hold the metadata of one command, in the order of their paths."""
    return sorted({path.parent for path in root.rglob("*_metadata.json") if not path.name.startswith(".")})


def read_run(leaf: Path) -> Run | None:
    """Return the run in ``leaf``, INVALID with the reason if it cannot be read; None for other commands."""
    try:
        metadata = _metadata(leaf)
    except LeafError as error:
        return _broken(leaf, str(error))
    command = str(metadata.get("command") or _args(metadata).get("command") or "")
    if command not in _MEASURED or (metadata.get("args") or {}).get("what_if"):
        return None
    try:
        return _judged(leaf, metadata, _summary(leaf, metadata))
    except LeafError as error:
        return _broken(leaf, str(error), metadata)


def _args(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    args = metadata.get("args")
    return args if isinstance(args, Mapping) else {}


def _metadata(leaf: Path) -> Mapping[str, Any]:
    files = sorted(leaf.glob("*_metadata.json"))
    if len(files) != 1:
        raise LeafError(f"{len(files)} metadata files, expected one")
    return _object(files[0])


def _summary(leaf: Path, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    path = leaf / "summary.json"
    if not path.exists():
        reason = str(metadata.get("failure") or "").partition("\n")[0]
        raise LeafError(f"no summary.json{': ' + reason if reason else ''}")
    return _object(path)


def _object(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in ``path``; LeafError with the reason if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LeafError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise LeafError(f"{path.name} holds no object")
    return content


def _judged(leaf: Path, metadata: Mapping[str, Any], summary: Mapping[str, Any]) -> Run:
    """Return the run whose metadata and summary are given, with the record of both."""
    metrics = summary.get("metric")
    if not isinstance(metrics, Mapping) or not metrics:
        raise LeafError("summary.json has no metrics")
    workload = metadata.get("parameters") or metadata.get("combined_params")
    if not isinstance(workload, Mapping):
        raise LeafError("the metadata has no parameters")
    model = str(metadata.get("model") or _args(metadata).get("model"))
    accelerator = str(metadata.get("accelerator") or _args(metadata).get("accelerator_type"))
    overridden = metadata.get("override_parameters", metadata.get("params_dict"))
    findings = (
        *_ending(metadata, summary),
        *rules.judge(
            rules.Subject(
                command="run",
                model=model,
                workload=workload,
                overridden=overridden if isinstance(overridden, Mapping) else {},
                accelerators=_count(summary, "num_accelerators"),
                memory_bytes=_memory_bytes(metadata, summary),
                loader=_loader(summary),
            )
        ),
    )
    record = {
        "run_id": str(leaf),
        "benchmark_type": "training",
        "model": model,
        "accelerator": accelerator,
        "command": "run_benchmark",
        "parameters": redacted(workload),
        "system_info": _system(metadata, summary),
        "metrics": dict(metrics),
        "verification": rules.verdict(findings).name,
        "issues": [str(finding) for finding in findings],
    }
    return Run(leaf, model, accelerator, findings, metrics, record)


def _ending(metadata: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield findings about a run that did not end well, or whose accelerators waited too much."""
    status = metadata.get("exit_status")
    if status not in (None, 0):
        reason = str(metadata.get("failure") or "").partition("\n")[0]
        yield Finding(Verdict.INVALID, f"the command ended with status {status}: {reason}")
    proof = summary.get("dlio")
    if isinstance(proof, Mapping):
        yield from (Finding(Verdict.INVALID, flaw) for flaw in results.flaws_of_proof(proof))
    metric = summary.get("metric")
    if isinstance(metric, Mapping) and metric.get("train_au_meet_expectation") == "fail":
        yield Finding(Verdict.INVALID, "the accelerators' utilization is below the expectation")


def _loader(summary: Mapping[str, Any]) -> str | None:
    """Return the loader that the engine names in its own block of the summary, if it does."""
    proof = summary.get("dlio")
    loader = proof.get("loader") if isinstance(proof, Mapping) else None
    return None if loader is None else str(loader)


def _count(summary: Mapping[str, Any], key: str) -> int:
    value = summary.get(key)
    if not isinstance(value, int) or value < 1:
        raise LeafError(f"summary.json: '{key}' is {value!r}, expected a number of at least 1")
    return value


def _total(summary: Mapping[str, Any], key: str) -> float:
    """Return the sum of a list of numbers of the summary, one per host."""
    values = summary.get(key)
    if not isinstance(values, Sequence) or not all(isinstance(value, int | float) for value in values):
        raise LeafError(f"summary.json: '{key}' is {values!r}, expected a list of numbers")
    return sum(values)


def _memory_bytes(metadata: Mapping[str, Any], summary: Mapping[str, Any]) -> int:
    """Return the clients' memory: as declared for the run, else as the engine measured it."""
    declared = metadata.get("system_info")
    if isinstance(declared, Mapping) and isinstance(declared.get("total_memory_bytes"), int):
        return int(declared["total_memory_bytes"])
    return int(_total(summary, "host_memory_GB") * 2**30)


def _system(metadata: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "total_memory_bytes": _memory_bytes(metadata, summary),
        "total_cores": int(_total(summary, "host_cpu_count")),
    }


def _broken(leaf: Path, reason: str, metadata: Mapping[str, Any] | None = None) -> Run:
    """Return the run of a leaf that cannot be used, for the reason given."""
    known = metadata or {}
    model = str(known.get("model") or leaf.parent.parent.name)
    return Run(leaf, model, str(known.get("accelerator") or "-"), (Finding(Verdict.INVALID, reason),))


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write ``records`` flattened, one per line, the columns by name; what is not a number there stays empty.

    The file appears whole or not at all.

    Raises:
        CannotCreateError: if the file cannot be written.
    """
    rows = [
        {
            key: value
            for key, value in flatten(record).items()
            if value is not None and not (isinstance(value, float) and math.isnan(value))
        }
        for record in records
    ]
    columns = sorted({key for row in rows for key in row})
    stream = io.StringIO(newline="")
    if columns:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    results.write_text(path, stream.getvalue())


def _print(runs: Sequence[Run], output: Path) -> None:
    """Print the verdict of each run, then of each workload, then where the reports are."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=200)
    table = Table("verdict", "model", "accelerator", "AU %", "samples/s", "run", title=f"{len(runs)} runs")
    for run in runs:
        au, rate = (_number(run.metrics.get(name)) for name in _SHOWN)
        table.add_row(run.verdict.name, run.model, run.accelerator, au, rate, run.path.name)
    console.print(table)
    for run in runs:
        for finding in run.findings:
            console.print(f"{run.path}: {finding}", soft_wrap=True)
    for (model, accelerator), findings in submissions(runs).items():
        for finding in findings:
            console.print(f"submission {model} {accelerator}: {finding}", soft_wrap=True)
    console.print(f"Reports: {output / 'results.json'}, {output / 'results.csv'}", soft_wrap=True)


_SHOWN = ("train_au_mean_percentage", "train_throughput_mean_samples_per_second")


def submissions(runs: Sequence[Run]) -> dict[tuple[str, str], tuple[Finding, ...]]:
    """Return the findings about each workload's runs together."""
    verdicts: dict[tuple[str, str], list[Verdict]] = {}
    for run in runs:
        verdicts.setdefault((run.model, run.accelerator), []).append(run.verdict)
    return {workload: rules.judge_submission(found) for workload, found in sorted(verdicts.items())}


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) and math.isfinite(value) else "-"
