"""Parquet files of generated values, read by three engines that share no code with the writer."""

from __future__ import annotations

import io
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from thrift_reader import ThriftReader

from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import COMPRESSION_MAP, ParquetFiles
from dlio_benchmark.errors import CannotCreateError, ConfigError
from dlio_benchmark.parquet.write_pipeline import JOBS_AHEAD
from dlio_benchmark.parquet.write_plan import JOB_BYTES
from dlio_benchmark.plan.generation import FileWritten, PlannedFile, written_by
from dlio_benchmark.plan.world import World
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.synth import Series, to_arrow

TRAIN = DatasetType.TRAIN
ARROW = {
    ColumnType.FLOAT16: pa.float16(),
    ColumnType.FLOAT32: pa.float32(),
    ColumnType.FLOAT64: pa.float64(),
    ColumnType.INT8: pa.int8(),
    ColumnType.INT16: pa.int16(),
    ColumnType.INT32: pa.int32(),
    ColumnType.INT64: pa.int64(),
    ColumnType.UINT8: pa.uint8(),
    ColumnType.UINT16: pa.uint16(),
    ColumnType.UINT32: pa.uint32(),
    ColumnType.UINT64: pa.uint64(),
    ColumnType.BOOL: pa.bool_(),
    ColumnType.STRING: pa.string(),
    ColumnType.BINARY: pa.binary(),
    ColumnType.LIST: pa.float32(),
}
WORDS = (ColumnType.STRING, ColumnType.BINARY)
EVERY = tuple(Column(f"{dtype}_{size}", dtype, size) for dtype in ColumnType for size in (1, 3, 40))
columns = st.lists(
    st.builds(Column, st.text(max_size=6), st.sampled_from(ColumnType), st.sampled_from([1, 2, 7, 8, 33, 500])),
    min_size=1,
    max_size=4,
    unique_by=lambda column: column.name,
).map(tuple)
codecs = st.sampled_from(list(COMPRESSION_MAP))


def planned(rows: int, path: str = "train/x.parquet", index: int = 0) -> PlannedFile:
    return PlannedFile(TRAIN, index, path, rows)


def write(files: ParquetFiles, file: PlannedFile) -> tuple[FileWritten, bytes]:
    storage = MemoryStorage()
    return files.write(file, storage), storage.files[file.path]


def read(octets: bytes) -> pa.Table:
    with pq.ParquetFile(io.BytesIO(octets), page_checksum_verification=True) as file:
        table = file.read()
    table.validate(full=True)
    return table


def expected(columns: tuple[Column, ...], rows: int, *, seed: int = 10, index: int = 0, share: float = 0.0) -> pa.Table:
    series = [Series(seed, TRAIN, index, column, compressibility=share) for column in columns]
    arrays = [to_arrow(one.column, one.values(0, rows)) for one in series]
    return pa.table(arrays, schema=pa.schema([wanted_field(column) for column in columns]))


def wanted_field(column: Column) -> pa.Field:
    kind = ARROW[column.dtype]
    if column.dtype is ColumnType.LIST or (column.size > 1 and column.dtype not in WORDS):
        kind = pa.list_(pa.field("element", kind, nullable=False), column.size)
    return pa.field(column.name, kind, nullable=False)


def test_files_of_as_many_rows_have_the_same_footer_and_other_values() -> None:
    storage = MemoryStorage()
    files = ParquetFiles(EVERY, row_group_size=100)
    for number in range(3):
        files.write(PlannedFile(TRAIN, number, f"{number}.parquet", 250), storage)
    assert len({body[-int.from_bytes(body[-8:-4], "little") - 8 :] for body in storage.files.values()}) == 1
    assert len(set(storage.files.values())) == 3


@given(
    columns=columns,
    codec=codecs,
    rows=st.integers(0, 60),
    group_rows=st.integers(1, 70),
    at_once=st.integers(0, 20),
    share=st.sampled_from([0.0, 0.5]),
    threads=st.integers(0, 2),
)
def test_every_value_and_type_is_what_the_configuration_says(
    columns: tuple[Column, ...],
    codec: Compression,
    rows: int,
    group_rows: int,
    at_once: int,
    share: float,
    threads: int,
) -> None:
    files = ParquetFiles(
        columns,
        codec,
        row_group_size=group_rows,
        rows_at_once=at_once,
        compressibility=share,
        threads=threads,
        metadata={"made by": "a test ✓"},
    )
    written, octets = write(files, planned(rows))
    table = read(octets)
    assert table.schema.remove_metadata() == pa.schema([wanted_field(column) for column in columns])
    assert table.equals(expected(columns, rows, share=share))
    metadata = pq.read_metadata(io.BytesIO(octets))
    assert metadata.num_rows == rows
    assert metadata.metadata[b"made by"].decode() == "a test ✓"
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert sizes == [min(group_rows, rows - start) for start in range(0, rows, group_rows)]
    assert written.row_groups == len(sizes) == -(-rows // group_rows)


@pytest.mark.parametrize("codec", COMPRESSION_MAP)
@pytest.mark.parametrize(("rows", "group_rows"), [(0, 10), (1, 10), (250, 100), (100, 100)])
def test_duckdb_and_polars_read_the_same(tmp_path: Path, codec: Compression, rows: int, group_rows: int) -> None:
    files = ParquetFiles(EVERY, codec, row_group_size=group_rows, rows_at_once=28)
    files.write(planned(rows, "x.parquet"), LocalStorage(str(tmp_path)))
    path = str(tmp_path / "x.parquet")
    wanted = expected(EVERY, rows)
    by_polars = pl.read_parquet(path)
    with duckdb.connect() as engine:
        by_duckdb = engine.read_parquet(path).to_arrow_table()
    assert by_polars.columns == by_duckdb.column_names == wanted.column_names
    for name in wanted.column_names:
        values = wanted[name].to_pylist()
        assert by_polars[name].to_list() == values
        assert by_duckdb[name].to_pylist() == values


@pytest.mark.parametrize("codec", COMPRESSION_MAP)
def test_every_chunk_says_where_it_lies_and_what_is_in_it(codec: Compression) -> None:
    written, octets = write(ParquetFiles(EVERY, codec, row_group_size=400, rows_at_once=111), planned(1000))
    metadata = pq.read_metadata(io.BytesIO(octets))
    assert metadata.created_by.startswith("dlio_benchmark version ")
    at = 4
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(column) for column in range(group.num_columns)]
        for column, chunk in zip(EVERY, chunks, strict=True):
            uncompressed = {"NONE": "UNCOMPRESSED"}
            assert chunk.compression == uncompressed.get(COMPRESSION_MAP[codec], COMPRESSION_MAP[codec])
            per_row = 1 if column.dtype in WORDS else column.size
            assert chunk.num_values == group.num_rows * per_row
            assert chunk.statistics is None
            has_dictionary = column.dtype in (ColumnType.INT8, ColumnType.UINT8) and chunk.num_values > 352
            assert chunk.has_dictionary_page == has_dictionary
            assert set(chunk.encodings) == {"PLAIN", "RLE"} | ({"RLE_DICTIONARY"} if has_dictionary else set())
            assert (chunk.dictionary_page_offset if has_dictionary else chunk.data_page_offset) == at
            assert ThriftReader(octets, at).struct()[1] == (2 if has_dictionary else 0)
            assert ThriftReader(octets, chunk.data_page_offset).struct()[1] == 0
            at += chunk.total_compressed_size
        assert group.total_byte_size == sum(chunk.total_uncompressed_size for chunk in chunks)
    assert at + written.footer_bytes + 8 == written.bytes == len(octets)


@pytest.mark.parametrize("codec", [Compression.NONE, Compression.ZSTD])
def test_a_file_has_the_schema_tree_that_pyarrow_writes(codec: Compression) -> None:
    _, octets = write(ParquetFiles(EVERY, codec), planned(3))
    theirs = io.BytesIO()
    pq.write_table(expected(EVERY, 3), theirs)
    assert pq.ParquetFile(io.BytesIO(octets)).schema.equals(pq.ParquetFile(theirs).schema)


def test_what_is_returned_describes_the_bytes() -> None:
    heard: list[int] = []
    storage = MemoryStorage()
    written = ParquetFiles(EVERY, row_group_size=300).write(planned(700), storage, heard.append)
    octets = storage.files["train/x.parquet"]
    assert written.path == "train/x.parquet"
    assert (written.rows, written.bytes, sum(heard)) == (700, len(octets), len(octets))
    assert written.footer_bytes == int.from_bytes(octets[-8:-4], "little")
    assert written.digest == xxhash.xxh3_128(octets).hexdigest()
    assert written.footer_digest == xxhash.xxh3_128(octets[-written.footer_bytes - 8 :]).hexdigest()


@given(columns=columns, codec=codecs, rows=st.integers(0, 300), group_rows=st.integers(1, 100))
def test_the_bytes_do_not_depend_on_threads(
    columns: tuple[Column, ...], codec: Compression, rows: int, group_rows: int
) -> None:
    files = ParquetFiles(columns, codec, row_group_size=group_rows)
    assert len({write(replace(files, threads=threads), planned(rows))[1] for threads in (0, 1, 3)}) == 1


def test_large_chunks_have_several_pages_and_large_rows_a_page_each() -> None:
    columns = (
        Column("narrow", ColumnType.FLOAT64),
        Column("wide", ColumnType.INT32, 600_000),
        Column("octets", ColumnType.UINT8, 2_100_000),
        Column("flags", ColumnType.BOOL, 1_000_001),
        Column("text", ColumnType.STRING, 300_000),
    )
    files = ParquetFiles((columns[0],), row_group_size=600_000, threads=2)
    assert read(write(files, planned(700_000))[1]).equals(expected((columns[0],), 700_000))
    files = ParquetFiles(columns[1:], row_group_size=2, threads=2)
    assert read(write(files, planned(3))[1]).equals(expected(columns[1:], 3))


@pytest.mark.parametrize("threads", [0, 2])
def test_memory_does_not_grow_with_the_row_group(threads: int) -> None:
    files = ParquetFiles((Column("x", ColumnType.FLOAT64, 100), Column("y")), row_group_size=10**6, threads=threads)
    tracemalloc.start()
    written = files.write(planned(80_000), Forgetful())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert written.bytes > 64_000_000
    in_flight = (threads + JOBS_AHEAD) * JOB_BYTES if threads else 0
    assert peak < 14_000_000 + in_flight


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_memory_is_two_pages_where_a_page_is_a_huge_row(threads: int) -> None:
    row_bytes = 40 << 20
    files = ParquetFiles((Column("x", ColumnType.UINT8, row_bytes),), threads=threads)
    tracemalloc.start()
    files.write(planned(5), Forgetful())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * row_bytes


class Forgetful(MemoryStorage):
    """A storage that takes everything and keeps nothing."""

    def open_output(self, path: str) -> Any:
        out = super().open_output(path)
        vars(out)["write"] = len
        return out


@pytest.mark.parametrize("codec", COMPRESSION_MAP)
def test_a_flipped_bit_in_any_page_is_found(codec: Compression) -> None:
    columns = (Column("x", ColumnType.FLOAT32, 40), Column("y", ColumnType.UINT8, 40), Column("z", ColumnType.BOOL))
    _, octets = write(ParquetFiles(columns, codec, row_group_size=100, rows_at_once=50), planned(200))
    random = np.random.default_rng(1)
    bodies = list(page_bodies(octets))
    assert len(bodies) == 2 * (2 + 3 + 2)
    for body in bodies:
        damaged = bytearray(octets)
        damaged[int(random.integers(body.start, body.stop))] ^= 1 << int(random.integers(8))
        with pytest.raises(OSError, match=r"(?i)crc"):
            read(bytes(damaged))


def page_bodies(octets: bytes) -> Iterator[range]:
    """Yield where the body of each page lies, by walking over the file from its first byte to the footer."""
    reader = ThriftReader(octets, 4)
    while reader.at < len(octets) - 8 - int.from_bytes(octets[-8:-4], "little"):
        stored_bytes = reader.struct()[3]
        yield range(reader.at, reader.at + stored_bytes)
        reader.at += stored_bytes


def test_columns_that_repeat_compress_as_configured() -> None:
    columns = tuple(Column(f"c{index}", ColumnType.FLOAT32, 64) for index in range(4))
    sizes = [
        write(ParquetFiles(columns, Compression.ZSTD, row_group_size=2000, compressibility=share), planned(4000))[
            0
        ].bytes
        for share in (0.0, 0.5, 0.95)
    ]
    payload = 4000 * 64 * 4 * 4
    assert sizes[0] > 0.9 * payload
    assert 0.4 * payload < sizes[1] < 0.6 * payload
    assert sizes[2] < 0.1 * payload


PAYLOAD_BYTES = [
    (Column("x", ColumnType.FLOAT32), 4),
    (Column("x", ColumnType.FLOAT16, 1000), 2000),
    (Column("x", ColumnType.UINT8, 50_000), 50_000),
    (Column("x", ColumnType.INT8), 1),
    (Column("x", ColumnType.BOOL, 8000), 1000),
    (Column("x", ColumnType.BINARY, 1000), 1000),
]


@pytest.mark.parametrize(("column", "row_bytes"), PAYLOAD_BYTES)
def test_a_file_is_at_most_two_percent_larger_than_its_values(column: Column, row_bytes: int) -> None:
    rows = 2_000_000 // row_bytes
    written, _ = write(ParquetFiles((column,), row_group_size=rows), planned(rows))
    assert rows * row_bytes < written.bytes <= 1.02 * rows * row_bytes


def test_the_codecs_of_parquet_are_the_five_it_has() -> None:
    names = {str(codec): name for codec, name in COMPRESSION_MAP.items()}
    assert names == {"none": "NONE", "snappy": "SNAPPY", "gzip": "GZIP", "lz4": "LZ4", "zstd": "ZSTD"}


@pytest.mark.parametrize("codec", [codec for codec in Compression if codec not in COMPRESSION_MAP])
def test_another_codec_is_refused_before_anything_is_written(codec: Compression) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.compression"):
        ParquetFiles(EVERY, codec)


def test_a_level_is_honoured_where_the_codec_has_levels() -> None:
    columns = (Column("x", ColumnType.STRING, 100),)
    low, high = (write(ParquetFiles(columns, Compression.GZIP, level, 1000), planned(1000))[1] for level in (1, 9))
    assert len(high) < len(low)
    for codec in (Compression.NONE, Compression.SNAPPY, Compression.LZ4):
        assert write(ParquetFiles(columns, codec, 3), planned(9)) == write(ParquetFiles(columns, codec), planned(9))


@pytest.mark.parametrize("threads", [0, 2])
def test_a_storage_that_fails_ends_the_write_without_file_or_thread(threads: int) -> None:
    before = threading.active_count()
    storage = Full(after=2)
    with pytest.raises(CannotCreateError, match="no space"):
        ParquetFiles((Column("x", ColumnType.FLOAT64, 10_000),), threads=threads).write(planned(300), storage)
    assert storage.files == {}
    assert threading.active_count() == before


class Full(MemoryStorage):
    """A storage whose files take ``after`` writes."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def open_output(self, path: str) -> Any:
        out = super().open_output(path)
        accept = out.write

        def write(chunk: bytes | memoryview) -> int:
            self.after -= 1
            if self.after < 0:
                msg = f"{path}: no space"
                raise CannotCreateError(msg)
            return accept(chunk)

        vars(out)["write"] = write
        return out


@given(files=st.integers(0, 50), size=st.integers(1, 9))
def test_ranks_share_the_files_without_overlap(files: int, size: int) -> None:
    shares = [written_by(files, World(rank, size)) for rank in range(size)]
    assert sorted(index for share in shares for index in share) == list(range(files))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
