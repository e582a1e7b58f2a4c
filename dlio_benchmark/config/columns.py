"""The columns that the files of a data set have, and those that a run reads."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dlio_benchmark.common.enumerations import ColumnType, DatasetType
from dlio_benchmark.config.model import Column, Dataset, Workload
from dlio_benchmark.plan.order import mixed

LEGACY_COLUMN = "data"


def file_columns(dataset: Dataset, split: DatasetType, index: int) -> tuple[Column, ...]:
    """Return the columns of file ``index``: the configured ones, or the single column ``data``.

    The single column holds d1 x d2 elements per row.  d1 and d2 are ``floor(sqrt(record_length_bytes))``; with a
    spread they are drawn per file from normal(d, stdev / 2 / sqrt(length)), at least 1, as a function of
    (seed, split, index) alone.
    """
    if dataset.parquet.columns:
        return dataset.parquet.columns
    dtype = ColumnType(dataset.record_element_type)
    return (Column(LEGACY_COLUMN, dtype, _elements(dataset, split, index)),)


def schema_columns(dataset: Dataset) -> tuple[Column, ...]:
    """Return the columns that every file has; ``size`` 0 where the size differs between files."""
    if dataset.parquet.columns or not dataset.record_length_bytes_stdev:
        return file_columns(dataset, DatasetType.TRAIN, 0)
    return (Column(LEGACY_COLUMN, ColumnType(dataset.record_element_type), 0),)


def mean_columns(dataset: Dataset) -> tuple[Column, ...]:
    """Return the columns of a file that is as large as configured, without the spread between files."""
    return file_columns(replace(dataset, record_length_bytes_stdev=0.0), DatasetType.TRAIN, 0)


def wanted_columns(workload: Workload) -> tuple[Column, ...]:
    """Return the columns that training reads, in the configured order.

    ``storage.storage_options.columns`` narrows them by name; a name that is not configured is left to the reader,
    which reports it with the columns of the file.
    """
    columns = tuple(column for column in schema_columns(workload.dataset) if column.read)
    named = (workload.storage.storage_options or {}).get("columns")
    if not isinstance(named, list | tuple):
        return columns
    known = {column.name: column for column in columns}
    return tuple(known.get(str(name), Column(str(name))) for name in named)


def row_bytes(columns: tuple[Column, ...]) -> int:
    """Return the payload of a row in bytes: size times the width of an element, a boolean counting one byte."""
    return sum(column.size * WIDTHS[column.dtype] for column in columns)


def nominal_row_bytes(dataset: Dataset) -> float:
    """Return the bytes of a sample by which published rates count: all columns, or the record as it is configured."""
    if dataset.parquet.columns or dataset.record_dims:
        return row_bytes(schema_columns(dataset))
    return dataset.record_length_bytes


WIDTHS = {
    ColumnType.FLOAT16: 2,
    ColumnType.FLOAT32: 4,
    ColumnType.FLOAT64: 8,
    ColumnType.INT8: 1,
    ColumnType.INT16: 2,
    ColumnType.INT32: 4,
    ColumnType.INT64: 8,
    ColumnType.UINT8: 1,
    ColumnType.UINT16: 2,
    ColumnType.UINT32: 4,
    ColumnType.UINT64: 8,
    ColumnType.BOOL: 1,
    ColumnType.STRING: 1,
    ColumnType.BINARY: 1,
    ColumnType.LIST: 4,
}


def _elements(dataset: Dataset, split: DatasetType, index: int) -> int:
    if dataset.record_dims:
        return math.prod(dataset.record_dims)
    length = dataset.record_length_bytes
    side = math.isqrt(int(length))
    if not dataset.record_length_bytes_stdev:
        return side * side
    key = mixed(dataset.seed, list(DatasetType).index(split), index)
    spread = dataset.record_length_bytes_stdev / 2 / math.sqrt(length)
    sides = np.random.Generator(np.random.PCG64(key)).normal(side, spread, 2)
    return int(max(1, sides[0])) * int(max(1, sides[1]))
