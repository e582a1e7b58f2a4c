"""Blocks of rows cover a file in order, cost the requests and bytes they need, and may be read side by side."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parquet_files import (
    PATH,
    by_pyarrow,
    numbers,
    opened,
    rows_of,
    same,
    stored,
)
from test_parquet_rows import ALL_TYPES, generated, wanted_bytes

from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.values import as_arrow


@given(
    rows=st.integers(0, 300),
    group=st.integers(1, 100),
    window=st.integers(1, 5),
    block_bytes=st.integers(1, 3000),
    mode=st.sampled_from(ReadMode),
)
def test_blocks_cover_all_rows_in_order(rows: int, group: int, window: int, block_bytes: int, mode: ReadMode) -> None:
    octets = stored(pa.table({"i": pa.array(range(rows), pa.int64())}), row_group_size=group)
    file = opened(octets, mode=mode, group_window=window, block_bytes=block_bytes)
    sizes = [min(group, rows - first) for first in range(0, rows, group)]
    shapes = list(file.shapes)
    assert sum(shape.rows for shape in shapes) == file.rows == rows
    assert sum(shape.row_groups for shape in shapes) == len(sizes)
    if mode is not ReadMode.DEFAULT:
        assert [shape.rows for shape in shapes] == [
            sum(sizes[first : first + window]) for first in range(0, len(sizes), window)
        ]
    else:
        assert all(shape.row_groups == 1 or shape.rows * 8 <= block_bytes for shape in shapes)
    assert rows_of(file) == ({"i": list(range(rows))} if rows and mode is not ReadMode.BYTES else {})


@pytest.mark.parametrize("mode", list(ReadMode))
def test_bytes_are_those_of_the_wanted_chunks_and_adjacent_ones_are_one_request(mode: ReadMode) -> None:
    storage = MemoryStorage()
    table = pa.table({name: numbers(pa.int32(), 1000, 1) for name in "abcdef"})
    storage.files[PATH] = octets = stored(table, row_group_size=500, use_dictionary=False)
    reader = ParquetRows(storage, [Column(name, ColumnType.INT32) for name in "fbc"], mode, block_bytes=1)
    file = reader.open(PATH)
    footer, chunks = sum(count for _, _, count in storage.reads), wanted_bytes(octets, ["b", "c", "f"])
    assert (file.footer_bytes, len(storage.reads)) == (footer, 1)
    storage.reads.clear()
    reads = [file.read(index) for index in range(len(file.shapes))]
    assert len(file.shapes) == 2
    assert len(storage.reads) == sum(read.requests for read in reads) == 4
    assert sum(count for _, _, count in storage.reads) == sum(read.bytes_read for read in reads) == chunks


def test_adjacent_chunks_of_several_row_groups_are_one_request() -> None:
    octets = stored(pa.table({"a": numbers(pa.int32(), 1000, 1)}), row_group_size=100)
    assert opened(octets, group_window=10).read(0).requests == 1


def test_large_blocks_are_fetched_in_portions() -> None:
    octets = stored(pa.table({name: numbers(pa.int64(), 200_000, 1) for name in "abcdefgh"}), use_dictionary=False)
    file = opened(octets)
    read = file.read(0)
    assert read.requests > 1
    assert read.bytes_read == wanted_bytes(octets) == file.shapes[0].stored_bytes
    assert same(rows_of(file), by_pyarrow(octets).to_pydict())


def test_read_mode_bytes_reads_the_chunks_and_decodes_nothing() -> None:
    octets = generated(ALL_TYPES, 100, 40)
    file = opened(octets, [ALL_TYPES[0], ALL_TYPES[5]], ReadMode.BYTES)
    reads = [file.read(index) for index in range(3)]
    assert [(read.block.rows, dict(read.block.columns)) for read in reads] == [(40, {}), (40, {}), (20, {})]
    assert sum(read.bytes_read for read in reads) == wanted_bytes(octets, [ALL_TYPES[0].name, ALL_TYPES[5].name])
    storage = MemoryStorage()
    decodes = [ParquetRows(storage, None, mode).decode for mode in ReadMode]
    assert decodes == ["none" if mode is ReadMode.BYTES else "full" for mode in ReadMode]


def test_a_long_footer_takes_a_second_request_and_is_counted() -> None:
    octets = stored(pa.table({f"column {number}": [1] for number in range(2000)}))
    length = int.from_bytes(octets[-8:-4], "little") + 8
    assert length > 1 << 16
    assert opened(octets).footer_bytes == length


def test_a_file_without_rows_or_without_row_groups_has_no_blocks() -> None:
    schema = pa.schema([("a", pa.int32())])
    sink = io.BytesIO()
    pq.ParquetWriter(sink, schema).close()
    for octets in (stored(schema.empty_table()), sink.getvalue()):
        file = opened(octets)
        assert (file.rows, len(file.shapes), list(file.shapes)) == (0, 0, [])


def test_time_is_split_between_fetching_and_decoding() -> None:
    class Ticks:
        """A clock that moves by one at each look."""

        def __init__(self) -> None:
            self.ticks: Iterator[int] = itertools.count()

        def now_ns(self) -> int:
            return next(self.ticks)

        def sleep(self, seconds: float) -> None:
            raise AssertionError(seconds)

    octets = stored(pa.table({"a": numbers(pa.int32(), 10, 1)}))
    read = opened(octets, clock=Ticks()).read(0)
    assert (read.io_ns, read.decode_ns) == (1, 2)


def test_blocks_may_be_read_by_several_threads_at_once() -> None:
    table = pa.table({"f": numbers(pa.float32(), 20_000, 1), "s": [f"{row}" for row in range(20_000)]})
    file = opened(stored(table, row_group_size=1000))
    found: dict[int, Any] = {}

    def read(first: int) -> None:
        for index in range(first, len(file.shapes), 4):
            block = file.read(index).block
            found[index] = {name: as_arrow(values).to_pylist() for name, values in block.columns.items()}

    threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in table.column_names:
        assert same([value for index in range(20) for value in found[index][name]], table[name].to_pylist())
