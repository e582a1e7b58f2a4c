"""Small wrongs of written files that every reader takes: at bounds, at ties, in memory, and in the sizes of writes."""

from __future__ import annotations

import base64
import itertools
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from numpy.typing import NDArray
from thrift_reader import ThriftReader

from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.errors import ConfigError
from dlio_benchmark.parquet.encode import ChunkEncoder, Codec, most_rows
from dlio_benchmark.parquet.encode_levels import list_levels
from dlio_benchmark.parquet.write_file import PageMaker, Sink
from dlio_benchmark.parquet.write_pipeline import Job, in_order
from dlio_benchmark.parquet.write_plan import FileShape, PageSpan, shape_of
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.storage.memory import MemoryStorage

KIB, MIB = 1 << 10, 1 << 20
MOST_FOR_LZ4 = 0x7E000000
"""Its library's LZ4_MAX_INPUT_SIZE."""


# -- pages -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("values", "has_dictionary"), [(352, False), (353, True)])
def test_a_dictionary_is_written_where_indices_and_dictionary_are_less_than_the_values(
    values: int, has_dictionary: bool
) -> None:
    header_bytes = 32
    assert (values + 256 * 4 + header_bytes < values * 4) == has_dictionary
    encoder = ChunkEncoder(Column("x", ColumnType.UINT8), Codec(Compression.NONE), values)
    assert (encoder.dictionary is not None) == has_dictionary


LARGEST = [(ColumnType.UINT8, MOST_FOR_LZ4), (ColumnType.BOOL, 2**31 - 1), (ColumnType.BINARY, MOST_FOR_LZ4 - 4)]


@pytest.mark.parametrize(("dtype", "size"), LARGEST)
def test_the_largest_row_that_a_page_can_hold_is_a_page(dtype: ColumnType, size: int) -> None:
    assert most_rows(Column("x", dtype, size), 1) == 1
    with pytest.raises(ConfigError, match="does not fit into a Parquet page"):
        most_rows(Column("x", dtype, size + 1), 1)


PAGE_ROWS = [
    (Column("x", ColumnType.BOOL), 100, 800),
    (Column("x", ColumnType.BOOL, 3), 100, 266),
    (Column("x", ColumnType.BOOL), 2**30, 2**31 - 1),
    (Column("x", ColumnType.BOOL, 2), 2**30, 2**30 - 1),
    (Column("x", ColumnType.FLOAT64, 3), 100, 4),
    (Column("x", ColumnType.STRING), 100, 100 // (4 + 16)),
    (Column("x", ColumnType.STRING, 2), 100, 100 // (4 + 2)),
    (Column("x", ColumnType.BINARY), 100, 100 // (4 + 1)),
    (Column("x", ColumnType.BINARY, 97), 100, 1),
]


@pytest.mark.parametrize(("column", "target", "rows"), PAGE_ROWS)
def test_a_page_has_as_many_rows_as_fit(column: Column, target: int, rows: int) -> None:
    assert most_rows(column, target) == rows


STORED_BITS = {
    **dict.fromkeys((ColumnType.INT8, ColumnType.UINT8), 8),
    **dict.fromkeys((ColumnType.INT16, ColumnType.UINT16, ColumnType.INT32, ColumnType.UINT32), 32),
    **dict.fromkeys((ColumnType.INT64, ColumnType.UINT64, ColumnType.FLOAT64), 64),
    **dict.fromkeys((ColumnType.FLOAT32, ColumnType.LIST), 32),
    ColumnType.FLOAT16: 16,
    ColumnType.BOOL: 1,
    ColumnType.STRING: 32 + 8 * 3,
    ColumnType.BINARY: 32 + 8 * 3,
}
"""What a value takes in a page, of three characters where it is text or bytes."""


@pytest.mark.parametrize("dtype", ColumnType)
def test_a_value_takes_as_many_bits_of_a_page_as_the_format_gives_it(dtype: ColumnType) -> None:
    is_number = dtype not in (ColumnType.STRING, ColumnType.BINARY)
    assert most_rows(Column("x", dtype, 3), 10_000) == 80_000 // (STORED_BITS[dtype] * (3 if is_number else 1))


# -- levels ------------------------------------------------------------------------------------------------------------
def runs(rows: int, size: int) -> bytes:
    """Return repetition levels as two runs per row, of sizes for which a length is one byte."""
    return bytes([1 << 1, 0, size - 1 << 1, 1]) * rows


def packed(rows: int, size: int) -> bytes:
    """Return repetition levels as one bit per value, in fewer than 64 groups of eight; the pattern fills the last."""
    levels = np.array([0, *[1] * (size - 1)] * (rows + 8), np.uint8)
    octets = np.packbits(levels, bitorder="little").tobytes()[: -(-rows * size // 8)]
    return bytes([len(octets) << 1 | 1]) + octets


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("size", [2, 7, 24, 25, 28, 31, 32, 33, 40, 56])
def test_levels_are_the_shorter_of_runs_and_bits_and_runs_where_both_are_as_long(rows: int, size: int) -> None:
    octets = list_levels(rows, size)
    many = int.from_bytes(octets[:4], "little")
    bits_bytes = -(-rows * size // 8)
    assert octets[4 : 4 + many] == (runs(rows, size) if 4 * rows <= bits_bytes else packed(rows, size))


def test_laying_levels_down_takes_little_more_memory_than_they_do() -> None:
    list_levels.cache_clear()
    tracemalloc.start()
    octets = list_levels(400_000, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * len(octets)


# -- the footer --------------------------------------------------------------------------------------------------------
COLUMNS = (Column("a", ColumnType.UINT8, 40), Column("b", ColumnType.FLOAT32, 3), Column("c", ColumnType.STRING))


@pytest.mark.parametrize("codec", [Compression.NONE, Compression.ZSTD])
def test_the_footer_says_of_each_row_group_where_it_begins_and_how_large_it_is(codec: Compression) -> None:
    storage = MemoryStorage()
    files = ParquetFiles(COLUMNS, codec, row_group_size=10, metadata={"key": "value"})
    files.write(PlannedFile(DatasetType.TRAIN, 0, "f", 25), storage)
    octets = storage.files["f"]
    footer = footer_of(octets)
    assert set(footer) == {1, 2, 3, 4, 5, 6}
    assert (footer[1], footer[3]) == (2, 25)
    assert [pair[1] for pair in footer[5]] == [b"key", b"ARROW:schema"]
    at = 4
    for group, rows in zip(footer[4], (10, 10, 5), strict=True):
        chunks = [chunk[3] for chunk in group[1]]
        assert group[5] == at
        for chunk, head in zip(chunks, group[1], strict=True):
            assert head[2] == 0
            assert chunk.get(11, chunk[9]) == at
            plain_bytes, stored_bytes = chunk_bytes(octets, at, chunk[7])
            assert (chunk[6], chunk[7]) == (plain_bytes, stored_bytes)
            at += stored_bytes
        assert group == {
            1: group[1],
            2: sum(chunk[6] for chunk in chunks),
            3: rows,
            5: group[5],
            6: sum(chunk[7] for chunk in chunks),
        }


def footer_of(octets: bytes) -> dict[int, Any]:
    """Return the footer of a file, by the numbers of its fields."""
    return ThriftReader(octets, len(octets) - 8 - int.from_bytes(octets[-8:-4], "little")).struct()


def whole(bits: int, signed: bool, converted: int) -> dict[int, Any]:
    """Return what a schema says of a whole number of up to 32 bits that is not INT32 itself."""
    return {1: 1, 6: converted, 10: {10: {1: bits, 2: signed}}}


ANNOTATED: dict[ColumnType, dict[int, Any]] = {
    ColumnType.FLOAT16: {1: 7, 2: 2, 10: {15: {}}},
    ColumnType.FLOAT32: {1: 4},
    ColumnType.FLOAT64: {1: 5},
    ColumnType.INT8: whole(8, True, 15),
    ColumnType.INT16: whole(16, True, 16),
    ColumnType.INT32: {1: 1},
    ColumnType.INT64: {1: 2},
    ColumnType.UINT8: whole(8, False, 11),
    ColumnType.UINT16: whole(16, False, 12),
    ColumnType.UINT32: whole(32, False, 13),
    ColumnType.UINT64: whole(64, False, 14) | {1: 2},
    ColumnType.BOOL: {1: 0},
    ColumnType.STRING: {1: 6, 6: 0, 10: {1: {}}},
    ColumnType.BINARY: {1: 6},
    ColumnType.LIST: {1: 4},
}
"""What the format has for each type: physical type, length, annotation in its old and in its new spelling."""


@pytest.mark.parametrize("dtype", ColumnType)
def test_the_schema_is_the_one_of_the_format_field_by_field(dtype: ColumnType) -> None:
    columns = (Column("one", dtype), Column("more", dtype, 3))
    storage = MemoryStorage()
    ParquetFiles(columns).write(PlannedFile(DatasetType.TRAIN, 0, "f", 2), storage)
    expected: list[dict[int, Any]] = [{3: 0, 4: b"schema", 5: 2}]
    for column in columns:
        is_list = dtype is ColumnType.LIST or (column.size > 1 and dtype not in (ColumnType.STRING, ColumnType.BINARY))
        name = b"element" if is_list else column.name.encode()
        if is_list:
            expected += [{3: 0, 4: column.name.encode(), 5: 1, 6: 3, 10: {3: {}}}, {3: 2, 4: b"list", 5: 1}]
        expected.append(ANNOTATED[dtype] | {3: 0, 4: name})
    footer = footer_of(storage.files["f"])
    assert footer[2] == expected
    for chunk, column in zip((one[3] for one in footer[4][0][1]), columns, strict=True):
        assert chunk[1] == ANNOTATED[dtype][1]
        assert chunk[3][0] == column.name.encode()


def test_the_arrow_schema_in_the_footer_has_no_nulls() -> None:
    storage = MemoryStorage()
    ParquetFiles(COLUMNS).write(PlannedFile(DatasetType.TRAIN, 0, "f", 2), storage)
    (pair,) = footer_of(storage.files["f"])[5]
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(pair[2])))
    assert not any(field.nullable for field in schema)
    assert [field.type.value_field.nullable for field in schema if pa.types.is_fixed_size_list(field.type)] == [
        False
    ] * 2
    assert schema.names == ["a", "b", "c"]


def chunk_bytes(octets: bytes, at: int, stored_bytes: int) -> tuple[int, int]:
    """Return the bytes of the pages of a chunk with their headers: without the codec, and as they are stored."""
    plain = stored = 0
    while stored < stored_bytes:
        reader = ThriftReader(octets, at + stored)
        header = reader.struct()
        head_bytes = reader.at - at - stored
        plain += head_bytes + header[2]
        stored += head_bytes + header[3]
    return plain, stored


# -- writes ------------------------------------------------------------------------------------------------------------
class Kept:
    """A file that keeps each write apart."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, chunk: bytes | memoryview) -> int:
        self.writes.append(bytes(chunk))
        return len(chunk)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


def test_all_writes_but_the_last_are_four_mebibytes_whatever_the_parts() -> None:
    octets = np.random.default_rng(0).bytes(9 * MIB)
    cuts = [0, 0, 1, 7, 3 * MIB, 3 * MIB, 4 * MIB, 4 * MIB + 5, 9 * MIB]
    kept, heard = Kept(), list[int]()
    sink = Sink(kept, heard.append)
    for start, stop in itertools.pairwise(cuts):
        sink.add([octets[start:stop]])
        assert sink.bytes == stop
    assert [len(write) for write in kept.writes] == [4 * MIB] * 2
    sink.flush()
    assert [len(write) for write in kept.writes] == heard == [4 * MIB, 4 * MIB, MIB]
    assert b"".join(kept.writes) == octets
    assert sink.digest() == xxhash.xxh3_128(octets).hexdigest()
    sink.flush()
    assert len(kept.writes) == 3
    sink.add([b"more"])
    sink.flush()
    assert kept.writes[3:] == [b"more"]


def test_parts_that_fill_a_write_exactly_are_written_at_once() -> None:
    kept = Kept()
    sink = Sink(kept, lambda _many: None)
    sink.add([bytes(4 * MIB)])
    assert [len(write) for write in kept.writes] == [4 * MIB]
    sink.flush()
    assert len(kept.writes) == 1


# -- threads -----------------------------------------------------------------------------------------------------------
class Zeros:
    """Rows of zeros."""

    def payload(self, start: int, stop: int) -> NDArray[Any]:
        """Return them."""
        return np.zeros(stop - start, np.float32)


def maker(rows: int, codec: Compression = Compression.NONE) -> PageMaker:
    columns = (Column("x", ColumnType.FLOAT32),)
    return PageMaker("f", columns, [Zeros()], shape_of(columns, rows, rows), codec=Codec(codec))


@pytest.mark.parametrize("codec", [Compression.NONE, Compression.SNAPPY, Compression.LZ4])
def test_light_pages_are_made_by_one_thread(codec: Compression) -> None:
    light, heavy = maker(16 * KIB - 1, codec), maker(16 * KIB, codec)
    assert [light.useful(threads) for threads in (0, 1, 4)] == [0, 1, 1]
    assert [heavy.useful(threads) for threads in (0, 1, 4)] == [0, 1, 4]


@pytest.mark.parametrize("codec", [Compression.GZIP, Compression.ZSTD])
def test_codecs_that_take_long_are_worth_threads_even_for_light_pages(codec: Compression) -> None:
    assert [maker(10, codec).useful(threads) for threads in (0, 1, 4)] == [0, 1, 4]


# -- row groups, pages, jobs -------------------------------------------------------------------------------------------
def test_a_page_of_a_full_row_group_has_so_many_bytes_on_average() -> None:
    def mean(rows: int, page_rows: tuple[int, ...], row_bits: tuple[int, ...]) -> float:
        return FileShape(rows, 100, page_rows, row_bits).mean_page_bytes

    assert mean(1000, (100, 50), (8, 24)) == 100 * 4 / 3
    assert mean(10, (100, 50), (8, 24)) == 10 * 4 / 2
    assert mean(1000, (30,), (1,)) == 100 / 8 / 4
    assert mean(0, (30,), (8,)) == 0


def test_pages_are_cut_at_two_mebibytes_and_where_they_are_asked_to_be() -> None:
    columns = (Column("x", ColumnType.UINT8, KIB), Column("y", ColumnType.UINT8))
    assert shape_of(columns, 9999, 5000).page_rows == (2 * KIB, 5000)
    assert shape_of(columns, 9999, 5000, rows_at_once=1).page_rows == (1, 1)
    assert shape_of(columns, 9999, 5000, rows_at_once=3000).page_rows == (2 * KIB, 3000)
    assert shape_of(columns, 9999, 10).page_rows == (10, 10)
    assert shape_of(columns, 9999, 5000).row_bits == (8 * KIB, 8)


@pytest.mark.parametrize(("rows", "groups"), [(0, 0), (1, 1), (100, 1), (101, 2), (200, 2)])
def test_a_file_has_so_many_row_groups(rows: int, groups: int) -> None:
    assert FileShape(rows, 100, (7,), (8,)).groups == groups


def test_pages_are_made_together_until_they_are_a_mebibyte() -> None:
    for page_rows, together in ((KIB, 1), (KIB - 1, 2), (KIB // 2, 2), (KIB // 4, 4)):
        shape = FileShape(8 * KIB, 8 * KIB, (page_rows,), (8 * KIB,))
        jobs = list(shape.jobs())
        assert {len(job) for job in jobs[:-1]} == {together}
        assert jobs[0][0] == PageSpan(0, 0, page_rows)
    one_bit_less = 8 * MIB - 1
    jobs = list(FileShape(4 * one_bit_less, 4 * one_bit_less, (one_bit_less,), (1,)).jobs())
    assert [len(job) for job in jobs] == [2, 2]


class Pulled:
    """Jobs of these costs that make their own number; ``many`` of them have been asked for."""

    def __init__(self, costs: Sequence[int]) -> None:
        self.costs, self.many = costs, 0

    def __iter__(self) -> Iterator[Job[int]]:
        for number, cost in enumerate(self.costs):
            self.many += 1
            yield Job(partial(abs, number), cost)


AHEAD = [
    (3, 2, [0] * 9, 10, [6, 7, 8, 9, 9, 9, 9, 9, 9]),
    (1, 5, [10] * 6, 30, [4, 5, 6, 6, 6, 6]),
    (1, 5, [100] * 4, 10, [3, 4, 4, 4]),
    (2, 4, [10, 20, 5, 5, 10, 10, 10, 40, 1, 1], 30, [3, 5, 7, 7, 8, 8, 9, 10, 10, 10]),
]


@pytest.mark.parametrize(("threads", "ahead", "costs", "budget", "pulled"), AHEAD)
def test_jobs_are_begun_ahead_until_their_number_or_their_bytes_are_reached(
    threads: int, ahead: int, costs: list[int], budget: int, pulled: list[int]
) -> None:
    jobs = Pulled(costs)
    results = in_order(jobs, threads, bytes_in_flight=budget, ahead=ahead)
    assert [(number, jobs.many) for number in results] == list(enumerate(pulled))


def test_64_mebibytes_may_be_in_flight_and_five_jobs_beside_those_of_the_threads() -> None:
    for cost, pulled in ((0, 2 + 5 + 1), (16 * MIB, 4 + 1), (16 * MIB + 1, 3 + 1)):
        jobs = Pulled([cost] * 9)
        with closing(in_order(jobs, 2)) as results:
            next(results)
            assert jobs.many == pulled


@pytest.mark.parametrize("threads", [1, 2])
def test_jobs_are_made_in_threads_that_say_what_they_are_for(threads: int) -> None:
    made = list(in_order([Job(threading.current_thread, 1)] * 3, threads))
    assert threading.current_thread() not in made
    assert all(thread.name.startswith("pages") for thread in made)
