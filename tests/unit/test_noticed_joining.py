"""Small wrongs of putting row groups together: lists, nulls and text of any offsets become one array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest
from measured import Measured
from test_noticed_outline import NUMBERS, plan_of
from test_noticed_taking import ROWS, Asked, Told, numbers, taken, words

from dlio_benchmark.gather import whole
from dlio_benchmark.memory import Pieces
from dlio_benchmark.values import as_arrow, joined


def test_row_groups_are_put_together_in_memory_of_their_size() -> None:
    memory = Measured()
    groups: list[list[Told]] = [[(numbers(1), {}), (numbers(2), {})]] * 3
    found = whole(taken(NUMBERS, *groups).columns(), 3 * ROWS, memory)
    (room,), size = memory.rooms, 2 * 3 * ROWS * 4
    assert size <= len(room) < size + 64
    assert found["x"].shape == (3 * ROWS,)
    assert all(np.shares_memory(values, np.frombuffer(room, np.uint8)) for values in found.values())
    single, columns = Measured(), taken(NUMBERS, groups[0]).columns()
    assert whole(columns, ROWS, single) is columns
    assert single.asked == []


LISTS = plan_of(x=pa.array([[1, 2]], pa.list_(pa.float32(), 2)))
PAIRS = pa.array([[row, row + 1] for row in range(ROWS)], pa.list_(pa.float32(), 2))


def test_lists_of_several_row_groups_keep_their_shape() -> None:
    body = words(0, values=2 * ROWS, decoded=10)
    arrow = Asked({"x": PAIRS})
    memory = Measured()
    work = taken(LISTS, *[[(body, {"codec": "ZSTD", "values": 2 * ROWS})]] * 2, arrow=arrow)
    found = whole(work.columns(), 2 * ROWS, memory)["x"]
    assert found.shape == (2 * ROWS, 2)
    assert found.tolist() == PAIRS.to_pylist() * 2
    (asked,), size = memory.asked, 2 * ROWS * 2 * 4
    assert size <= asked < size + 64


def test_row_groups_with_nulls_and_without_become_one_array() -> None:
    body = words(0, values=ROWS, decoded=10)
    arrow = Asked({"x": pa.array([None, *range(ROWS - 1)], pa.float32())})
    work = taken(
        NUMBERS, [(numbers(5), {}), (numbers(), {})], [(body, {"codec": "ZSTD"}), (numbers(), {})], arrow=arrow
    )
    found = as_arrow(work.columns()["x"])
    assert found.type == pa.float32()
    assert found.to_pylist() == [*range(5, 5 + ROWS), None, *range(ROWS - 1)]


class ByGroup(Asked):
    """Stands for pyarrow: gives another table for each row group."""

    def __init__(self, *tables: Mapping[str, pa.Array]) -> None:
        super().__init__(tables[0])
        self.tables = [pa.table(one) for one in tables]

    def read(self, group: int, leaves: Sequence[int], chunks: Mapping[int, memoryview]) -> pa.Table:
        super().read(group, leaves, chunks)
        return self.tables[group]


@pytest.mark.parametrize("null_first", [True, False])
def test_lists_with_nulls_and_without_become_one_array(null_first: bool) -> None:
    kind = pa.list_(pa.field("element", pa.float32()))
    lists = [[row, row + 1] for row in range(ROWS)]
    parts = [pa.array([None, *lists[1:]], kind), pa.array(lists, kind)]
    parts = parts if null_first else parts[::-1]
    body = words(0, values=2 * ROWS, decoded=10)
    groups = [[(body, {"codec": "ZSTD", "values": 2 * ROWS})]] * 2
    work = taken(LISTS, *groups, arrow=ByGroup(*({"x": part} for part in parts)))
    found = work.columns()["x"]
    assert pa.types.is_fixed_size_list(found.type)
    assert found.to_pylist() == parts[0].to_pylist() + parts[1].to_pylist()


def test_text_in_large_offsets_and_in_small_ones_becomes_one_array() -> None:
    found = joined([pa.array(["a", "b"], pa.large_string()), pa.array(["c"])], Pieces())
    assert found.type == pa.large_string()
    assert found.to_pylist() == ["a", "b", "c"]
