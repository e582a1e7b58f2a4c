"""Parquet files for tests, made in memory, and how their values are compared."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.reader.parquet_blocks import ParquetBlocks
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.values import as_arrow

PATH = "train/f.parquet"
NUMBERS = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
]
CODECS = ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]


def stored(table: pa.Table, **options: Any) -> bytes:
    """Return ``table`` as pyarrow writes it."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def opened(
    octets: bytes, columns: list[Column] | None = None, mode: ReadMode = ReadMode.ROW_GROUP, **options: Any
) -> ParquetBlocks:
    """Return a file of these bytes, open in the reader under test."""
    storage = MemoryStorage()
    storage.files[PATH] = octets
    return ParquetRows(storage, columns, mode, **options).open(PATH)


def rows_of(file: ParquetBlocks) -> dict[str, list[Any]]:
    """Return all values of a file by column, and check that each block holds what its shape promises."""
    found: dict[str, list[Any]] = {}
    for index, shape in enumerate(file.shapes):
        read = file.read(index)
        assert (read.block.rows, read.row_groups) == (shape.rows, shape.row_groups)
        assert read.bytes_read == read.bytes_requested == shape.stored_bytes
        for name, values in read.block.columns.items():
            assert len(values) == shape.rows
            found.setdefault(name, []).extend(as_arrow(values).to_pylist())
    return found


def by_pyarrow(octets: bytes) -> pa.Table:
    """Return all rows as pyarrow reads them."""
    return pq.ParquetFile(io.BytesIO(octets)).read(use_threads=False)


def is_read_by_pyarrow(octets: bytes, rows: int) -> bool:
    """Return whether pyarrow reads its own file: it may write an empty page first, which it takes for the last one."""
    try:
        return bool(by_pyarrow(octets).num_rows == rows)
    except pa.ArrowInvalid:
        return False


def same(ours: Any, theirs: Any) -> bool:
    """Compare Python values; NaN is equal to itself, and 0.0 is not -0.0."""
    return repr(ours) == repr(theirs)


def numbers(kind: pa.DataType, count: int, seed: int) -> pa.Array:
    """Return values of any bits."""
    octets = np.random.default_rng(seed).integers(0, 256, count * 8, np.uint8)
    if pa.types.is_boolean(kind):
        return pa.array(octets[:count] > 127)
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(octets)])


@st.composite
def number_tables(draw: st.DrawFn) -> pa.Table:
    """Tables of numbers and fixed-size lists of them; required columns, and nullable ones with and without nulls."""
    rows = draw(st.sampled_from([0, 1, 2, 7, 8, 9, 100, 1000]))
    fields, arrays = [], []
    for number in range(draw(st.integers(1, 4))):
        kind, seed = draw(st.sampled_from(NUMBERS)), draw(st.integers(0, 99))
        size, nullable = draw(st.sampled_from([0, 0, 1, 2, 3, 16, 100])), draw(st.booleans())
        array = numbers(kind, rows * (size or 1), seed)
        if draw(st.integers(0, 3)) == 0:
            array = array.take(pa.array(np.arange(len(array)) % 3 if len(array) > 3 else np.arange(len(array))))
        if size:
            kind = pa.list_(pa.field("element", kind, nullable=nullable), size)
            array = pa.FixedSizeListArray.from_arrays(array, type=kind)
        if nullable and draw(st.booleans()):
            array = pa.array([None if row % 3 == 0 else value for row, value in enumerate(array.to_pylist())], kind)
        fields.append(pa.field(f"c{number}", kind, nullable=nullable))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


_texts = st.text(max_size=5)
_OTHER: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): _texts,
    pa.large_string(): _texts,
    pa.binary(): st.binary(max_size=5),
    pa.large_binary(): st.binary(max_size=5),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.list_(pa.int16()): st.lists(st.integers(-9, 9) | st.none(), max_size=4),
    pa.large_list(pa.float32()): st.lists(st.floats(width=32), max_size=4),
    pa.list_(pa.list_(pa.string())): st.lists(st.lists(_texts, max_size=2), max_size=2),
    pa.list_(pa.string(), 2): st.lists(_texts, min_size=2, max_size=2),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.decimal128(9, 2): st.decimals(-1000, 1000, places=2),
    pa.struct([("x", pa.int32()), ("y", pa.list_(pa.string()))]): st.fixed_dictionaries(
        {"x": st.integers(-9, 9) | st.none(), "y": st.lists(_texts, max_size=2) | st.none()}
    ),
    pa.map_(pa.string(), pa.int64()): st.dictionaries(_texts, st.integers(-9, 9), max_size=2).map(
        lambda pairs: list(pairs.items())
    ),
    pa.null(): st.none(),
}
_names = st.text(max_size=4) | st.sampled_from(["a", "a.b", "a.x", "x", "list", "element", "a.list.element", " ", "Ü"])


@st.composite
def other_tables(draw: st.DrawFn) -> pa.Table:
    """Tables of text, bytes, times and nested values under odd names, with some numbers among them."""
    rows = draw(st.integers(0, 30))
    names = draw(st.lists(_names, min_size=1, max_size=5, unique=True))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from([*_OTHER, pa.float32()]))
        if kind == pa.float32():
            columns[name] = numbers(kind, rows, draw(st.integers(0, 9)))
            continue
        some = draw(st.lists(_OTHER[kind], min_size=1, max_size=4))
        some += [None] if draw(st.booleans()) else []
        columns[name] = pa.array([some[row % len(some)] for row in range(rows)], kind)
    return pa.table(columns)


LAYOUTS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(CODECS),
        "use_dictionary": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "write_page_checksum": st.booleans(),
        "write_statistics": st.booleans(),
        "data_page_size": st.sampled_from([64, 1000, 1 << 20]),
        "write_batch_size": st.sampled_from([64, 1024]),
        "row_group_size": st.sampled_from([1, 64, 333, 5000]),
    }
)
