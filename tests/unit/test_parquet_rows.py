"""The Parquet reader gives what pyarrow gives, reads what the footer promises, and says which way it took."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from dlio_benchmark.batch import as_arrow
from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.reader.parquet_blocks import ParquetBlocks
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage

NUMBERS = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
]
VARYING = [pa.string(), pa.binary(), pa.large_string(), pa.list_(pa.int16()), pa.date32(), pa.timestamp("us")]
NESTED = [pa.struct([("x", pa.int32()), ("y", pa.list_(pa.string()))]), pa.map_(pa.string(), pa.float32())]
CODECS = ["none", "snappy", "gzip", "zstd", "lz4"]


def stored(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def reader(data: bytes, columns: list[Column] | None = None, mode: ReadMode = ReadMode.ROW_GROUP, **more: Any) -> Any:
    storage = MemoryStorage()
    storage.files["f.parquet"] = data
    return ParquetRows(storage, columns, mode, **more)


def rows_of(file: ParquetBlocks) -> pa.Table | None:
    """Return all rows of a file as a table."""
    blocks = [file.read(index).block for index in range(len(file.shapes))]
    tables = [pa.table({name: as_arrow(values) for name, values in block.columns.items()}) for block in blocks]
    return pa.concat_tables(tables) if tables else None


def same(ours: Any, theirs: Any) -> bool:
    """Compare Python values; NaN is equal to itself."""
    return repr(ours) == repr(theirs)


def numbers(kind: pa.DataType, count: int, seed: int) -> pa.Array:
    bits = np.random.default_rng(seed).integers(0, 256, count * 8, np.uint8)
    if pa.types.is_boolean(kind):
        return pa.array(bits[:count] > 127)
    return pa.array(bits.view(kind.to_pandas_dtype())[:count])


@st.composite
def number_tables(draw: st.DrawFn) -> pa.Table:
    """Tables of numbers and fixed-size lists of them; nullable columns with and without nulls, and required ones."""
    rows = draw(st.sampled_from([0, 1, 2, 7, 8, 9, 100, 1000]))
    fields, arrays = [], []
    for number in range(draw(st.integers(1, 4))):
        kind, seed = draw(st.sampled_from(NUMBERS)), draw(st.integers(0, 99))
        size, nullable = draw(st.sampled_from([0, 0, 1, 2, 3, 16, 100])), draw(st.booleans())
        array = numbers(kind, rows * (size or 1), seed)
        if size:
            kind = pa.list_(pa.field("element", kind, nullable=nullable), size)
            array = pa.FixedSizeListArray.from_arrays(array, type=kind)
        elif nullable and draw(st.booleans()):
            array = pa.array([None if row % 3 == 0 else value for row, value in enumerate(array.to_pylist())], kind)
        fields.append(pa.field(f"c{number}", kind, nullable=nullable))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


OPTIONS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(CODECS),
        "use_dictionary": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "write_page_checksum": st.booleans(),
        "write_statistics": st.booleans(),
        "data_page_size": st.sampled_from([64, 1000, 1 << 20]),
        "row_group_size": st.sampled_from([1, 64, 333, 5000]),
        "store_schema": st.just(True),
    }
)


@settings(deadline=None, max_examples=150)
@given(table=number_tables(), options=OPTIONS, mode=st.sampled_from([ReadMode.DEFAULT, ReadMode.ROW_GROUP]))
def test_numbers_are_read_as_pyarrow_reads_them(table: pa.Table, options: dict[str, Any], mode: ReadMode) -> None:
    data = stored(table, write_batch_size=64, **options)
    assume(pq.read_table(io.BytesIO(data)).num_rows == table.num_rows)  # pyarrow stops at an empty page of its own
    file = reader(data, mode=mode, verify_checksums=True, block_bytes=2000).open("f.parquet")
    ours = rows_of(file)
    theirs = pq.read_table(io.BytesIO(data))
    event(f"viewed {file.decoded.viewed > 0}, decoded {file.decoded.by_arrow > 0}")
    assert table.num_rows == 0 or (ours is not None and same(ours.to_pylist(), theirs.to_pylist()))
