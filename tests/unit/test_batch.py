"""Batches are views of blocks, of exactly the size asked for, whatever the borders of the blocks."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.batch import Batch, Block, Run, batches_of
from dlio_benchmark.memory import Pieces
from dlio_benchmark.values import as_arrow, joined, taken

BLOCKS = st.lists(st.integers(0, 40), max_size=8)


def counting(sizes: list[int]) -> Iterator[Run]:
    start = 0
    for rows in sizes:
        ids = np.arange(start, start + rows)
        columns = {
            "n": ids,
            "pair": np.stack([ids, -ids], axis=1),
            "text": pa.array([str(n) for n in ids], pa.string()),
        }
        yield Block(rows, columns), 0, rows
        start += rows


@given(sizes=BLOCKS, batch=st.integers(1, 50))
def test_batches_hold_every_row_once_in_order_and_leave_out_less_than_a_batch(sizes: list[int], batch: int) -> None:
    got = list(batches_of(counting(sizes), batch, Pieces()))
    rows = [n for one in got for n in one.column("n").tolist()]
    assert rows == list(range(len(got) * batch))
    assert sum(sizes) - len(rows) < batch
    assert [len(one) for one in got] == [batch] * len(got)


@given(sizes=BLOCKS, batch=st.integers(1, 50))
def test_the_columns_of_a_batch_stay_together(sizes: list[int], batch: int) -> None:
    for one in batches_of(counting(sizes), batch, Pieces()):
        table = one.to_arrow()
        assert table["n"].to_pylist() == [int(text) for text in table["text"].to_pylist()]
        assert table["pair"].to_pylist() == [[n, -n] for n in table["n"].to_pylist()]


@given(rows=st.integers(1, 30), start=st.integers(0, 30), length=st.integers(0, 30))
def test_a_run_may_be_any_part_of_its_block(rows: int, start: int, length: int) -> None:
    block, _, _ = next(counting([rows]))
    start = min(start, rows)
    stop = min(rows, start + length)
    got = [n for one in batches_of(iter([(block, start, stop)]), 1, Pieces()) for n in one.column("n").tolist()]
    assert got == list(range(start, stop))


def test_a_batch_inside_a_block_is_a_view_of_it() -> None:
    block, _, _ = next(counting([10]))
    first = next(batches_of(iter([(block, 0, 10)]), 4, Pieces()))
    assert np.shares_memory(first.column("n"), block.columns["n"])


def test_the_rest_of_a_block_does_not_keep_it_in_memory() -> None:
    runs = list(counting([5, 5]))
    batches = list(batches_of(iter(runs), 4, Pieces()))
    crossing = batches[1]
    assert not np.shares_memory(crossing.parts[0][0].columns["n"], runs[0][0].columns["n"])


def test_the_larger_part_of_a_block_is_not_copied() -> None:
    runs = list(counting([5, 5]))
    (batch,) = batches_of(iter(runs), 8, Pieces())
    parts = zip(batch.parts, runs, strict=True)
    assert all(np.shares_memory(part[0].columns["n"], run[0].columns["n"]) for part, run in parts)


@given(rows=st.lists(st.integers(0, 20), min_size=0, max_size=30))
def test_taking_rows_gives_these_rows_of_every_column(rows: list[int]) -> None:
    block, _, _ = next(counting([21]))
    taken = block.take(np.array(rows, dtype=np.int64), Pieces())
    assert taken.columns["n"].tolist() == rows
    assert taken.columns["text"].to_pylist() == [str(n) for n in rows]
    assert taken.columns["pair"].tolist() == [[n, -n] for n in rows]


@given(
    rows=st.lists(st.integers(0, 9), max_size=12),
    dtype=st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i8", "?", "S5"]),
    size=st.none() | st.integers(0, 3),
    offset=st.integers(0, 3),
    step=st.sampled_from([1, 2, -1]),
)
def test_rows_are_taken_from_arrays_of_any_type_shape_alignment_and_stride(
    rows: list[int], dtype: str, size: int | None, offset: int, step: int
) -> None:
    width = np.dtype(dtype).itemsize * (1 if size is None else size)
    raw = np.frombuffer(bytes(range(3)) + np.random.default_rng(1).bytes(20 * max(width, 1)), np.uint8)[offset:]
    shape = (20,) if size is None else (20, size)
    values = raw[: 20 * width].view(dtype).reshape(shape)[::step][:10]
    room = memoryview(bytearray(width * len(rows)))
    got = taken(values, np.array(rows, dtype=np.int64), room)
    assert got.dtype == values.dtype
    assert got.tobytes() == values[rows].tobytes()
    assert got.shape == (len(rows), *shape[1:])


def test_the_bytes_of_a_block_are_those_of_its_values() -> None:
    assert (
        Block(3, {"a": np.zeros(3), "b": np.zeros((3, 5), np.int8), "c": pa.array([1, 2, 3], pa.int16())}).nbytes == 45
    )


@pytest.mark.parametrize("width", range(1, 18))
def test_rows_of_any_width_are_taken(width: int) -> None:
    values = np.arange(5 * width, dtype=np.uint8).reshape(5, width)
    got = taken(values, np.array([3, 0]), memoryview(bytearray(2 * width)))
    assert got.tolist() == [values[3].tolist(), values[0].tolist()]


def test_rows_of_different_lengths_become_a_list_array() -> None:
    wide, narrow = np.arange(6).reshape(2, 3), np.arange(2).reshape(1, 2)
    assert joined([wide, narrow]).to_pylist() == [[0, 1, 2], [3, 4, 5], [0, 1]]


def test_a_column_with_nulls_in_one_block_only_is_joined() -> None:
    whole, holed = np.arange(4, dtype=np.float32), pa.array([None, 1.0], pa.float32())
    assert joined([whole, holed]).to_pylist() == [0, 1, 2, 3, None, 1]
    kind = pa.list_(pa.field("element", pa.int32()), 2)
    lists = pa.array([[1, None]], kind)
    assert joined([np.array([[5, 6]], np.int32), lists]).to_pylist() == [[5, 6], [1, None]]


def test_two_dimensions_are_a_fixed_size_list_in_arrow() -> None:
    assert as_arrow(np.zeros((2, 3), np.float32)).type == pa.list_(pa.float32(), 3)


def test_a_batch_without_columns_still_knows_its_rows() -> None:
    batch = Batch(((Block(7), 2, 6),))
    assert len(batch) == 4
    assert batch.names == ()


def test_a_block_that_the_batches_have_left_behind_is_free_before_the_next_one_is_asked_for() -> None:
    alive: list[weakref.ref[np.ndarray[tuple[int], np.dtype[np.float64]]]] = []
    seen: list[int] = []

    def runs() -> Iterator[Run]:
        for _ in range(5):
            seen.append(sum(one() is not None for one in alive))
            values = np.arange(10.0)
            alive.append(weakref.ref(values))
            run: Run = (Block(10, {"x": values}), 0, 10)
            del values
            yield run
            del run

    for batch in batches_of(runs(), 3, Pieces()):
        assert len(batch) == 3
        del batch
    assert seen == [0] * 5
