"""The Parquet reader gives what other engines give, reads what the footer promises, and says which way it took."""

from __future__ import annotations

import io
import itertools
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from parquet_files import (
    CODECS,
    LAYOUTS,
    NUMBERS,
    PATH,
    by_pyarrow,
    is_read_by_pyarrow,
    number_tables,
    numbers,
    opened,
    other_tables,
    rows_of,
    same,
    stored,
)

from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.errors import DataMissingError, ParquetFileError, SchemaMismatchError
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.base import Reader
from dlio_benchmark.reader.parquet_blocks import ParquetBlocks
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.values import as_arrow

DECODING = st.sampled_from([ReadMode.DEFAULT, ReadMode.ROW_GROUP])
ALL_TYPES = tuple(
    Column(f"{dtype.value}_{size}", dtype, size) for dtype in ColumnType for size in ((1, 3) if dtype.value else ())
)


def wanted_bytes(octets: bytes, names: list[str] | None = None) -> int:
    """Return the bytes of the chunks of ``names``, from the footer as pyarrow reads it."""
    metadata = pq.read_metadata(io.BytesIO(octets))
    schema = metadata.schema.to_arrow_schema()
    total = 0
    for group, leaf in itertools.product(range(metadata.num_row_groups), range(metadata.num_columns)):
        chunk = metadata.row_group(group).column(leaf)
        if names is None or chunk.path_in_schema.split(".")[0] in names:
            total += chunk.total_compressed_size
    assert names is None or set(names) <= set(schema.names)
    return total


def generated(columns: tuple[Column, ...], rows: int, group: int, codec: Compression = Compression.NONE) -> bytes:
    storage = MemoryStorage()
    files = ParquetFiles(columns, codec=codec, row_group_size=group)
    files.write(PlannedFile(DatasetType.TRAIN, 0, PATH, rows), storage)
    return storage.files[PATH]


# What is read


@given(table=number_tables(), layout=LAYOUTS, mode=DECODING, verify=st.booleans())
def test_numbers_are_what_pyarrow_reads(table: pa.Table, layout: dict[str, Any], mode: ReadMode, verify: bool) -> None:
    octets = stored(table, **layout)
    assume(is_read_by_pyarrow(octets, table.num_rows))
    theirs = by_pyarrow(octets)
    file = opened(octets, mode=mode, verify_checksums=verify, block_bytes=2000)
    ours = rows_of(file)
    event(f"viewed: {file.decoded.viewed > 0}, by pyarrow: {file.decoded.by_arrow > 0}")
    assert table.num_rows == 0 or same(ours, theirs.to_pydict())


@given(table=other_tables(), layout=LAYOUTS, mode=DECODING)
def test_all_other_types_under_any_names_are_what_pyarrow_reads(
    table: pa.Table, layout: dict[str, Any], mode: ReadMode
) -> None:
    octets = stored(table, **layout)
    assume(is_read_by_pyarrow(octets, table.num_rows))
    theirs = by_pyarrow(octets)
    ours = rows_of(opened(octets, mode=mode, verify_checksums=True, block_bytes=300))
    assert table.num_rows == 0 or same(ours, {name: theirs[name].to_pylist() for name in table.column_names})


@pytest.mark.parametrize("codec", [Compression.NONE, *(Compression(name) for name in CODECS[1:5])])
def test_generated_files_are_viewed_in_every_column_and_are_what_pyarrow_reads(codec: Compression) -> None:
    octets = generated(ALL_TYPES, 1000, 300, codec)
    file = opened(octets, list(ALL_TYPES), verify_checksums=True)
    assert same(rows_of(file), by_pyarrow(octets).to_pydict())
    assert file.decoded == (4 * len(ALL_TYPES), 0)


@pytest.mark.parametrize("write", [lambda table, path: pl.from_arrow(table).write_parquet(path), None])
def test_files_of_other_engines_are_read(write: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "f.parquet")
    columns = {str(kind): numbers(kind, 5000, 3) for kind in NUMBERS if kind != pa.float16()}
    table = pa.table({**columns, "s": [f"text {n % 70}" for n in range(5000)], "n": [None, 1, 2, None, 3] * 1000})
    if write is None:
        duckdb.from_arrow(table).write_parquet(path, row_group_size=2048, compression="zstd")
    else:
        write(table, path)
    with open(path, "rb") as file:
        octets = file.read()
    assert same(rows_of(opened(octets)), table.to_pydict())


@given(
    rows=st.integers(1, 300),
    layout=LAYOUTS,
    order=st.permutations(["f", "s", "l", "n", "i"]),
    count=st.integers(1, 5),
    mode=DECODING,
)
def test_columns_come_in_the_order_asked_for_and_only_their_bytes_are_read(
    rows: int, layout: dict[str, Any], order: list[str], count: int, mode: ReadMode
) -> None:
    columns = {
        "f": Column("f", ColumnType.FLOAT32),
        "s": Column("s", ColumnType.STRING),
        "l": Column("l", ColumnType.INT16, 4),
        "n": Column("n", ColumnType.BOOL),
        "i": Column("i", ColumnType.INT64),
    }
    table = pa.table(
        {
            "f": numbers(pa.float32(), rows, 1),
            "extra": numbers(pa.int64(), rows, 1),
            "s": [f"x{row % 50}" for row in range(rows)],
            "l": pa.FixedSizeListArray.from_arrays(numbers(pa.int16(), rows * 4, 2), 4),
            "n": numbers(pa.bool_(), rows, 3),
            "i": numbers(pa.int64(), rows, 4),
        }
    )
    octets, names = stored(table, **layout), order[:count]
    unread = [Column(name, columns[name].dtype, read=False) for name in order[count:]]
    file = opened(octets, [columns[name] for name in names] + unread, mode)
    ours = rows_of(file)
    assert list(ours) == names
    assert same(ours, table.select(names).to_pydict())
    assert sum(shape.stored_bytes for shape in file.shapes) == wanted_bytes(octets, names)


# Which way it took: columns of four row groups of 250 rows


REQUIRED, OPTIONAL = False, True


def one_column(kind: pa.DataType, nullable: bool, **layout: Any) -> bytes:
    array = numbers(kind.value_type if pa.types.is_fixed_size_list(kind) else kind, 4000, 5)
    array = pa.FixedSizeListArray.from_arrays(array, type=kind) if pa.types.is_fixed_size_list(kind) else array[:1000]
    table = pa.Table.from_arrays([array], schema=pa.schema([pa.field("c", kind, nullable=nullable)]))
    return stored(table, **{"row_group_size": 250, "use_dictionary": False, "compression": "none", **layout})


@pytest.mark.parametrize("kind", [*NUMBERS, *(pa.list_(kind, 4) for kind in NUMBERS)], ids=str)
@pytest.mark.parametrize("nullable", [REQUIRED, OPTIONAL])
def test_plain_pages_of_fixed_width_without_nulls_are_viewed(kind: pa.DataType, nullable: bool) -> None:
    for version, codec in itertools.product(["1.0", "2.0"], ["none", "zstd", "lz4"]):
        octets = one_column(kind, nullable, data_page_version=version, compression=codec)
        file = opened(octets)
        assert same(rows_of(file), by_pyarrow(octets).to_pydict()), (version, codec)
        bits = kind in (pa.bool_(), pa.list_(pa.bool_(), 4)) and version == "2.0"  # those are runs, not PLAIN
        assert file.decoded == ((0, 4) if bits else (4, 0)), (version, codec)


@pytest.mark.parametrize("kind", [pa.float32(), pa.list_(pa.float64(), 4), pa.int8()], ids=str)
@pytest.mark.parametrize("nullable", [REQUIRED, OPTIONAL])
def test_many_plain_pages_are_put_together(kind: pa.DataType, nullable: bool) -> None:
    octets = one_column(kind, nullable, data_page_size=50, write_batch_size=16)
    file = opened(octets)
    assert same(rows_of(file), by_pyarrow(octets).to_pydict())
    assert file.decoded == (4, 0)


@pytest.mark.parametrize("lengths", [1, 7, 12])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()], ids=str)
@pytest.mark.parametrize("codec", ["none", "snappy"])
def test_text_of_one_length_is_viewed(lengths: int, kind: pa.DataType, codec: str) -> None:
    values = [f"{row:012d}"[-lengths:] for row in range(1000)]
    table = pa.table({"c": pa.array(values).cast(kind)})
    octets = stored(table, use_dictionary=False, row_group_size=250, compression=codec)
    file = opened(octets)
    assert same(rows_of(file), table.to_pydict())
    assert file.decoded == (4, 0)


def test_one_byte_indices_into_an_identity_dictionary_cost_no_copy() -> None:
    columns = (Column("u", ColumnType.UINT8), Column("i", ColumnType.INT8), Column("l", ColumnType.UINT8, 8))
    octets = generated(columns, 4096, 4096)
    file = opened(octets, list(columns))
    block = file.read(0).block
    assert same({name: as_arrow(values).to_pylist() for name, values in block.columns.items()}, rows_of(file))
    assert same(rows_of(file), by_pyarrow(octets).to_pydict())
    assert all(not values.flags.owndata for values in block.columns.values())


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1.0, None] * 500, pa.float32()),
        pa.array(["a", "bb"] * 500),
        pa.array([[1], [2, 3]] * 500),
        pa.array([{"x": 1}] * 1000),
        pa.array([None] * 1000),
    ],
    ids=lambda array: str(array.type),
)
def test_what_cannot_be_viewed_is_decoded(array: pa.Array) -> None:
    file = opened(stored(pa.table({"c": array}), row_group_size=250, use_dictionary=False))
    assert same(rows_of(file), {"c": array.to_pylist()})
    assert file.decoded == (0, 4)


def test_configured_lists_may_be_stored_as_lists_of_any_length() -> None:
    columns = [Column("c", ColumnType.FLOAT32, 3)]
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float32())):
        array = pa.array([[row, row + 1, row + 2] for row in range(500)], kind)
        file = opened(stored(pa.table({"c": array}), use_dictionary=False), columns)
        assert file.read(0).block.columns["c"].shape == (500, 3)
        assert same(rows_of(file), {"c": array.to_pylist()})
        assert file.decoded.by_arrow == 0


@pytest.mark.parametrize("odd", [[], [1.0], [1.0] * 4])
def test_a_list_of_another_length_than_configured_is_named(odd: list[float]) -> None:
    array = pa.array([[1.0, 2.0, 3.0], odd], pa.list_(pa.float32()))
    file = opened(stored(pa.table({"c": array})), [Column("c", ColumnType.FLOAT32, 3)])
    with pytest.raises(SchemaMismatchError, match=rf"{PATH}: row group 0, columns 'c': .*list of {len(odd)} values"):
        file.read(0)


def test_configured_text_and_bytes_come_in_one_type_however_they_are_stored() -> None:
    text, octets = ["aa", "b", "aa"], [b"xyz", b"uvw", b"xyz"]
    columns = [Column("s", ColumnType.STRING, 2), Column("b", ColumnType.BINARY, 3)]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        for width in (pa.binary(), pa.large_binary(), pa.binary(3)):
            table = pa.table({"s": pa.array(text, pa.string()).cast(kind), "b": pa.array(octets, width)})
            block = opened(stored(table), columns).read(0).block
            assert [values.type for values in block.columns.values()] == [pa.string(), pa.binary()]
            assert [values.to_pylist() for values in block.columns.values()] == [text, octets]


# Configuration against files


def test_partition_columns_come_from_the_path_unless_the_file_has_them() -> None:
    storage = MemoryStorage()
    path = "train/p=x%2Fy/k=7/f.parquet"
    storage.files[path] = stored(pa.table({"a": [1, 2, 3], "k": pa.array([4, 5, 6], pa.int8())}))
    columns = [Column("p", ColumnType.STRING), Column("a", ColumnType.INT64), Column("k", ColumnType.INT8)]
    file = ParquetRows(storage, columns, partitions=["p", "k"]).open(path)
    assert rows_of(file) == {"p": ["x/y"] * 3, "a": [1, 2, 3], "k": [4, 5, 6]}
    assert list(file.read(0).block.columns) == ["p", "a", "k"]


def test_a_missing_column_that_is_no_partition_is_refused_on_opening() -> None:
    octets = stored(pa.table({"a": [1]}))
    with pytest.raises(SchemaMismatchError, match=f"{PATH}: (?s:.*)'b': missing"):
        opened(octets, [Column("b", ColumnType.INT64)])
    with pytest.raises(SchemaMismatchError, match=f"{PATH}: .*\n.*neither a column of the file nor a folder"):
        opened(octets, [Column("b", ColumnType.INT64)], partitions=["b"])


def test_files_of_different_schemas_are_planned_anew() -> None:
    storage = MemoryStorage()
    tables = [pa.table({"a": [1], "b": [2.5]}), pa.table({"b": [3.5], "a": [4]}), pa.table({"a": [5], "b": [6.5]})]
    for number, table in enumerate(tables):
        storage.files[f"{number}"] = stored(table)
    reader: Reader = ParquetRows(storage, [Column("b", ColumnType.FLOAT64), Column("a", ColumnType.INT64)])
    for number, table in enumerate(tables):
        file = reader.open(f"{number}")
        assert isinstance(file, ParquetBlocks)
        assert rows_of(file) == {"b": table["b"].to_pylist(), "a": table["a"].to_pylist()}


def test_extension_types_are_refused() -> None:
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)], pa.binary(16)))
    octets = stored(pa.table({"u": uuids, "a": [1]}))
    with pytest.raises(ParquetFileError, match=f"{PATH}: column 'u' has the extension type"):
        opened(octets)
    assert rows_of(opened(octets, [Column("a", ColumnType.INT64)])) == {"a": [1]}


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "a", "b"])
    with pytest.raises(SchemaMismatchError, match="same name"):
        opened(stored(table))
    with pytest.raises(SchemaMismatchError, match="2 columns of that name"):
        opened(stored(table), [Column("a", ColumnType.INT64)])
    assert rows_of(opened(stored(table), [Column("b", ColumnType.INT64)])) == {"b": [3]}


def test_a_missing_file_is_missing_data() -> None:
    with pytest.raises(DataMissingError):
        ParquetRows(MemoryStorage(), None).open("nowhere")


def test_closing_twice_is_allowed() -> None:
    file = opened(stored(pa.table({"a": [1]})))
    file.close()
    file.close()


def test_views_outlive_the_block_the_file_and_later_reads() -> None:
    octets = stored(pa.table({"a": np.arange(100_000)}), row_group_size=50_000, use_dictionary=False)
    file = opened(octets)
    values = file.read(0).block.columns["a"]
    for _ in range(5):
        file.read(1)
    file.close()
    assert np.array_equal(values, np.arange(50_000))
