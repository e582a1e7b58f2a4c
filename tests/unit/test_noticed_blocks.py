"""Small wrongs of blocks and batches: how much memory is asked for, what shares it, and what is copied at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from measured import Measured
from numpy.typing import NDArray

from dlio_benchmark.batch import Block, batches_of
from dlio_benchmark.values import as_arrow, copied, joined, taken

BLOCK = Block(
    10,
    {
        "single": np.arange(10, dtype=np.int32),
        "several": np.arange(50, dtype=np.float64).reshape(10, 5),
        "text": pa.array([str(number) for number in range(10)]),
    },
)


def aligned(size: int) -> int:
    """Return ``size`` rounded up to the 64 bytes at which any number is aligned."""
    return (size + 63) // 64 * 64


@pytest.mark.parametrize("rows", [0, 1, 4, 10])
def test_rows_are_put_into_just_the_memory_that_they_take(rows: int) -> None:
    wanted, side = aligned(rows * 4) + aligned(rows * 40), [10 * 4] * (rows > 0)
    memory = Measured()
    first = BLOCK.take(np.arange(rows)[::-1].copy(), memory)
    second = BLOCK.copied(10 - rows, 10, memory)
    assert memory.asked == [wanted, *side, wanted]
    assert first.columns["single"].tolist() == [*range(rows)][::-1]
    assert second.columns["several"].tolist() == np.arange(50).reshape(10, 5)[10 - rows :].tolist()
    assert (first.rows, second.rows) == (rows, rows)
    assert as_arrow(second.columns["text"]).to_pylist() == [str(number) for number in range(10 - rows, 10)]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32, np.float64])
def test_numbers_move_within_their_room_and_nowhere_else(dtype: type) -> None:
    for shape in ((6,), (6, 3)):
        values: NDArray[Any] = np.arange(math.prod(shape)).astype(dtype).reshape(shape)
        rows = np.array([5, 0, 3])
        room = memoryview(bytearray(b"\xff" * (values[rows].nbytes + 8)))
        found = taken(values, rows, room)
        assert np.array_equal(found, values[rows])
        assert np.shares_memory(found, np.frombuffer(room, np.uint8))
        assert bytes(room[-8:]) == b"\xff" * 8
        again = copied(values[1:4], room)
        assert np.array_equal(again, values[1:4])
        assert np.shares_memory(again, np.frombuffer(room, np.uint8))
        assert not np.shares_memory(again, values)


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_nothing_needs_no_room(shape: tuple[int, ...]) -> None:
    values = np.empty(shape, np.float32)
    rows = np.arange(shape[0])[:2]
    assert taken(values, rows, memoryview(b"")).shape == (len(rows), *shape[1:])
    assert copied(values, memoryview(b"")).shape == shape


def test_arrow_values_that_are_copied_keep_nothing_else_alive() -> None:
    large = pa.array(["x" * 1000] * 1000)
    assert copied(large[:3], memoryview(b"")).get_total_buffer_size() < 10_000
    assert copied(large[:0], memoryview(b"")).get_total_buffer_size() < 10_000


def test_rows_of_different_lengths_become_lists() -> None:
    parts = [np.arange(4, dtype=np.float32).reshape(2, 2), np.arange(6, dtype=np.float32).reshape(2, 3)]
    assert joined(parts).to_pylist() == [[0, 1], [2, 3], [0, 1, 2], [3, 4, 5]]
    assert joined(parts).type == pa.large_list(pa.float32())


@pytest.mark.parametrize(("rest", "is_copied"), [(4, True), (5, False)])
def test_a_rest_is_copied_only_where_it_is_less_than_half_of_its_block(rest: int, is_copied: bool) -> None:
    memory = Measured()
    block = Block(10, {"a": np.arange(10)})
    (batch,) = batches_of(iter([(block, 0, rest), (block, 0, 6 - rest)]), 6, memory)
    assert memory.asked == [aligned(rest * 8)] * is_copied
    assert batch.column("a").tolist() == [*range(rest), *range(6 - rest)]


def test_no_rest_is_no_part_of_the_next_batch() -> None:
    blocks = [Block(4, {"a": np.arange(4)}), Block(4, {"a": np.arange(4)})]
    found = list(batches_of(((block, 0, 4) for block in blocks), 4, Measured()))
    assert [len(batch.parts) for batch in found] == [1, 1]
