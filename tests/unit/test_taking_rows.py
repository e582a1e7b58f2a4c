"""Rows taken while a block is read are those that another engine finds there, for the same bytes and errors."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import SlowPieces
from taking import (
    COLUMNS,
    GROUP,
    NAMES,
    WIDE,
    Case,
    Rows,
    cases,
    learned,
    other_files,
    our_files,
    rows_by_pyarrow,
    same,
    small,
)

from dlio_benchmark.batch import Block
from dlio_benchmark.clock import FakeClock
from dlio_benchmark.common.enumerations import ColumnType, Compression, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import DlioError, ParquetFileError
from dlio_benchmark.memory import Pieces
from dlio_benchmark.parquet.decode_block import BlockDecoder
from dlio_benchmark.reader import parquet_blocks
from dlio_benchmark.reader.parquet_blocks import ParquetBlocks
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.values import Viewed


@given(case=cases(), data=st.data())
def test_rows_taken_are_those_of_the_block_and_each_byte_is_read_once(case: Case, data: st.DataObject) -> None:
    storage = case.storage()
    reader, names = case.reader(storage), [column.name for column in case.columns]
    with small(case.portion_bytes):
        for path in (*storage.files, "0"):
            file, whole, first = reader.open(path), rows_by_pyarrow(storage.files[path], names), 0
            for index, shape in enumerate(file.shapes):
                few = data.draw(st.none() | st.lists(st.integers(0, shape.rows - 1), max_size=30))
                rows = np.random.default_rng(index).permutation(shape.rows) if few is None else np.array(few, np.int64)
                storage.reads.clear()
                got = file.read_rows(index, rows)
                assert got.block.rows == len(rows)
                assert list(got.block.columns) == names
                for name, values in got.block.columns.items():
                    assert same(values, whole[name][first : first + shape.rows][rows])
                asked = [length for _, _, length in storage.reads]
                assert (sum(asked), len(asked)) == (shape.stored_bytes, got.requests)
                assert (got.bytes_read, got.bytes_requested) == (shape.stored_bytes, shape.stored_bytes)
                assert got.row_groups == shape.row_groups
                first += shape.rows
            assert file.decoded[0] + file.decoded[1] == len(names) * sum(shape.row_groups for shape in file.shapes)
            file.close()


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("portion_bytes", [1, 3000, 1 << 20])
def test_from_the_third_block_of_a_make_on_nothing_is_decoded(
    window: int, portion_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Case(our_files(COLUMNS, 9 * GROUP, GROUP), COLUMNS, window, portion_bytes).storage()
    reader = ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP, group_window=window)
    with small(portion_bytes):
        learned(reader, "0")
        monkeypatch.setattr(parquet_blocks, "BlockDecoder", None)
        for path in storage.files:
            file, whole = reader.open(path), rows_by_pyarrow(storage.files[path], NAMES)
            for index in range(len(file.shapes)):
                block = file.read_rows(index, np.arange(GROUP * window)[::-1].copy()).block
                assert isinstance(block.columns, Viewed)
                for name, values in block.columns.items():
                    assert same(values, whole[name][index * GROUP * window :][: GROUP * window][::-1])
                    assert values.flags.aligned
                    assert values.flags.writeable


def test_portions_hold_whole_columns_side_by_side_by_their_widths() -> None:
    storage = Case(our_files(COLUMNS, 9 * GROUP, GROUP), COLUMNS, 3, 1 << 20).storage()
    reader = ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP, group_window=3)
    with small(1 << 20):
        learned(reader, "0")
        columns = reader.open("0").read_rows(0, np.arange(3 * GROUP)).block.columns
    assert isinstance(columns, Viewed)
    ((_, sheets),) = columns.pieces
    by_width = [["c0", "c5"], ["c1", "c4"], ["c2"], ["c3"]]
    assert [list(sheet.names) for sheet in sheets.together] == by_width


Outcome = tuple[dict[str, bytes], str]


def outcome(read: Any, index: int, rows: Rows) -> Outcome:
    """Return the rows of a block, or the error that reading it is."""
    try:
        block: Block = read(index, rows)
    except DlioError as error:
        return {}, f"{type(error).__name__} {error}"
    return {name: values.tobytes() for name, values in block.columns.items()}, ""


def rows_read(file: ParquetBlocks) -> Callable[[int, Rows], Block]:
    """Return what takes rows while it reads."""
    return lambda index, rows: file.read_rows(index, rows).block


def read_and_take(reader: ParquetRows, path: str, index: int, rows: Rows) -> Block:
    """Take rows the slow way."""
    file = reader.open(path)
    return file.read(index).block.take(rows, Pieces())


OURS = our_files(COLUMNS, 6 * GROUP, GROUP)
OTHERS = other_files(WIDE, 6 * GROUP, GROUP, use_dictionary=False, write_statistics=False)


@pytest.mark.parametrize("bodies", [OURS, OTHERS], ids=["ours", "pyarrow's"])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), window=st.integers(1, 3), data=st.data())
def test_damage_is_told_as_it_is_by_reading_the_whole_block(
    bodies: list[bytes], at: float, bit: int, window: int, data: st.DataObject
) -> None:
    body = bytearray(bodies[1])
    data_bytes = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    body[4 + int(at * (data_bytes - 4))] ^= 1 << bit
    case = Case([bodies[0], bytes(body)], WIDE, window, data.draw(st.sampled_from([1, 3000, 1 << 20])))
    storage = case.storage()
    reader = case.reader(storage)
    with small(case.portion_bytes):
        learned(reader, "0")
        file = reader.open("1")
        for index, shape in enumerate(file.shapes):
            rows = np.random.default_rng(index).permutation(shape.rows)
            storage.reads.clear()
            if not index:
                assert all(portion.slot.form is not None for portion in file._outline.by_columns(0).portions)  # type: ignore[union-attr]
            found = outcome(rows_read(file), index, rows)
            asked = sum(length for _, _, length in storage.reads)
            assert found == outcome(partial(read_and_take, case.reader(storage), "1"), index, rows)
            assert asked == shape.stored_bytes if not found[1] else asked <= shape.stored_bytes


@given(
    share=st.floats(0, 1, exclude_max=True),
    window=st.integers(1, 3),
    portion_bytes=st.sampled_from([1, 3000, 1 << 20]),
    columns=st.sampled_from([COLUMNS, COLUMNS[::2], COLUMNS[2:3]]),
)
def test_a_file_that_ends_early_names_where_it_ends_and_the_first_chunk_that_is_not_whole(
    share: float, window: int, portion_bytes: int, columns: tuple[Column, ...]
) -> None:
    case = Case(OURS[:2], columns, window, portion_bytes)
    storage = case.storage()
    reader = case.reader(storage)
    metadata, names = pq.read_metadata(io.BytesIO(OURS[1])), [column.name for column in columns]
    chunks = []
    for group in range(window, 2 * window):
        for leaf in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(leaf)
            if chunk.path_in_schema in names:
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                chunks.append((start, start + chunk.total_compressed_size, group, chunk.path_in_schema))
    end = chunks[0][0] + int(share * (chunks[-1][1] - chunks[0][0]))
    _, stop, group, name = next(chunk for chunk in chunks if chunk[1] > end)
    with small(portion_bytes):
        learned(reader, "0")
        fast, slow = reader.open("1"), reader.open("1")
        for file in (fast, slow):
            file._file._bytes = file._file._bytes[:end]  # type: ignore[attr-defined]
        wanted = f"1: row group {group}, column '{name}': the file ends at byte {end}, {stop - end} bytes short"
        with pytest.raises(ParquetFileError) as caught:
            fast.read_rows(1, np.arange(GROUP))
        assert str(caught.value) == wanted
        with pytest.raises(ParquetFileError) as caught:
            slow.read(1)
        assert str(caught.value) == wanted


@pytest.mark.parametrize("how", [{"verify_checksums": True}, {"mode": ReadMode.BYTES}, {"mode": ReadMode.DEFAULT}])
def test_rows_are_taken_in_every_way_of_reading(how: dict[str, Any]) -> None:
    storage = Case(OURS, COLUMNS, 1, 1 << 20).storage()
    reader = ParquetRows(storage, COLUMNS, **how)
    rows = np.arange(10)[::-1].copy()
    for path in storage.files:
        file = reader.open(path)
        whole = rows_by_pyarrow(storage.files[path], NAMES)
        got = file.read_rows(0, rows)
        assert (got.block.rows, got.bytes_read) == (len(rows), file.shapes[0].stored_bytes)
        wanted = [] if how.get("mode") is ReadMode.BYTES else NAMES
        assert list(got.block.columns) == wanted
        assert all(same(got.block.columns[name], whole[name][rows]) for name in wanted)


def test_a_damaged_value_is_told_if_checksums_are_to_be_verified() -> None:
    storage = Case(OURS, COLUMNS, 1, 1 << 20).storage()
    body = bytearray(OURS[1])
    values = rows_by_pyarrow(OURS[1], ["c3"])["c3"]
    body[OURS[1].index(values[GROUP : 2 * GROUP].tobytes())] ^= 1
    storage.files["1"] = bytes(body)
    for verify in (False, True):
        reader = ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP, verify_checksums=verify)
        with small(1 << 20):
            learned(reader, "0")
            found = outcome(rows_read(reader.open("1")), 1, np.arange(GROUP))
        assert ("checksum" in found[1]) == verify


def test_values_that_stand_in_the_path_are_taken_with_the_others() -> None:
    storage = MemoryStorage()
    storage.files["part=7/f"] = OURS[0]
    columns = (COLUMNS[3], Column("part", ColumnType.INT64), COLUMNS[0])
    file = ParquetRows(storage, columns, ReadMode.ROW_GROUP, partitions=("part",)).open("part=7/f")
    got, whole = file.read_rows(2, np.array([9, 0])).block, rows_by_pyarrow(OURS[0], ["c3", "c0"])
    assert list(got.columns) == ["c3", "part", "c0"]
    assert np.asarray(got.columns["part"]).tolist() == [7, 7]
    assert got.columns["c3"].tolist() == whole["c3"][[2 * GROUP + 9, 2 * GROUP]].tolist()


class SlowStorage(MemoryStorage):
    """Files in memory of which each read takes a microsecond."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock

    def open_input(self, path: str) -> Any:
        file, clock = super().open_input(path), self.clock

        def pread(offset: int, *into: memoryview) -> int:
            clock.advance(1_000)
            return type(file).pread(file, offset, *into)

        file.pread = pread  # type: ignore[method-assign]
        return file


def test_reading_counts_as_such_and_taking_rows_as_shuffling(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    storage = SlowStorage(clock)
    storage.files["f"] = OURS[0]
    file = ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP, clock=clock, memory=SlowPieces(clock)).open("f")
    original = BlockDecoder.take

    def late(self: BlockDecoder, *args: Any) -> None:
        clock.advance(10)
        original(self, *args)

    monkeypatch.setattr(BlockDecoder, "take", late)
    count, rows = len(COLUMNS), np.arange(10)
    # What is read header by header is laid side by side before its rows are taken.
    for index, (io_ns, decode_ns, shuffle_ns) in enumerate([(1_100, 10, 200), (1_100, 10, 200), (1_000, 0, 100)]):
        with small(1):
            got = file.read_rows(index, rows)
        assert (got.io_ns, got.decode_ns, got.shuffle_ns) == (io_ns * count, decode_ns * count, shuffle_ns * count)
        assert (got.requests, got.bytes_read) == (count, file.shapes[index].stored_bytes)
        assert file.decoded == ((index + 1) * count, 0)


def test_where_nothing_may_be_viewed_taking_rows_counts_as_shuffling_alone() -> None:
    clock = FakeClock()
    storage = SlowStorage(clock)
    storage.files["f"] = our_files(COLUMNS, GROUP, GROUP, Compression.SNAPPY)[0]
    file = ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP, clock=clock, memory=SlowPieces(clock)).open("f")
    took = file.read(0)
    got = file.read_rows(0, np.arange(GROUP))
    assert took.shuffle_ns == 0
    assert (got.io_ns, got.decode_ns, got.requests) == (took.io_ns, took.decode_ns, took.requests)
    assert got.shuffle_ns > 0
    assert got.shuffle_ns % 100 == 0
    assert got.shuffle_ns < 10 * 100
