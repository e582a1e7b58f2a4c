"""Pages: header, checksum and encodings, read back from raw bytes; whole files of any values, read back by pyarrow."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from thrift_reader import ThriftReader

from dlio_benchmark.common.enumerations import ColumnType, Compression
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import CannotCreateError, ConfigError
from dlio_benchmark.parquet.encode import CODECS, ChunkEncoder, Codec, Page, Rows, most_rows
from dlio_benchmark.parquet.encode_footer import FooterBuilder
from dlio_benchmark.parquet.encode_schema import arrow_schema
from dlio_benchmark.parquet.write_file import PageMaker, Sink, write_pages
from dlio_benchmark.parquet.write_plan import shape_of
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.synth import as_values, to_arrow

PLAIN = Codec(Compression.NONE)
INTEGERS = {
    ColumnType.INT8: np.int8,
    ColumnType.UINT8: np.uint8,
    ColumnType.INT16: np.int16,
    ColumnType.UINT16: np.uint16,
    ColumnType.INT32: np.int32,
    ColumnType.UINT32: np.uint32,
    ColumnType.INT64: np.int64,
    ColumnType.UINT64: np.uint64,
}
FLOATS = {
    ColumnType.FLOAT16: np.float16,
    ColumnType.FLOAT32: np.float32,
    ColumnType.FLOAT64: np.float64,
    ColumnType.LIST: np.float32,
}


def page_bytes(page: Page) -> bytes:
    return b"".join(page.parts)


def header_and_body(page: Page) -> tuple[dict[int, Any], bytes]:
    octets = page_bytes(page)
    reader = ThriftReader(octets)
    header = reader.struct()
    return header, octets[reader.at :]


@pytest.mark.parametrize("compression", CODECS)
def test_a_header_says_sizes_checksum_and_values(compression: Compression) -> None:
    values = np.tile(np.arange(50, dtype=np.float32), 40)
    page = ChunkEncoder(Column("x", ColumnType.FLOAT32, 2), Codec(compression), 4000).page(
        Held(Column("x"), values.reshape(1000, -1)), 0, 1000
    )
    header, body = header_and_body(page)
    assert header[1] == 0
    assert header[3] == len(body)
    assert header[4] & 0xFFFFFFFF == zlib.crc32(body)
    assert header[5] == {1: 2000, 2: 0, 3: 3, 4: 3}
    assert page.stored_bytes == len(page_bytes(page))
    assert page.plain_bytes - page.stored_bytes == header[2] - header[3]
    assert (header[2] > 2 * len(body)) == (compression is not Compression.NONE)
    assert page.values == 2000


def test_an_uncompressed_page_holds_the_very_memory_it_was_given() -> None:
    values = np.arange(1000, dtype=np.float32)
    page = ChunkEncoder(Column("x"), PLAIN, 1000).page(Held(Column("x"), values.reshape(1000, -1)), 0, 1000)
    assert np.shares_memory(np.frombuffer(page.parts[-1], np.uint8), values)


@pytest.mark.parametrize("dtype", [ColumnType.INT8, ColumnType.UINT8])
@pytest.mark.parametrize("rows", [1000, 1001, 1007])
def test_a_page_of_bytes_is_the_bytes_themselves(dtype: ColumnType, rows: int) -> None:
    values = np.arange(rows).astype(np.uint8)
    encoder = ChunkEncoder(Column("x", dtype), PLAIN, len(values))
    header, body = header_and_body(encoder.page(Held(Column("x"), values), 0, len(values)))
    assert header[5][2] == 8
    reader = ThriftReader(body, 1)
    groups = reader.varint()
    assert (body[0], groups & 1, groups >> 1) == (8, 1, -(-len(values) // 8))
    assert body[reader.at :] == values.tobytes() + bytes(-len(values) % 8)
    assert encoder.dictionary is not None
    head, dictionary = header_and_body(encoder.dictionary)
    assert (head[1], head[7]) == (2, {1: 256, 2: 0})
    expected = [byte - 256 if byte > 127 and dtype is ColumnType.INT8 else byte for byte in range(256)]
    assert np.frombuffer(dictionary, "<i4").tolist() == expected


@given(dtype=st.sampled_from(ColumnType), values=st.integers(1, 5000))
def test_only_bytes_have_a_dictionary_and_only_where_it_makes_the_chunk_smaller(dtype: ColumnType, values: int) -> None:
    encoder = ChunkEncoder(Column("x", dtype), PLAIN, values)
    if dtype not in (ColumnType.INT8, ColumnType.UINT8):
        assert encoder.dictionary is None
        return
    chunk_bytes = encoder.page(Held(Column("x"), np.zeros(values, np.uint8)), 0, values).stored_bytes
    if encoder.dictionary is None:
        assert values < 400
    else:
        assert chunk_bytes + encoder.dictionary.stored_bytes < 4 * values + 40


@pytest.mark.parametrize("compression", [one for one in Compression if one not in CODECS])
def test_a_codec_that_parquet_lacks_is_refused_with_those_it_has(compression: Compression) -> None:
    with pytest.raises(ConfigError, match=r"dataset.compression: .* none, snappy, gzip, zstd, lz4"):
        Codec(compression)


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_a_level_that_the_codec_lacks_is_refused(compression: Compression) -> None:
    with pytest.raises(ConfigError, match=r"compression_level: .* has no level"):
        Codec(compression, 2**40)


@pytest.mark.parametrize(
    "column",
    [
        Column("big", ColumnType.FLOAT64, 2**28),
        Column("big", ColumnType.BOOL, 2**31),
        Column("big", ColumnType.STRING, 2**31),
    ],
)
def test_a_row_that_no_page_can_hold_is_refused(column: Column) -> None:
    with pytest.raises(ConfigError, match=r"column 'big': a row of .* does not fit into a Parquet page"):
        most_rows(column, 1)


class Held:
    """Rows that are in memory already, as payloads of one row each."""

    def __init__(self, column: Column, values: NDArray[Any]) -> None:
        self.column, self.values = column, values

    def payload(self, start: int, stop: int) -> NDArray[Any]:
        rows = self.values[start:stop]
        if self.column.dtype is ColumnType.BOOL:
            return np.packbits(rows, bitorder="little")
        if self.column.dtype in (ColumnType.STRING, ColumnType.BINARY):
            return rows.view(np.uint8).reshape(stop - start, -1)
        return rows.reshape(-1)


def written(columns: tuple[Column, ...], values: list[NDArray[Any]], codec: Codec, group_rows: int) -> bytes:
    """Return a file that holds these values."""
    shape = shape_of(columns, len(values[0]), group_rows)
    rows = [Held(column, held) for column, held in zip(columns, values, strict=True)]
    storage = MemoryStorage()
    with storage.open_output("x") as out:
        maker = PageMaker("x", columns, rows, shape, codec=codec)
        write_pages(maker, shape, Sink(out, len_of), FooterBuilder(columns, {}), threads=0)
    return storage.files["x"]


def len_of(many: int) -> None:
    """Take notice of nothing."""


def elements(column: Column, rows: int) -> st.SearchStrategy[NDArray[Any]]:
    """Draw any values of a column, those that generation never makes among them."""
    shape = (rows, column.size) if column.size > 1 or column.dtype is ColumnType.LIST else (rows,)
    if column.dtype is ColumnType.BOOL:
        return hnp.arrays(np.bool_, shape)
    if column.dtype is ColumnType.STRING:
        return hnp.arrays(f"S{column.size if column.size > 1 else 16}", rows).map(_without_zeros)
    if column.dtype is ColumnType.BINARY:
        return hnp.arrays(np.uint8, (rows, column.size)).map(lambda a: a.view(f"V{column.size}").reshape(-1))
    return hnp.arrays({**INTEGERS, **FLOATS}[column.dtype], shape)


def _without_zeros(texts: NDArray[Any]) -> NDArray[Any]:
    octets = texts.view(np.uint8) & 0x7F
    octets[octets == 0] = ord("x")
    return octets.view(texts.dtype)


@given(
    column=st.builds(Column, st.text(min_size=1, max_size=5), st.sampled_from(ColumnType), st.integers(1, 11)),
    rows=st.integers(1, 40),
    group_rows=st.integers(1, 45),
    codec=st.builds(Codec, st.sampled_from(list(CODECS))),
    data=st.data(),
)
def test_any_values_read_back_bit_by_bit(
    column: Column, rows: int, group_rows: int, codec: Codec, data: st.DataObject
) -> None:
    values = data.draw(elements(column, rows))
    file = written((column,), [values], codec, group_rows)
    with pq.ParquetFile(io.BytesIO(file), page_checksum_verification=True) as opened:
        found = opened.read().column(0).combine_chunks()
    found.validate(full=True)
    assert opened.schema_arrow.remove_metadata() == arrow_schema([column])
    assert bits(found) == bits(to_arrow(column, values))


def bits(array: pa.Array) -> bytes | list[Any]:
    """Return what compares equal only if every bit is equal, not-a-numbers too."""
    if pa.types.is_fixed_size_list(array.type):
        return bits(array.flatten())
    if pa.types.is_floating(array.type):
        return bytes(array.to_numpy(zero_copy_only=False).tobytes())
    return list(array.to_pylist())


class Broken:
    """Rows that cannot be made from row 25 on."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def payload(self, start: int, stop: int) -> NDArray[Any]:
        if stop > 25:
            raise self.error
        return np.zeros(stop - start, np.float32)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("error", [MemoryError(), pa.ArrowInvalid("no room")])
def test_a_page_that_cannot_be_made_is_reported_with_its_place_and_leaves_no_file(
    error: Exception, threads: int
) -> None:
    columns = (Column("good"), Column("bad"))
    shape = shape_of(columns, 40, 10)
    rows: list[Rows] = [Held(columns[0], np.zeros(40, np.float32)), Broken(error)]
    maker = PageMaker("train/x.parquet", columns, rows, shape, codec=PLAIN)
    storage = MemoryStorage()
    place = r"train/x.parquet: row group 2, column 'bad': cannot make a page of 40 bytes"
    with pytest.raises(CannotCreateError, match=place), storage.open_output("train/x.parquet") as out:
        write_pages(maker, shape, Sink(out, len_of), FooterBuilder(columns, {}), threads=threads)
    assert storage.files == {}


def test_an_error_that_is_a_bug_keeps_its_type_and_gains_the_place() -> None:
    columns = (Column("bad"),)
    shape = shape_of(columns, 40, 10)
    maker = PageMaker("x", columns, [Broken(ZeroDivisionError("bug"))], shape, codec=PLAIN)
    with pytest.raises(ZeroDivisionError, match="bug") as caught:
        maker.make(list(shape.spans()))
    assert caught.value.__notes__ == ["x: row group 2, column 'bad'"]


def test_values_of_bytes_come_back_as_arrays_of_the_columns_type() -> None:
    column = Column("x", ColumnType.BINARY, 3)
    payload = np.arange(12, dtype=np.uint8).reshape(4, 3)
    assert as_values(column, payload, 4).tolist() == [bytes(row) for row in payload.tolist()]
