"""Small wrongs of what a column is taken for: viewed or decoded, one leaf or several, the same as in another file."""

from __future__ import annotations

import decimal
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parquet_files import by_pyarrow, opened, rows_of, same
from property_reading import stored

from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.parquet.decode_footer import Footer
from dlio_benchmark.parquet.decode_plan import plan
from dlio_benchmark.reader.parquet_reader import ParquetRows
from verification.faults import body_end

ROWS = 20
OPTIONS: dict[str, Any] = {"compression": "NONE", "use_dictionary": False}
VIEWED, BY_ARROW = (1, 0), (0, 1)


def file_of(values: pa.Array, *, nullable: bool = False, metadata: Any = None, **options: Any) -> bytes:
    """Return a file of the one column ``x``, as pyarrow writes it."""
    schema = pa.schema([pa.field("x", values.type, nullable, metadata)])
    sink = io.BytesIO()
    pq.write_table(pa.table([values], schema), sink, **(OPTIONS | options))
    return sink.getvalue()


def texts(length: int) -> list[str]:
    return [f"{row:0{length}}"[-length:] for row in range(ROWS)]


def pairs(values: list[Any]) -> list[list[Any]]:
    return [[one, one] for one in values]


REQUIRED_PAIR = pa.list_(pa.field("element", pa.int16(), nullable=False), 2)
KINDS: dict[str, tuple[pa.Array, tuple[int, int]]] = {
    **{
        str(kind): (pa.array(range(ROWS), kind), VIEWED)
        for kind in (
            *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
            *(pa.float32(), pa.float64()),
        )
    },
    "halves": (pa.array(np.arange(ROWS, dtype=np.float16)), VIEWED),
    "truths": (pa.array([row % 3 == 0 for row in range(ROWS)]), VIEWED),
    "text": (pa.array(texts(3)), VIEWED),
    "large text": (pa.array(texts(3), pa.large_string()), VIEWED),
    "bytes": (pa.array([one.encode() for one in texts(2)]), VIEWED),
    "single bytes": (pa.array([one.encode() for one in texts(1)], pa.binary(1)), VIEWED),
    "two bytes": (pa.array([one.encode() for one in texts(2)], pa.binary(2)), VIEWED),
    "pairs": (pa.array(pairs(list(range(ROWS))), REQUIRED_PAIR), VIEWED),
    "single lists": (pa.array([[row] for row in range(ROWS)], pa.list_(pa.float64(), 1)), VIEWED),
    "pairs of text": (pa.array(pairs(texts(3)), pa.list_(pa.string(), 2)), BY_ARROW),
    "pairs of bytes": (pa.array(pairs([one.encode() for one in texts(3)]), pa.list_(pa.binary(3), 2)), BY_ARROW),
    "decimals": (pa.array([decimal.Decimal(row) / 4 for row in range(ROWS)], pa.decimal128(9, 2)), BY_ARROW),
    "dates": (pa.array(range(ROWS), pa.int32()).cast(pa.date32()), BY_ARROW),
    "times": (pa.array(range(ROWS), pa.timestamp("us")), BY_ARROW),
    "lists": (pa.array([[row] * (row % 3) for row in range(ROWS)], pa.list_(pa.int32())), BY_ARROW),
    "structs": (pa.array([{"a": row, "b": str(row)} for row in range(ROWS)]), BY_ARROW),
    "maps": (pa.array([[("a", row)] for row in range(ROWS)], pa.map_(pa.string(), pa.int32())), BY_ARROW),
    "words": (pa.array(texts(3)).dictionary_encode(), VIEWED),
}


@pytest.mark.parametrize(("values", "decoded"), KINDS.values(), ids=KINDS)
def test_a_column_is_viewed_wherever_its_type_allows(values: pa.Array, decoded: tuple[int, int]) -> None:
    body = file_of(values)
    file = opened(body)
    assert same(rows_of(file)["x"], by_pyarrow(body)["x"].to_pylist())
    assert file.decoded == decoded


@pytest.mark.parametrize("values", [one for one, _ in KINDS.values()], ids=KINDS)
def test_columns_beside_each_other_have_their_own_leaves(values: pa.Array) -> None:
    names = ["x", "y", "z"]
    numbers = pa.array(range(ROWS), pa.int32())
    table = pa.table([numbers, values, numbers], names)
    sink = io.BytesIO()
    pq.write_table(table, sink, **OPTIONS)
    body = sink.getvalue()
    assert same(rows_of(opened(body)), by_pyarrow(body).to_pydict())
    found = plan(Footer(body[body_end(body) :], len(body)), None, "f")
    assert [column.name for column in found.owners] == ["x", *["y"] * len(found.wanted[1].leaves), "z"]


def decoded_bytes(values: pa.Array) -> int:
    (shape,) = opened(file_of(values)).shapes
    return shape.decoded_bytes


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.float32(), pa.int64(), pa.bool_()])
def test_numbers_decode_to_their_width_times_their_rows(kind: pa.DataType) -> None:
    width = 1 if pa.types.is_boolean(kind) else kind.bit_width // 8
    values = pa.array([0, 1] * ROWS).cast(kind)
    assert decoded_bytes(values) == 2 * ROWS * width
    for size in (1, 2, 5):
        lists = pa.FixedSizeListArray.from_arrays(values, size)
        assert decoded_bytes(lists) == len(lists) * size * width


@pytest.mark.parametrize("values", [KINDS[name][0] for name in ("text", "structs", "lists", "pairs of text")])
def test_other_columns_decode_to_what_their_chunks_are_without_a_codec(values: pa.Array) -> None:
    for compression in ("NONE", "ZSTD"):
        body = file_of(values, compression=compression)
        group = pq.read_metadata(io.BytesIO(body)).row_group(0)
        columns = [group.column(number) for number in range(group.num_columns)]
        (shape,) = opened(body).shapes
        assert shape.decoded_bytes == sum(column.total_uncompressed_size for column in columns)
        assert shape.stored_bytes == sum(column.total_compressed_size for column in columns)
        assert opened(body, mode=ReadMode.DEFAULT, block_bytes=1).shapes[0] == shape


EXTENSION = {b"ARROW:extension:name": b"something.else"}
TAGGED = pa.field("a", pa.int32(), metadata=EXTENSION)
WITHIN = {
    "a field": (pa.int32(), EXTENSION),
    "a struct": (pa.struct([pa.field("z", pa.int8()), TAGGED]), None),
    "a list": (pa.list_(TAGGED), None),
    "a list of structs": (pa.list_(pa.struct([TAGGED])), None),
    "a map": (pa.map_(pa.string(), TAGGED), None),
    "a type": (pa.uuid(), None),
    "a struct of a type": (pa.struct([("a", pa.uuid())]), None),
}


@pytest.mark.parametrize(("kind", "metadata"), WITHIN.values(), ids=WITHIN)
def test_extension_types_are_refused_wherever_they_are(kind: pa.DataType, metadata: Any) -> None:
    body = file_of(pa.nulls(3, kind), nullable=True, metadata=metadata)
    with pytest.raises(ParquetFileError, match="column 'x' has the extension type"):
        opened(body)


def test_a_file_whose_columns_mean_something_else_is_not_taken_for_the_one_before() -> None:
    values = KINDS["decimals"][0]
    bodies = {
        "octets": file_of(values),
        "integers": file_of(values, store_decimal_as_integer=True),
        "tagged": file_of(values, metadata=EXTENSION),
    }
    reader = ParquetRows(stored(bodies), None)
    plans = []
    for path in ("octets", "integers", "octets"):
        file = reader.open(path)
        plans.append(file._outline.plan)
        assert rows_of(file)["x"] == values.to_pylist()
        assert plans[-1].stored == (("x", "INT32" if path == "integers" else "FIXED_LEN_BYTE_ARRAY"),)
    assert plans[0].schema.equals(plans[1].schema, check_metadata=True)
    with pytest.raises(ParquetFileError, match="extension type"):
        reader.open("tagged")


def test_files_whose_columns_mean_the_same_are_planned_once() -> None:
    numbers = pa.array(range(ROWS), pa.int32())
    bodies = {"a": file_of(numbers), "b": file_of(numbers[:7]), "c": file_of(numbers, compression="ZSTD")}
    reader = ParquetRows(stored(bodies), None)
    plans = {id(reader.open(path)._outline.plan) for path in bodies for _ in range(2)}
    assert len(plans) == 1


def test_a_column_that_stands_in_the_path_of_some_files_and_inside_others_is_read_where_it_is() -> None:
    numbers = pa.array(range(ROWS), pa.int32())
    inside, outside = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.table({"x": numbers, "p": pa.array([7] * ROWS, pa.int8())}), inside)
    pq.write_table(pa.table({"x": numbers}), outside)
    paths = {"p=3/a": outside.getvalue(), "p=4/b": inside.getvalue(), "p=5/c": outside.getvalue()}
    columns = [Column("p", ColumnType.INT8), Column("x", ColumnType.INT32)]
    reader = ParquetRows(stored(paths), columns, partitions=["p"])
    for path, value in {"p=3/a": 3, "p=4/b": 7, "p=5/c": 5, "p=4/b ": 7}.items():
        found = rows_of(reader.open(path.strip()))
        assert list(found) == ["p", "x"]
        assert (set(found["p"]), found["x"]) == ({value}, list(range(ROWS)))


def test_two_columns_of_one_name_are_refused_unless_others_are_asked_for() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table([pa.array([1]), pa.array([2]), pa.array([3])], ["a", "a", "b"]), sink)
    with pytest.raises(SchemaMismatchError, match="the same name"):
        opened(sink.getvalue())
    assert rows_of(opened(sink.getvalue(), [Column("b", ColumnType.INT64)])) == {"b": [3]}
