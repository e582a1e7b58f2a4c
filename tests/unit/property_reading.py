"""What the property tests share: files in memory, readers of every mode, and what was read as plain Python."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import assume
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.reader.base import OpenFile, Reader
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.schema import ELEMENTS
from dlio_benchmark.storage.base import Storage
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.values import as_arrow
from verification.oracle import plain
from verification.strategies import Access, Layout, names

Columns = dict[str, list[Any]]
MODE = {"default": ReadMode.DEFAULT, "row_group": ReadMode.ROW_GROUP}
PATH = "folder/f.parquet"
NUMBERS = tuple(kind for kind in ColumnType if kind not in (ColumnType.STRING, ColumnType.BINARY, ColumnType.LIST))


def stored(bodies: bytes | Mapping[str, bytes]) -> MemoryStorage:
    """Return a storage of files by path; of the one file `PATH` if only its bytes are given."""
    storage = MemoryStorage()
    storage.files.update({PATH: bodies} if isinstance(bodies, bytes) else bodies)
    return storage


def rows_reader(storage: Storage, columns: Sequence[Column] | None, access: Access) -> ParquetRows:
    """Return the product's reader, set up as ``access`` says."""
    return ParquetRows(
        storage,
        columns,
        MODE[access.mode],
        verify_checksums=access.verify,
        block_bytes=access.block_bytes,
        group_window=access.group_window,
    )


def columns_read(file: OpenFile) -> Columns:
    """Read all blocks of ``file`` and return its columns as plain Python; none if it has no blocks."""
    found: Columns = {}
    for index in range(len(file.shapes)):
        block = file.read(index).block
        for name, values in block.columns.items():
            part = plain(as_arrow(values))
            assert len(part) == block.rows == file.shapes[index].rows
            found.setdefault(name, []).extend(part)
    return found


def read_whole(reader: Reader, path: str = PATH) -> Columns:
    """Open ``path``, return all its columns as plain Python, and close it."""
    file = reader.open(path)
    try:
        return columns_read(file)
    finally:
        file.close()


def by_pyarrow(body: bytes, columns: Sequence[str] | None = None) -> Columns:
    """Return what pyarrow reads of a file, as plain Python."""
    with pq.ParquetFile(io.BytesIO(body)) as file:
        table = file.read()
    wanted = table if columns is None else table.select(list(columns))
    return {name: plain(wanted.column(place)) for place, name in enumerate(wanted.column_names)}


def error_of(call: Callable[[], object]) -> BaseException | None:
    """Return what ``call`` raises, or None."""
    try:
        call()
    except Exception as error:
        return error
    return None


def _of_words(dtype: ColumnType) -> tuple[pa.DataType, ...]:
    if dtype is ColumnType.STRING:
        return pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())
    return pa.binary(), pa.large_binary(), pa.binary(4), pa.dictionary(pa.int32(), pa.binary())


def arrow_forms(column: Column) -> tuple[pa.DataType, ...]:
    """Return the Arrow types in which a file may store ``column``."""
    if column.dtype in (ColumnType.STRING, ColumnType.BINARY):
        return _of_words(column.dtype)
    element = ELEMENTS[column.dtype]
    if column.dtype is not ColumnType.LIST and column.size == 1:
        return (element,)
    return (pa.list_(element, column.size),)


@st.composite
def configured(draw: st.DrawFn, *, least: int = 1, most: int = 5, odd: bool = True) -> list[Column]:
    """Return configured columns of different names: numbers, flags, text, bytes, and lists of one length."""
    found = draw(st.lists(names(odd=odd), min_size=least, max_size=most, unique=True))
    kinds = st.sampled_from(ColumnType)
    return [Column(name, draw(kinds), draw(st.sampled_from([1, 1, 2, 3]))) for name in found]


@st.composite
def schema_of(draw: st.DrawFn, columns: Sequence[Column]) -> pa.Schema:
    """Return a schema in which a file may have ``columns``, nullable or not."""
    return pa.schema(
        [pa.field(one.name, draw(st.sampled_from(arrow_forms(one))), draw(st.booleans())) for one in columns]
    )


def written(table: pa.Table, layout: Layout) -> bytes:
    """Return ``table`` in a file; gives the example up if it is one of those that pyarrow itself cannot read back.

    With pages of a few bytes its writer may begin a chunk of lists with an empty page, at which its reader ends.
    """
    body = layout.written(table)
    assume(_rows_by_pyarrow(body) == table.num_rows)
    return body


def _rows_by_pyarrow(body: bytes) -> int | None:
    try:
        rows: int = pq.read_table(io.BytesIO(body)).num_rows
    except pa.ArrowInvalid:  # some columns end early, others do not
        return None
    return rows
