"""The columns of the files of a data set, and those that training reads."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from declared_keys import PARQUET, columns, replaced
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ColumnType, DatasetType
from dlio_benchmark.config.columns import (
    LEGACY_COLUMN,
    WIDTHS,
    file_columns,
    mean_columns,
    nominal_row_bytes,
    row_bytes,
    schema_columns,
    wanted_columns,
)
from dlio_benchmark.config.model import Column, Dataset, Parquet, Workload

splits = st.sampled_from(list(DatasetType))


def dataset(**values: Any) -> Dataset:
    return dataclasses.replace(PARQUET.dataset, **values)


@given(length=st.integers(1, 2**31) | st.floats(1, 2**31), index=st.integers(0, 10**6), split=splits)
def test_without_columns_a_file_has_the_largest_square_that_fits_the_record_length(
    length: float, index: int, split: DatasetType
) -> None:
    (column,) = file_columns(dataset(record_length_bytes=length), split, index)
    side = math.isqrt(column.size)
    assert (column.name, column.dtype) == (LEGACY_COLUMN, ColumnType.UINT8)
    assert side * side == column.size <= length < (side + 1) ** 2


@given(dims=st.lists(st.integers(1, 50), min_size=1, max_size=4), index=st.integers(0, 99), split=splits)
def test_record_dims_give_the_number_of_elements(dims: list[int], index: int, split: DatasetType) -> None:
    wanted = dataset(record_dims=tuple(dims), record_element_type="float32")
    assert file_columns(wanted, split, index) == (Column("data", ColumnType.FLOAT32, math.prod(dims)),)
    assert schema_columns(wanted) == file_columns(wanted, split, index)


@given(stdev=st.floats(1, 1e6), seed=st.integers(0, 2**63 - 1), index=st.integers(0, 10**6), split=splits)
def test_a_spread_of_sizes_is_a_function_of_seed_split_and_file(
    stdev: float, seed: int, index: int, split: DatasetType
) -> None:
    spread = dataset(record_length_bytes_stdev=stdev, seed=seed)
    (column,) = file_columns(spread, split, index)
    assert file_columns(spread, split, index) == (column,)
    assert column.size >= 1
    assert schema_columns(spread) == (dataclasses.replace(column, size=0),)
    assert mean_columns(spread) == file_columns(dataset(), split, index)


def test_a_spread_of_sizes_differs_between_files_and_splits_and_keeps_its_mean() -> None:
    spread = dataset(record_length_bytes=1e6, record_length_bytes_stdev=1e5)
    train, valid = ([file_columns(spread, split, n)[0].size for n in range(400)] for split in DatasetType)
    assert train != valid
    assert len(set(train)) > 300
    assert np.mean(train) == pytest.approx(1e6, rel=0.02)
    assert np.std(train) == pytest.approx(1e5 / math.sqrt(2), rel=0.2)


@given(drawn=st.lists(columns(), min_size=1, max_size=5, unique_by=lambda column: column.name), split=splits)
def test_configured_columns_are_the_columns_of_every_file(drawn: list[Column], split: DatasetType) -> None:
    workload = replaced(PARQUET, "dataset.parquet.columns", tuple(drawn))
    assert file_columns(workload.dataset, split, 3) == schema_columns(workload.dataset) == tuple(drawn)
    assert wanted_columns(workload) == tuple(column for column in drawn if column.read)


@given(drawn=st.lists(columns(), min_size=1, max_size=5, unique_by=lambda column: column.name), data=st.data())
def test_options_of_the_storage_narrow_the_columns_by_name(drawn: list[Column], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([column.name for column in drawn] + ["absent"]), unique=True))
    workload = replaced(PARQUET, "dataset.parquet.columns", tuple(drawn))
    wanted = wanted_columns(replaced(workload, "storage.storage_options", {"columns": names}))
    readable = {column.name for column in drawn if column.read}
    assert [column.name for column in wanted] == names
    assert all(column in drawn for column in wanted if column.name in readable)


@pytest.mark.parametrize("options", [None, {}, {"columns": None}, {"columns": "data"}])
def test_options_without_a_list_of_columns_change_nothing(options: dict[str, Any] | None) -> None:
    assert wanted_columns(replaced(PARQUET, "storage.storage_options", options)) == schema_columns(PARQUET.dataset)


@given(drawn=st.lists(columns(), max_size=5))
def test_the_bytes_of_a_row_are_the_widths_that_arrow_stores(drawn: list[Column]) -> None:
    arrow = {"bool": 1, "string": 1, "binary": 1, "list": 4}
    widths = {kind: arrow.get(kind.value) or pa.type_for_alias(kind.value).bit_width // 8 for kind in ColumnType}
    assert row_bytes(tuple(drawn)) == sum(column.size * widths[column.dtype] for column in drawn)


def test_the_nominal_bytes_of_a_row_are_the_columns_the_dims_or_the_configured_record() -> None:
    plain = Dataset(record_length_bytes=1000, record_element_type="float32")
    assert nominal_row_bytes(plain) == 1000
    assert nominal_row_bytes(dataclasses.replace(plain, record_dims=(10, 5))) == 200
    parquet = Parquet(columns=(Column("a", ColumnType.INT16, 3), Column("b", ColumnType.FLOAT64, 2, read=False)))
    assert nominal_row_bytes(dataclasses.replace(plain, parquet=parquet)) == 22


def test_every_column_type_has_a_width() -> None:
    assert set(WIDTHS) == set(ColumnType)


def test_a_default_workload_reads_its_single_column() -> None:
    assert wanted_columns(Workload()) == (Column("data", ColumnType.UINT8, 65536),)
