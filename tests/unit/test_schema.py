"""A file's schema is accepted exactly if it holds the configured values, and every difference is named at once."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import SchemaMismatchError
from dlio_benchmark.schema import arrow_type, compare, field, holds

NAMES = {"float16": "halffloat", "float32": "float", "float64": "double"}
columns = st.builds(
    Column, name=st.text(min_size=1, max_size=8), dtype=st.sampled_from(ColumnType), size=st.integers(1, 9)
)
distinct = st.lists(columns, min_size=1, max_size=6, unique_by=lambda column: column.name)


@pytest.mark.parametrize("dtype", list(ColumnType))
@pytest.mark.parametrize("size", [1, 7])
def test_each_column_type_has_its_arrow_type(dtype: ColumnType, size: int) -> None:
    kind = arrow_type(Column("c", dtype, size))
    if dtype in (ColumnType.STRING, ColumnType.BINARY):
        assert str(kind) == dtype.value
    elif dtype is ColumnType.LIST:
        assert str(kind) == f"fixed_size_list<element: float not null>[{size}]"
    else:
        name = NAMES.get(dtype.value, dtype.value)
        assert str(kind) == (name if size == 1 else f"fixed_size_list<element: {name} not null>[{size}]")


def test_a_list_of_any_length_has_size_zero() -> None:
    column = Column("data", ColumnType.UINT8, 0)
    assert arrow_type(column) == pa.list_(pa.field("element", pa.uint8(), nullable=False))
    assert all(holds(column, kind) for kind in (pa.list_(pa.uint8()), pa.list_(pa.uint8(), 5)))


def test_a_field_holds_no_nulls() -> None:
    assert field(Column("x", ColumnType.INT8)) == pa.field("x", pa.int8(), nullable=False)


@given(wanted=distinct, extra=distinct)
def test_a_file_with_the_columns_and_others_is_accepted(wanted: list[Column], extra: list[Column]) -> None:
    names = {column.name for column in wanted}
    others = [column for column in extra if column.name not in names]
    compare(wanted, pa.schema([field(column) for column in [*others, *reversed(wanted)]]), "f")


@given(wanted=distinct, file=distinct)
def test_every_difference_is_named_and_nothing_else(wanted: list[Column], file: list[Column]) -> None:
    schema = pa.schema([field(column) for column in file])
    there = {column.name: column for column in file}
    missing = [column.name for column in wanted if column.name not in there]
    differing = [
        (column, there[column.name])
        for column in wanted
        if column.name in there and arrow_type(column) != arrow_type(there[column.name])
    ]
    if not missing and not differing:
        compare(wanted, schema, "some/file")
        return
    with pytest.raises(SchemaMismatchError) as caught:
        compare(wanted, schema, "some/file")
    lines = str(caught.value).split("\n  - ")
    assert lines[0].startswith("some/file: ")
    assert len(lines) == 2 + len(missing) + len(differing)
    assert all(any(line.startswith(f"{name!r}: missing") for line in lines) for name in missing)
    for ours, theirs in differing:
        (line,) = (line for line in lines if line.startswith(f"{ours.name!r}: is "))
        assert str(arrow_type(ours)) in line
        assert str(arrow_type(theirs)) in line


ACCEPTED = [
    (ColumnType.STRING, 1, pa.large_string()),
    (ColumnType.STRING, 1, pa.dictionary(pa.int32(), pa.string())),
    (ColumnType.BINARY, 4, pa.large_binary()),
    (ColumnType.BINARY, 4, pa.binary(4)),
    (ColumnType.BINARY, 4, pa.binary(5)),
    (ColumnType.FLOAT32, 3, pa.list_(pa.float32())),
    (ColumnType.FLOAT32, 3, pa.large_list(pa.float32())),
    (ColumnType.FLOAT32, 3, pa.list_(pa.float32(), 3)),
    (ColumnType.LIST, 1, pa.list_(pa.float32())),
]
REFUSED = [
    (ColumnType.STRING, 1, pa.binary()),
    (ColumnType.BINARY, 1, pa.string()),
    (ColumnType.FLOAT32, 1, pa.float64()),
    (ColumnType.FLOAT32, 1, pa.list_(pa.float32(), 1)),
    (ColumnType.FLOAT32, 3, pa.float32()),
    (ColumnType.FLOAT32, 3, pa.list_(pa.float64())),
    (ColumnType.FLOAT32, 3, pa.list_(pa.float32(), 4)),
    (ColumnType.INT8, 1, pa.uint8()),
    (ColumnType.INT32, 1, pa.dictionary(pa.int8(), pa.int32())),
    (ColumnType.LIST, 2, pa.struct([("x", pa.float32())])),
]


@pytest.mark.parametrize(("dtype", "size", "kind"), ACCEPTED)
def test_the_same_values_in_another_type_are_accepted(dtype: ColumnType, size: int, kind: pa.DataType) -> None:
    compare([Column("c", dtype, size)], pa.schema([("c", kind)]), "f")


@pytest.mark.parametrize(("dtype", "size", "kind"), REFUSED)
def test_other_values_are_refused(dtype: ColumnType, size: int, kind: pa.DataType) -> None:
    with pytest.raises(SchemaMismatchError, match="is configured"):
        compare([Column("c", dtype, size)], pa.schema([("c", kind)]), "f")


def test_a_missing_column_comes_with_the_nearest_name_and_all_there_are() -> None:
    schema = pa.schema([("features", pa.int8()), ("label", pa.int8())])
    with pytest.raises(SchemaMismatchError) as caught:
        compare([Column("feature", ColumnType.INT8)], schema, "f")
    assert "did you mean 'features'?" in str(caught.value)
    assert "columns of the file: 'features', 'label'" in str(caught.value)


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="2 columns of that name"):
        compare([Column("a", ColumnType.INT8)], pa.schema([("a", pa.int8()), ("a", pa.int8())]), "f")


def test_of_many_columns_some_are_shown() -> None:
    schema = pa.schema([(f"c{number}", pa.int8()) for number in range(500)])
    with pytest.raises(SchemaMismatchError, match="and 480 more"):
        compare([Column("x")], schema, "f")
