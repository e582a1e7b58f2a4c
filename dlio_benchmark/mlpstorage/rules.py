"""Whether a run may be submitted: closed, open or invalid, with the reason of each finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from dlio_benchmark.common.enumerations import DataLoaderType
from dlio_benchmark.errors import DlioError
from dlio_benchmark.mlpstorage.models import ACCELERATORS_OF
from dlio_benchmark.mlpstorage.sizing import Clients, least_data, shape_of

LEAST_RUNS = 5


class Verdict(IntEnum):
    """The division a result belongs to; the worst finding decides."""

    CLOSED = 0
    OPEN = 1
    INVALID = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule says about a run."""

    verdict: Verdict
    what: str

    def __str__(self) -> str:
        return f"[{self.verdict.name}] {self.what}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: a command on a model, its effective workload, what the user overrode, and the clients.

    Attributes:
        loader: what made the batches, as the result names it; None before there is a result.
    """

    command: str
    model: str
    workload: Mapping[str, Any]
    overridden: Mapping[str, Any]
    accelerators: int
    memory_bytes: int | None
    loader: str | None = None


_CLOSED_KEYS = frozenset(
    {
        "dataset.num_files_train",
        "dataset.num_subfolders_train",
        "dataset.data_folder",
        "reader.read_threads",
        "reader.computation_threads",
        "reader.transfer_size",
        "reader.prefetch_size",
        "reader.odirect",
        "checkpoint.checkpoint_folder",
        "storage.storage_type",
        "storage.storage_root",
    }
)
_OPEN_KEYS = frozenset({"framework", "dataset.format", "dataset.num_samples_per_file", "reader.data_loader"})
# Set by the front end itself, or without influence on what is measured.
_EXEMPT_KEYS = frozenset(
    {
        "dataset.skip_listing",
        "dataset.listing_validation_interval",
        "dataset.num_files_generated",
        "dataset.total_disk_bytes",
    }
)
_VERDICT_OF_KEY: Mapping[str, Verdict] = MappingProxyType(
    {**dict.fromkeys(_CLOSED_KEYS | _EXEMPT_KEYS, Verdict.CLOSED), **dict.fromkeys(_OPEN_KEYS, Verdict.OPEN)}
)


def judge(subject: Subject) -> tuple[Finding, ...]:
    """Return every finding about ``subject`` that keeps it from being closed, and those that say it is."""
    return (
        *_known_model(subject),
        *_overrides(subject),
        *_reading(subject),
        *_direct_io(subject),
        *_enough_data(subject),
    )


def verdict(findings: Iterable[Finding]) -> Verdict:
    """Return the worst verdict of ``findings``; closed if there are none."""
    return max((finding.verdict for finding in findings), default=Verdict.CLOSED)


def judge_submission(verdicts: Sequence[Verdict]) -> tuple[Finding, ...]:
    """Return the findings about all runs of one workload together."""
    valid = [item for item in verdicts if item is not Verdict.INVALID]
    if len(valid) < LEAST_RUNS:
        return (Finding(Verdict.INVALID, f"{len(valid)} valid runs, at least {LEAST_RUNS} are needed"),)
    worst = max(valid)
    return (Finding(worst, f"{len(valid)} valid runs"),)


def _known_model(subject: Subject) -> Iterable[Finding]:
    if subject.model not in ACCELERATORS_OF:
        known = ", ".join(ACCELERATORS_OF)
        yield Finding(Verdict.INVALID, f"model '{subject.model}' is not one of {known}")


def _overrides(subject: Subject) -> Iterable[Finding]:
    for key, value in subject.overridden.items():
        if key.startswith("workflow.") or key in _EXEMPT_KEYS:
            continue
        found = _VERDICT_OF_KEY.get(key, Verdict.INVALID)
        allowed = {
            Verdict.CLOSED: "is allowed",
            Verdict.OPEN: "is allowed in open only",
            Verdict.INVALID: "is not allowed",
        }
        yield Finding(found, f"override {key}={_brief(value)} {allowed[found]}")


def _reading(subject: Subject) -> Iterable[Finding]:
    """Yield the finding about batches that are made up, whichever of format, loader and result says so."""
    named = {
        "dataset.format": (subject.workload.get("dataset") or {}).get("format"),
        "reader.data_loader": (subject.workload.get("reader") or {}).get("data_loader"),
        "the loader of the result": subject.loader,
    }
    made_up = [name for name, value in named.items() if str(value).strip().lower() == str(DataLoaderType.SYNTHETIC)]
    if made_up:
        yield Finding(Verdict.INVALID, f"no data is read: {made_up[0]} is synthetic")


def _direct_io(subject: Subject) -> Iterable[Finding]:
    if (subject.workload.get("reader") or {}).get("odirect") and subject.model != "unet3d":
        yield Finding(Verdict.INVALID, "reader.odirect is allowed for unet3d only")


def _enough_data(subject: Subject) -> Iterable[Finding]:
    """Yield the finding about the number of files; a data generation has no run to size the data for."""
    if subject.command == "datagen":
        return
    dataset = subject.workload.get("dataset") or {}
    batch_size = (subject.workload.get("reader") or {}).get("batch_size", 1)
    if subject.memory_bytes is None:
        yield Finding(Verdict.INVALID, "the clients' memory is not known, so the least number of files is not either")
        return
    try:
        clients = Clients(subject.memory_bytes, subject.accelerators, int(batch_size))
        least = least_data(shape_of(dataset), clients).files
        files = int(dataset.get("num_files_train", 0))
    except (DlioError, TypeError, ValueError) as error:
        yield Finding(Verdict.INVALID, f"the least number of files cannot be computed: {error}")
        return
    if files < least:
        yield Finding(
            Verdict.INVALID, f"insufficient files: dataset.num_files_train is {files}, a submission needs {least}"
        )


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
