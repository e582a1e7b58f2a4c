"""What shapes the bytes of a data set: as plain values to keep, and as effective values to compare."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

from dlio_benchmark.common.enumerations import Compression, DatasetType
from dlio_benchmark.config.columns import file_columns
from dlio_benchmark.config.decode import OLD_NAMES, at
from dlio_benchmark.config.fields import declared
from dlio_benchmark.config.model import Column, Dataset, Workload
from dlio_benchmark.errors import Issue
from dlio_benchmark.parquet import write_plan

# A number that grows whenever the same configuration begins to give other bytes.
CONTENT_VERSION = 2
SPLIT_KEYS = {DatasetType.TRAIN: "dataset.num_files_train", DatasetType.VALID: "dataset.num_files_eval"}
_COLUMNS = "dataset.parquet.columns"
_SHOWN = 10
_LEVEL = "dataset.compression_level"
_SAMPLE = tuple(
    f"dataset.{name}"
    for name in ("record_length_bytes", "record_length_bytes_stdev", "record_dims", "record_element_type")
)
DEFAULT_LEVELS = {Compression.GZIP: 9, Compression.ZSTD: 1}


def shape_of(workload: Workload) -> dict[str, Any]:
    """Return every key that shapes data with its plain value, in the order of declaration."""
    keys = (path for path, _, key in declared(Workload) if key.shapes_data)
    return {path: plain(at(workload, path)) for path in keys}


def plain(value: Any) -> Any:
    """Return a value as JSON and YAML know it."""
    if isinstance(value, Column):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name != "read"}
    if isinstance(value, Enum):
        return value.value
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value


def with_defaults(tree: Mapping[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``tree`` with the keys of ``shape`` that it does not give itself, under their names or old ones."""
    out = dict(tree)
    for path, value in shape.items():
        *sections, name = path.split(".")
        inner = out
        for section in sections:
            below = inner.get(section) or {}
            if not isinstance(below, Mapping):
                break  # not valid, which is for the decoder to say
            inner[section] = inner = dict(below)
        else:
            if not any(old in inner for section, old, new in OLD_NAMES if [section, new] == [*sections, name]):
                inner.setdefault(name, value)
    return out


def differences(found: Workload, wanted: Workload) -> list[Issue]:
    """Return what differs between the data that two workloads describe, by key; file counts are not compared."""
    evaluates = bool(wanted.dataset.num_files_eval)
    have, want = _effective(found, evaluates), _effective(wanted, evaluates)
    settled = [_COLUMNS, *_SAMPLE] if _same_columns(found.dataset, wanted.dataset) else []
    if found.dataset.compression is not wanted.dataset.compression:
        settled.append(_LEVEL)  # levels of different codecs do not compare
    differ = [
        path
        for path in [*have, *(path for path in want if path not in have)]
        if have.get(path) != want.get(path) and path not in settled
    ]
    spelled = [(path, _spelled(found, path), _spelled(wanted, path)) for path in differ]
    # What is spelled alike differs only in consequence of another key, which says it better.
    named = [one for one in spelled if one[1] != one[2]] or spelled
    return [Issue(path, what) for path, one, other in named for what in _said(path, one, other, found, wanted)]


def _said(path: str, one: str, other: str, found: Workload, wanted: Workload) -> list[str]:
    """Return what differs at a key: columns one by one, any other value as it is spelled."""
    columns = _column_differences(found.dataset, wanted.dataset) if path == _COLUMNS else []
    return columns or [f"the data set has {one}, the configuration wants {other}"]


def _column_differences(found: Dataset, wanted: Dataset) -> list[str]:
    have, want = (
        {column.name: _kind(column) for column in file_columns(one, DatasetType.TRAIN, 0)} for one in (found, wanted)
    )
    out = [f"the configuration wants {name!r}, the data set has {_near(name, have)}" for name in want.keys() - have]
    out += [f"the data set has {name!r}, which the configuration does not name" for name in have.keys() - want]
    out += [
        f"the data set has {name!r} as {have[name]}, the configuration wants it as {want[name]}"
        for name in have.keys() & want
        if have[name] != want[name]
    ]
    if not out and list(have) != list(want):
        out = [f"the data set has them in the order {_cut(', '.join(have))}, the configuration in another one"]
    return sorted(out)[:_SHOWN] + [f"{len(out) - _SHOWN} more differ"] * (len(out) > _SHOWN)


def _kind(column: Column) -> str:
    return f"{column.dtype}[{column.size}]" if column.size != 1 else str(column.dtype)


def _near(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f"{near[0]!r}" if near else f"no such column: {_cut(', '.join(names))}"


def _same_columns(found: Dataset, wanted: Dataset) -> bool:
    """Return whether two ways to describe columns come to the same ones in every file."""
    if any(one.record_length_bytes_stdev and not one.parquet.columns for one in (found, wanted)):
        return False
    have, want = ([plain(column) for column in file_columns(one, DatasetType.TRAIN, 0)] for one in (found, wanted))
    return have == want


def _spelled(workload: Workload, path: str) -> str:
    return _cut(repr(plain(at(workload, path))))


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def _effective(workload: Workload, evaluates: bool) -> dict[str, Any]:
    shape, dataset = shape_of(workload), workload.dataset
    rows = max(1, dataset.num_samples_per_file)
    shape["dataset.parquet.row_group_size"] = group = min(dataset.parquet.row_group_size, rows)
    shape["dataset.parquet.generation_batch_size"] = write_plan.shape_of(
        file_columns(dataset, DatasetType.TRAIN, 0), rows, group, rows_at_once=dataset.parquet.generation_batch_size
    ).page_rows
    shape["dataset.num_subfolders_train"] = _subfolders(dataset.num_subfolders_train)
    shape["dataset.num_subfolders_eval"] = _subfolders(dataset.num_subfolders_eval)
    if not evaluates:
        del shape["dataset.num_subfolders_eval"]
    if dataset.compression_level is None:
        shape[_LEVEL] = DEFAULT_LEVELS.get(dataset.compression)
    _only_what_counts(shape, dataset)
    return shape


def _subfolders(count: int) -> int:
    return count if count > 1 else 0


def _only_what_counts(shape: dict[str, Any], dataset: Dataset) -> None:
    if dataset.parquet.columns:
        for path in _SAMPLE:
            del shape[path]
    elif dataset.record_dims:
        del shape["dataset.record_length_bytes"]
    elif not dataset.record_length_bytes_stdev:
        shape["dataset.record_length_bytes"] = math.isqrt(int(dataset.record_length_bytes)) ** 2
