"""What ``datagen`` leaves beside a data set, so that ``run`` finds format, codec and shape by itself.

The manifest holds the data set as it was configured.  ``run`` takes over every value in which its own
workload differs; a value that the user gives explicitly must not contradict the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlio_benchmark import __version__
from dlio_benchmark.config.decode import OLD_NAMES
from dlio_benchmark.config.fields import declared
from dlio_benchmark.config.model import Dataset
from dlio_benchmark.config.shape import DEFAULT_LEVELS, SPLIT_KEYS, plain
from dlio_benchmark.errors import ConfigError, Issue
from dlio_benchmark.mlpstorage.parameters import Override, flatten

FILE_NAME = ".mlps-datagen-manifest.json"
SCHEMA_VERSION = 1

_DECLARED = {name: field for name, field, key in declared(Dataset) if key.shapes_data}
# A run may ask for fewer of these than were generated.
_COUNTS = frozenset(path.removeprefix("dataset.") for path in SPLIT_KEYS.values())
# A run may give its own value: the resized record is what a step sees, not what a file holds.
_FREE = frozenset({"record_length_bytes_resize"})
_OLD = frozenset(old for section, old, new in OLD_NAMES if section == "dataset" and new in _DECLARED)
# Keys below ``dataset`` that a run takes from the data set; all others say how files are made, read or kept.
SHAPING = frozenset({*_DECLARED, *_COUNTS, *_FREE, *_OLD})
# What the engine takes a key for that a configuration does not name.
_DEFAULTS: Mapping[str, Any] = {name: plain(field.default) for name, field, _ in declared(Dataset) if name in SHAPING}
_LEVELS = {str(codec): level for codec, level in DEFAULT_LEVELS.items()}
_WORDS = frozenset({"format", "compression"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """A generated data set: its model, the values that shaped it, and the overrides that the user gave.

    Attributes:
        unsaid: what it has for keys that ``dataset`` does not name; a key in neither is not known.
    """

    path: Path
    model: str
    dataset: Mapping[str, Any]
    overrides: Mapping[str, str]
    unsaid: Mapping[str, Any]


def shaping(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a ``dataset`` section that decide what its files hold, by key below ``dataset``."""
    shape = {key: _plain(key, value) for key, value in flatten(dataset).items() if key in SHAPING}
    return {"format": "parquet", "compression": "none"} | shape


def _plain(key: str, value: Any) -> Any:
    return str(value).lower() if key in _WORDS else value


def document(
    model: str, dataset: Mapping[str, Any], overrides: Sequence[Override], leaf: Path, *, now: datetime
) -> dict[str, Any]:
    """Return the manifest of a data set that was generated from ``dataset``."""
    shape = shaping(dataset)
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model,
        "num_files_train": shape.get("num_files_train"),
        "num_samples_per_file": shape.get("num_samples_per_file", 1),
        "num_subfolders_train": shape.get("num_subfolders_train", 0),
        "record_length_bytes": shape.get("record_length_bytes"),
        "dataset_format": shape["format"],
        "compression": shape["compression"],
        "dataset": shape,
        "overrides": {override.key: override.text for override in overrides if _below_dataset(override.key) in SHAPING},
        "created_at": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "mlpstorage_version": __version__,
        "source_datagen_result_dir": str(leaf),
    }


def read(folder: Path) -> Manifest | None:
    """Return the manifest of the data set in ``folder``, or None if there is none.

    Raises:
        ConfigError: if there is one that cannot be understood.
    """
    path = folder / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(content, Mapping) or content.get("schema_version") != SCHEMA_VERSION:
        raise _unreadable(path, f"expected schema_version {SCHEMA_VERSION}")
    dataset = content.get("dataset")
    overrides = content.get("overrides", {})
    if not isinstance(overrides, Mapping) or not isinstance(dataset, Mapping | None):
        raise _unreadable(path, "'dataset' and 'overrides' must be mappings")
    model, typed = str(content.get("model")), dict(overrides)
    if dataset is None:
        return Manifest(path, model, _foreign(content), typed, unsaid={})
    return Manifest(path, model, shaping(dataset), typed, unsaid=_DEFAULTS)


def _foreign(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shape in a manifest that another front end wrote: it has the fields, no ``dataset``."""
    names = ("num_files_train", "num_samples_per_file", "num_subfolders_train", "record_length_bytes", "compression")
    shape = {name: content[name] for name in names if content.get(name) is not None}
    if content.get("dataset_format") is not None:
        shape["format"] = str(content["dataset_format"]).lower()
    return shape


def _unreadable(path: Path, reason: str) -> ConfigError:
    remedy = "remove it and give format, codec and sizes as options, or generate the data set again"
    return ConfigError([Issue(str(path), f"{reason}; {remedy}")], "the data set's manifest cannot be used")


def taken_over(
    manifest: Manifest, model: str, dataset: Mapping[str, Any], given: Sequence[Override]
) -> tuple[Override, ...]:
    """Return the overrides that make a run's ``dataset`` section describe the generated data set.

    Keys that the user has ``given`` are left alone.

    Raises:
        ConfigError: naming every given value that contradicts the data set.
    """
    explicit = {name: override.value for override in given if (name := _below_dataset(override.key))}
    issues = [
        Issue(f"dataset.{name}", f"the run asks for {_brief(value)}, the data set has {_brief(_of(manifest, name))}")
        for name, value in explicit.items()
        if name in SHAPING - _FREE and _knows(manifest, name) and not _agrees(manifest, name, _plain(name, value))
    ]
    if manifest.model != model:
        issues.insert(0, Issue("model", f"the run asks for {model}, the data set was generated for {manifest.model}"))
    if issues:
        headline = f"the options contradict the generated data set ({manifest.path})"
        raise ConfigError(issues, headline)
    configured = shaping(dataset)
    return tuple(
        _override(manifest, name)
        for name in sorted({*configured, *manifest.dataset})
        if name not in explicit
        and _knows(manifest, name)
        and _of(manifest, name) != configured.get(name, _DEFAULTS.get(name))
    )


def with_all_columns(manifest: Manifest, given: Sequence[Override]) -> tuple[Override, ...]:
    """Return what a run is ``given``, with all columns of the data set in place of those that it names.

    The engine wants to know every column that the files have; those that the run does not name are not read.
    """
    found = _of(manifest, "parquet.columns")
    return tuple(
        Override.of(override.key, _completed(found, override.value))
        if override.key == "dataset.parquet.columns" and found and _kinds(override.value) != _kinds(found)
        else override
        for override in given
    )


def _completed(found: Sequence[Any], asked: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the columns that were ``found``, each read if it is among those ``asked`` for and they do not say no."""
    reads = {
        name: column.get("read", True) if isinstance(column, Mapping) else True
        for column, (name, _, _) in zip(asked, _kinds(asked), strict=True)
    }
    return [
        {"name": name, "dtype": dtype, "size": size, "read": reads.get(name, False)}
        for name, dtype, size in _kinds(found)
    ]


def _kinds(columns: Sequence[Any]) -> list[tuple[str, str, int]]:
    return [_column(column) for column in columns]


def generated_count(manifest: Manifest, overrides: Sequence[Override]) -> tuple[Override, ...]:
    """Return the override that names the number of generated files, if a run asks for fewer of them."""
    count = manifest.dataset.get("num_files_train")
    asked = [override.value for override in overrides if override.key == "dataset.num_files_train"]
    if not asked or count is None or asked[-1] == count:
        return ()
    return (Override.of("dataset.num_files_generated", count),)


def differences(manifest: Manifest, model: str, dataset: Mapping[str, Any]) -> list[Issue]:
    """Return what a data set generated from ``dataset`` would have else than the one that is there."""
    wanted = shaping(dataset)
    issues = [
        Issue(f"dataset.{name}", f"asked for {_brief(wanted.get(name))}, there is {_brief(_of(manifest, name))}")
        for name in sorted({*wanted, *manifest.dataset})
        if wanted.get(name, _DEFAULTS.get(name)) != _of(manifest, name)
    ]
    if manifest.model != model:
        issues.insert(0, Issue("model", f"asked for {model}, there is {manifest.model}"))
    return issues


def _below_dataset(key: str) -> str | None:
    return key.removeprefix("dataset.") if key.startswith("dataset.") else None


def _knows(manifest: Manifest, name: str) -> bool:
    """Return whether it is known what the data set has for ``name``."""
    return name in manifest.dataset or name in manifest.unsaid


def _of(manifest: Manifest, name: str) -> Any:
    """Return what the data set has for ``name``, None if that is not known."""
    return manifest.dataset.get(name, manifest.unsaid.get(name))


def _override(manifest: Manifest, name: str) -> Override:
    """Return the override that gives ``name`` the data set's value, as the user typed it if he did."""
    key, value = f"dataset.{name}", _of(manifest, name)
    text = manifest.overrides.get(key)
    return Override.of(key, value) if text is None else Override(key, text, value)


def _agrees(manifest: Manifest, name: str, asked: Any) -> bool:
    """Return whether a run that asks for ``asked`` can use the data set."""
    found = _of(manifest, name)
    if name == "compression_level":
        usual = _LEVELS.get(str(_of(manifest, "compression")))
        asked, found = (usual if level is None else level for level in (asked, found))
    if name in _COUNTS and isinstance(asked, int) and isinstance(found, int):
        return asked <= found
    if name == "parquet.columns" and asked and found:
        offered = _kinds(found)
        return all(kind in offered for kind in _kinds(asked))
    return bool(asked == found)


def _column(column: Any) -> tuple[str, str, int]:
    """Return what decides a column's content; whether it is read is the run's own choice."""
    if not isinstance(column, Mapping):
        return str(column), "float32", 1
    return str(column.get("name")), str(column.get("dtype", "float32")), column.get("size", 1)


def _brief(value: Any) -> str:
    """Return ``value`` in at most 80 characters."""
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
