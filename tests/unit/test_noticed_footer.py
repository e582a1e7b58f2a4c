"""Small wrongs of what a footer may say: places, sizes and counts at the limits of what can be true."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parquet_files import opened
from test_decode_headers import BINARY, I32, LIST, struct, varint
from test_noticed_arrow import OneFile, contradicting

from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.parquet.decode_footer import Footer, footer_bytes
from dlio_benchmark.parquet.encode_footer import ChunkWritten, FooterBuilder, tail

MIB, GIB = 1 << 20, 1 << 30
MOST_BYTES = 128 * MIB
X = Column("x", ColumnType.INT32)
Y = Column("y", ColumnType.INT32)


def end_of(length: int, magic: bytes = b"PAR1") -> memoryview:
    """Return the last bytes of a file whose footer has ``length`` bytes with its tail."""
    return memoryview(b"\xff" * 9 + (length - 8).to_bytes(4, "little") + magic)


def test_a_footer_fills_a_file_at_most_and_is_no_longer_than_is_read() -> None:
    for length, file_bytes in ((8, 12), (100, 104), (100, 105), (MOST_BYTES, GIB)):
        assert footer_bytes(end_of(length), file_bytes) == length
    for length, file_bytes, what in (
        (9, 12, "cannot have 9 bytes in a file of 12"),
        (100, 103, "cannot have 100 bytes"),
        (MOST_BYTES + 1, GIB, f"at most {MOST_BYTES} are read"),
        (8, 11, "not a Parquet file: it ends with b'PAR1', has 11 bytes"),
    ):
        with pytest.raises(ParquetFileError, match=what):
            footer_bytes(end_of(length), file_bytes)
    with pytest.raises(ParquetFileError, match="its footer is encrypted"):
        footer_bytes(end_of(100, b"PARE"), GIB)
    with pytest.raises(ParquetFileError, match="ends with b'PAR2'"):
        footer_bytes(end_of(100, b"PAR2"), GIB)


def written(column: Column = X, **said: int) -> ChunkWritten:
    """Return a chunk as the footer describes it."""
    encoder: Any = SimpleNamespace(column=column, codec=SimpleNamespace(number=0), encodings=(0,))
    told = {"offset": 4, "values": 10, "plain_bytes": 60, "stored_bytes": 60, **said}
    return ChunkWritten(encoder, **told)


def footer_of(*groups: tuple[int, list[ChunkWritten]], data_end: int = 64) -> Footer:
    """Return the footer, ours, of a file whose row groups have so many rows and these chunks."""
    columns = (X, Y)[: len(groups[0][1]) if groups else 1]
    builder = FooterBuilder(columns, {})
    for rows, chunks in groups:
        builder.add_group(rows, chunks)
    text = tail(builder.encoded())
    return Footer(text, data_end + len(text))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"offset": 4}, {"offset": 3}),
        ({"offset": 4}, {"offset": 0}),
        ({"offset": 4}, {"offset": -1}),
        ({"stored_bytes": 1}, {"stored_bytes": 0}),
        ({"stored_bytes": 60}, {"stored_bytes": 61}),
        ({"offset": 63, "stored_bytes": 1}, {"offset": 64, "stored_bytes": 1}),
        ({"values": 0}, {"values": -1}),
        ({"plain_bytes": 0}, {"plain_bytes": -1}),
    ],
)
def test_a_chunk_lies_inside_of_the_file_and_has_counts_that_can_be(
    right: dict[str, int], wrong: dict[str, int]
) -> None:
    (found,) = footer_of((10, [written(X, **right)])).chunks(0, (0,))
    told = {"offset": 4, "values": 10, "plain_bytes": 60, "stored_bytes": 60, **right}
    said = {"offset": found.start, "values": found.values, "plain_bytes": found.decoded_bytes}
    assert {**said, "stored_bytes": found.stored_bytes} == told
    assert (found.leaf, found.rows, found.codec) == (0, 10, "UNCOMPRESSED")
    footer = footer_of((10, [written(X, **wrong)]))
    with pytest.raises(ParquetFileError, match="row group 0, column 'x': the footer places it at impossible bytes"):
        footer.chunks(0, (0,))


@pytest.mark.parametrize(
    ("dictionary", "data", "start"), [(4, 20, 4), (20, 20, 20), (30, 20, 20), (1, 20, 1), (0, 20, 20)]
)
def test_a_chunk_begins_with_its_dictionary_if_that_lies_before_its_pages(
    dictionary: int, data: int, start: int
) -> None:
    footer = footer_of((10, [written(offset=dictionary, data_offset=data, stored_bytes=10)]))
    if start >= 4:
        assert footer.chunks(0, (0,))[0].start == start
    else:
        with pytest.raises(ParquetFileError, match="impossible bytes: 10 bytes at 1,"):
            footer.chunks(0, (0,))


def test_row_groups_have_no_fewer_than_no_rows() -> None:
    assert footer_of((0, [written(values=0)]), (7, [written()])).group_rows == (0, 7)
    with pytest.raises(ParquetFileError, match="the footer says 10 rows, but its row groups have 10"):
        footer_of((-1, [written()]), (11, [written()]))


def test_a_file_without_row_groups_has_nothing_stored() -> None:
    footer = footer_of()
    assert (footer.group_rows, footer.stored((0,))) == ((), ())
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, pa.schema([("a", pa.int32())])):
        pass
    file = opened(sink.getvalue())
    assert (file.rows, len(file.shapes)) == (0, 0)


def test_the_rows_of_a_file_are_those_of_its_row_groups() -> None:
    rows = 12345
    file = OneFile(pa.table({"x": pa.nulls(rows, pa.int8())}))
    length = int.from_bytes(file.body[-8:-4], "little") + 8
    text = file.body[-length:]
    right, wrong = b"\x16\xf2\xc0\x01", b"\x16\xf4\xc0\x01"  # 12345 and 12346 as the format writes them
    assert Footer(text, len(file.body)).metadata.num_rows == rows
    with pytest.raises(ParquetFileError, match="says 12346 rows, but its row groups have 12345"):
        Footer(text.replace(right, wrong, 1), len(file.body))


def test_what_chunks_have_in_common_is_kept_once() -> None:
    groups = [(1000, [written(X, values=1000, offset=4), written(Y, values=1000, offset=4)]) for _ in range(2)]
    footer = footer_of(*groups)
    first, second = (chunk for group in (0, 1) for chunk in footer.chunks(group, (1,)))
    assert first.values is second.values
    assert first.codec is second.codec
    assert first.leaf == 1
    assert footer.name(1) == "y"
    assert footer.stored((1, 0)) == (("y", "INT32"), ("x", "INT32"))


def test_our_own_files_are_known_by_their_writer() -> None:
    assert footer_of((10, [written()])).is_own
    file = OneFile()
    assert not Footer(file.body[-8 - file.metadata.serialized_size :], len(file.body)).is_own


@pytest.mark.parametrize("number", range(4))
def test_a_wanted_chunk_that_contradicts_itself_is_refused_and_another_is_no_obstacle(number: int) -> None:
    file = OneFile(row_group_size=50)
    length = int.from_bytes(file.body[-8:-4], "little") + 8
    body = file.body[:-length] + contradicting(file)[number]
    columns = [Column("number", ColumnType.INT64), Column("text", ColumnType.STRING)]
    with pytest.raises(ParquetFileError, match="histogram size mismatch"):
        opened(body, [columns[number % 2]])
    assert opened(body, [columns[1 - number % 2]]).rows == 100


def test_a_block_of_no_columns_needs_no_request() -> None:
    file = opened(OneFile(row_group_size=50).body, [])
    assert [(shape.rows, shape.stored_bytes, shape.decoded_bytes) for shape in file.shapes] == [(50, 0, 0)] * 2
    read = file.read(1)
    assert (read.block.rows, read.block.columns, read.requests, read.bytes_read) == (50, {}, 0, 0)


@pytest.mark.parametrize("number", range(4))
def test_an_unknown_codec_of_any_chunk_is_refused_on_opening(number: int) -> None:
    file = OneFile(row_group_size=50, compression="zstd")
    start = len(file.body) - 8 - int.from_bytes(file.body[-8:-4], "little")
    places = [found.start() + 1 for found in re.finditer(rb"\x15\x0c\x16", file.body) if found.start() > start]
    assert len(places) == 4
    damaged = bytearray(file.body)
    damaged[places[number]] = 2 * 9
    for columns in (None, [Column("number", ColumnType.INT64)], []):
        with pytest.raises(ParquetFileError, match="names the codec 9, which does not exist"):
            opened(bytes(damaged), columns)


@pytest.mark.parametrize(
    ("kind", "head", "most"), [(BINARY, b"", 100 * MIB), (LIST, bytes([0xF0 | I32]), MIB)], ids=["text", "elements"]
)
def test_text_and_lists_of_a_footer_have_a_limit_that_is_looked_at_before_they_are(
    kind: int, head: bytes, most: int
) -> None:
    for many, word in ((most, "No more data"), (most + 1, "size limit")):
        footer = struct((50, kind, head + varint(many)))
        with pytest.raises(ParquetFileError, match=f"the footer is damaged: .*{word}"):
            Footer(tail(footer), GIB)
