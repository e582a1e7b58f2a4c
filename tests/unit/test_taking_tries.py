"""Blocks are read by columns while that is of use, are not when it is not, and it is tried again."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from taking import (
    BITS,
    COLUMNS,
    GROUP,
    WIDE,
    Case,
    other_files,
    our_files,
    rows_by_pyarrow,
    same,
    small,
)

from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.parquet.decode_form import Slot
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage


def requests_of(reader: ParquetRows, storage: MemoryStorage, path: str) -> list[int]:
    """Return how many requests each block of a file takes whose rows are taken; the rows are those of the file."""
    names = [column.name for column in reader.columns or ()]
    file, whole, found, first = reader.open(path), rows_by_pyarrow(storage.files[path], names), [], 0
    for index, shape in enumerate(file.shapes):
        got = file.read_rows(index, np.arange(shape.rows))
        assert all(same(values, whole[name][first : first + shape.rows]) for name, values in got.block.columns.items())
        found.append(got.requests)
        first += shape.rows
    return found


def uneven(columns: tuple[Column, ...], groups: int) -> bytes:
    """Return a file of values whose statistics, which stand in the headers, are others in each row group."""
    return other_files(columns, groups * GROUP, GROUP, use_dictionary=False, write_statistics=True)[0]


def test_files_that_differ_around_their_values_are_read_as_without_shuffling_but_for_a_try_now_and_then() -> None:
    """Two blocks are needed to know the make, and two more to see that it does not fit; so it is at each try."""
    storage = Case([uneven(WIDE, 60)], WIDE, 1, 1).storage()
    reader, count = ParquetRows(storage, WIDE, ReadMode.ROW_GROUP), len(WIDE)
    with small(1):
        assert (
            requests_of(reader, storage, "0") == [count] * 4 + [1] * 16 + [count] * 2 + [1] * 32 + [count] * 2 + [1] * 4
        )


def test_chunks_that_cannot_be_viewed_after_all_are_read_by_columns_once_and_at_a_try_now_and_then() -> None:
    """pyarrow stores small integers as wider ones if it writes no dictionary."""
    bodies = other_files(COLUMNS, 20 * GROUP, GROUP, use_dictionary=False, write_statistics=False)
    storage = Case(bodies, COLUMNS, 1, 1).storage()
    reader, count = ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP), len(COLUMNS)
    with small(1):
        assert requests_of(reader, storage, "0") == [count] + [1] * 16 + [count] + [1] * 2


def zeros_and_ones(groups: int, *odd: int, odder: Sequence[int] = ()) -> bytes:
    """Return a file whose row groups have the same statistics, but for odd ones: their first column is 0, or 1."""
    dice = np.random.default_rng(groups)
    arrays = [dice.integers(0, 2, groups * GROUP) for _ in BITS]
    for group in (*odd, *odder):
        arrays[0][group * GROUP : (group + 1) * GROUP] = group in odder
    schema = pa.schema([pa.field(column.name, pa.int64(), nullable=False) for column in BITS])
    sink = io.BytesIO()
    how = {"use_dictionary": False, "compression": "NONE", "write_statistics": True}
    pq.write_table(pa.table(arrays, schema), sink, row_group_size=GROUP, **how)
    return sink.getvalue()


@pytest.mark.parametrize(
    "odd",
    [(), (2,), (3,), (3, 5), (3, 6, 8), (5, 6, 7, 8, 9), (0, 1, 2, 3, 4), (0, 2, 4, 6, 8), (9,)],
    ids=str,
)
def test_portions_that_are_others_now_and_then_or_from_now_on_change_nothing(odd: tuple[int, ...]) -> None:
    storage = Case([zeros_and_ones(10, *odd), zeros_and_ones(6)], BITS, 1, 1).storage()
    reader = ParquetRows(storage, BITS, ReadMode.ROW_GROUP)
    with small(1):
        assert requests_of(reader, storage, "0") == [len(BITS)] * 10
        assert requests_of(reader, storage, "1") == [len(BITS)] * 6


def test_only_misses_in_a_row_count() -> None:
    storage = Case([zeros_and_ones(10, 3, odder=[5]), zeros_and_ones(10, 3, odder=[4])], BITS, 1, 1).storage()
    with small(1):
        for path, requests in (("0", [len(BITS)] * 10), ("1", [len(BITS)] * 5 + [1] * 5)):
            assert requests_of(ParquetRows(storage, BITS, ReadMode.ROW_GROUP), storage, path) == requests


def test_a_make_that_is_even_is_read_by_columns_beside_one_that_is_not() -> None:
    """Chunks of another size are another make."""
    storage = Case([uneven(WIDE, 6), *our_files(WIDE, 30 * GROUP, GROUP)], WIDE, 1, 1).storage()
    reader, count = ParquetRows(storage, WIDE, ReadMode.ROW_GROUP), len(WIDE)
    with small(1):
        assert requests_of(reader, storage, "0") == [count] * 4 + [1] * 2
        assert requests_of(reader, storage, "1") == [count] * 30
        assert requests_of(reader, storage, "0") == [1] * 6


def test_a_pause_gets_longer_each_time_and_ends_with_a_portion_that_fits() -> None:
    slot = Slot([(0, 0)], ["x"])
    assert [slot.is_promising() for _ in range(3)] == [True] * 3
    slot.learn(memoryview(b""), None)
    assert [slot.is_promising() for _ in range(18)] == [False] * 16 + [True] * 2
    slot.learn(memoryview(b""), None)
    assert [slot.is_promising() for _ in range(34)] == [False] * 32 + [True] * 2
    for _ in range(9):
        slot.learn(memoryview(b""), None)
    assert [slot.is_promising() for _ in range(1025)] == [False] * 1024 + [True]
    slot.learn(memoryview(b""), None)
    slot.tell_fit()
    assert slot.is_promising()
    slot.learn(memoryview(b""), None)
    assert [slot.is_promising() for _ in range(17)] == [False] * 16 + [True]
