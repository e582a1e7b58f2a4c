"""Columns are put together and gathered as plain Python does it, wherever their parts stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import Measured

from dlio_benchmark import gather
from dlio_benchmark.batch import Block
from dlio_benchmark.common.enumerations import ColumnType, DatasetType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.memory import Pieces
from dlio_benchmark.parquet.decode_form import Place, _sheets
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.values import Parted, Sheets, Stored, Viewed, parts_of, seen, side_by_side

KINDS = ["i1", "<u2", "<f4", "<i4", "<f8", "S5", "?"]


def plain(values: Any) -> list[Any]:
    """Return values as a list of Python's own, numbers as their bytes: a float may be none."""
    return [row.tobytes() for row in values] if isinstance(values, np.ndarray) else values.to_pylist()


@st.composite
def part_lengths(draw: st.DrawFn) -> list[int]:
    return draw(st.lists(st.integers(0, 7), min_size=1, max_size=4))


@st.composite
def parted(draw: st.DrawFn, lengths: Sequence[int]) -> dict[str, list[Any]]:
    """Draw columns of all kinds, by their parts."""
    columns: dict[str, list[Any]] = {}
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from([*KINDS, "text", "stored"]))
        tail = draw(st.sampled_from([(), (), (1,), (2,), (3,)]))
        parts: list[Any] = []
        for length in lengths:
            octets = draw(st.binary(min_size=length * 64 + 8, max_size=length * 64 + 8))
            if kind == "text":
                parts.append(
                    pa.array([octet.hex() for octet in (octets[at : at + 1] for at in range(length))], pa.string())
                )
            elif kind == "stored":
                parts.append(Stored(memoryview(octets), np.dtype("<i4"), length, 3))
            else:
                width = int(np.dtype(kind).itemsize * np.prod(tail, dtype=int))
                raw: Any = np.frombuffer(octets, np.uint8, length * width, draw(st.integers(0, 3)))
                parts.append((raw & 1 if kind == "?" else raw).view(kind).reshape(length, *tail))
        columns[str(number)] = parts
    return columns


@given(lengths=part_lengths(), data=st.data())
def test_columns_of_any_kind_in_any_parts_are_joined_and_gathered(lengths: list[int], data: st.DataObject) -> None:
    count, parts = sum(lengths), data.draw(parted(lengths))
    rows = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=20) if count else st.just([])), np.int64)
    model = {name: [row for part in own for row in plain(seen(part))] for name, own in parts.items()}
    block, memory = Block(count, Parted(parts)), Pieces()
    side = data.draw(st.sampled_from([1, 16, 100, 1 << 20]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "_SIDE_BYTES", side)
        taken = block.take(rows, memory)
    whole = block.whole(memory)
    assert list(taken.columns) == list(whole.columns) == list(model)
    for name, wanted in model.items():
        assert plain(whole.columns[name]) == plain(block.columns[name]) == wanted
        assert plain(taken.columns[name]) == [wanted[row] for row in rows]
        kinds = {str(getattr(each, "dtype", "")) for each in (block.columns[name], whole.columns[name])}
        assert kinds == {str(getattr(taken.columns[name], "dtype", ""))}


def test_what_was_gathered_shares_no_memory_with_where_it_came_from() -> None:
    source = np.arange(10, dtype=np.int32)
    for columns in ({"x": source}, Parted({"x": [source[:4], source[4:]]})):
        found = Block(10, columns).take(np.arange(10), Pieces()).columns["x"]
        assert not np.shares_memory(found, source)
        assert found.tolist() == source.tolist()


def test_a_block_that_is_whole_stays_what_it_is() -> None:
    sheets = _sheets([(0, 0)], ["x"], [Place(np.dtype("i1"), 3, 0)])
    assert sheets is not None
    viewed = Viewed(["x"], [(memoryview(bytes(3)), sheets)])
    for columns in ({"x": np.arange(3)}, Parted({"x": [np.arange(3)]}), {}, viewed):
        block = Block(3, columns)
        assert block.whole(Pieces()) is block


def test_a_block_of_no_rows_keeps_its_columns() -> None:
    numbers, text = np.empty(0, np.float32), pa.array([], pa.string())
    for columns in (Parted({"n": [numbers] * 2, "t": [text] * 2}), {"n": numbers, "t": text}):
        block = Block(0, columns)
        for found in (block.whole(Pieces()), block.take(np.empty(0, np.int64), Pieces())):
            assert (found.columns["n"].dtype, len(found.columns["n"])) == (numbers.dtype, 0)
            assert (found.columns["t"].type, len(found.columns["t"])) == (text.type, 0)


@pytest.mark.parametrize("kinds", [("<i4", "<f4"), ("<f4", "<i4"), ("<i4", "<i4", "<f4"), ("<u1", "<i8")])
def test_parts_of_different_types_become_the_type_that_holds_both(kinds: tuple[str, ...]) -> None:
    parts = [np.array([1, 200], kind) for kind in kinds]
    block, wanted = Block(2 * len(kinds), Parted({"x": parts})), np.concatenate(parts)
    rows = np.arange(len(wanted))[::-1].copy()
    for found, expected in ((block.whole(Pieces()), wanted), (block.take(rows, Pieces()), wanted[::-1])):
        assert found.columns["x"].dtype == wanted.dtype
        assert found.columns["x"].tolist() == expected.tolist()


@pytest.mark.parametrize("tail", [(), (2,), (5,)])
def test_joined_columns_lie_in_the_memory_that_is_given(tail: tuple[int, ...]) -> None:
    parts, memory = [np.ones((3, *tail), np.float32)] * 2, Measured()
    values = Block(6, Parted({"x": parts})).whole(memory).columns["x"]
    assert values.shape == (6, *tail)
    assert any(np.shares_memory(values, np.frombuffer(room, np.uint8)) for room in memory.rooms)


@st.composite
def places(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[str], list[Place]]:
    """Draw where chunks of some columns stand in some row groups, often at equal distances."""
    groups, columns, rows = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    kinds = [np.dtype(draw(st.sampled_from(["<i4", "<i4", "<f4", "<f8", "i1"]))) for _ in range(columns)]
    gap = draw(st.integers(0, 3))
    members, names, found, at = [], [], [], 0
    order = draw(st.permutations(range(columns)))
    for group in draw(st.permutations(range(groups))):
        for column, kind in ((column, kinds[column]) for column in order):
            at += gap + (draw(st.integers(0, 1)) if draw(st.booleans()) and draw(st.booleans()) else 0)
            members.append((group, column))
            names.append(str(column))
            found.append(Place(kind, rows, at))
            at += rows * kind.itemsize
    if draw(st.booleans()) and draw(st.booleans()):
        found[-1] = found[-1]._replace(rows=rows - 1)
    return members, names, found


@given(drawn=places(), data=st.data())
def test_sheets_hold_each_value_of_each_part(
    drawn: tuple[list[tuple[int, int]], list[str], list[Place]], data: st.DataObject
) -> None:
    members, names, found = drawn
    memory = memoryview(np.random.default_rng(1).bytes(found[-1].start + 64))
    sheets = _sheets(members, names, found)
    groups = len({group for group, _ in members})
    parts: dict[str, list[Any]] = {name: [None] * groups for name in names}
    for (group, _), name, place in zip(members, names, found, strict=True):
        parts[name][group] = Stored(memory, *place)
    starts = {name: [part.start for part in own] for name, own in parts.items()}
    even = all(len(set(np.diff(own))) < 2 for own in starts.values()) and len({place.rows for place in found}) == 1
    assert (sheets is not None) == even
    if sheets is None:
        return
    viewed, count = Viewed(list(parts), [(memory, sheets)]), groups * found[0].rows
    assert [name for sheet in sheets.together for name in sheet.names] == list(parts)
    rows = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=9) if count else st.just([])), np.int64)
    block, memory_of_its_own = Block(count, viewed), Pieces()
    for name, own in parts.items():
        wanted = b"".join(seen(part).tobytes() for part in own)
        values = np.frombuffer(wanted, own[0].dtype)
        assert parts_of(viewed, name) == own
        assert viewed[name].tobytes() == block.whole(memory_of_its_own).columns[name].tobytes() == wanted
        assert block.take(rows, memory_of_its_own).columns[name].tobytes() == values[rows].tobytes()
    first, last = sorted((data.draw(st.integers(0, count)), data.draw(st.integers(0, count))))
    whole = data.draw(st.booleans())
    run = (block.whole(memory_of_its_own) if whole else block).copied(first, last, memory_of_its_own).columns
    assert list(run) == list(viewed)
    for name, own in parts.items():
        assert run[name].dtype == own[0].dtype
        assert run[name].tobytes() == viewed[name][first:last].tobytes()
        assert not np.shares_memory(run[name], np.frombuffer(memory, np.uint8))


def test_columns_at_equal_distances_are_on_one_sheet() -> None:
    kind = np.dtype("<f4")
    members = [(group, column) for group in range(2) for column in range(3)]
    found = [Place(kind, 5, 7 + number * 33) for number in range(6)]
    sheets = _sheets(members, ["a", "b", "c"] * 2, found)
    assert sheets is not None
    assert [sheet[:1] + sheet[2:] for sheet in sheets.together] == [(("a", "b", "c"), 4, 2, 5, 7, 33, 99)]


def test_columns_stand_side_by_side_those_of_a_width_together() -> None:
    kinds = [np.dtype(kind) for kind in ("<f4", "<i4", "<f8", "i1")]
    sheets, many = side_by_side([(["a", "b"], kinds[:2]), (["c"], kinds[2:3]), (["d"], kinds[3:])], 9)
    assert many == 3 * 128 - 64
    starts = {"a": 0, "b": 36, "c": 128, "d": 256}
    assert sheets.places == {name: [(kind, 9, starts[name])] for name, kind in zip("abcd", kinds, strict=True)}
    assert sheets.are_whole
    assert side_by_side([(["a"], kinds[:1])], 0)[1] == 0


def test_a_run_of_viewed_columns_is_a_copy_of_its_rows_and_of_no_others() -> None:
    kinds = [np.dtype(kind) for kind in ("<f4", "<i4", "<i2")]
    found, names = [Place(kind, 5, 3 + number * 23) for number, kind in enumerate(kinds)], ["a", "b", "c"]
    memory = memoryview(bytearray(range(100)))
    sheets = _sheets([(0, number) for number in range(3)], names, found)
    assert sheets is not None
    block = Block(5, Viewed(names, [(memory, sheets)]))
    run = block.copied(1, 4, Pieces())
    wanted = {name: block.columns[name][1:4].tobytes() for name in names}
    assert run.rows == 3
    for octet in range(100):
        memory[octet] = 0
    assert {name: values.tobytes() for name, values in run.columns.items()} == wanted
    assert all(values.flags.aligned and values.flags.writeable for values in run.columns.values())


def test_viewed_columns_know_their_names_and_no_others() -> None:
    nothing, something = Sheets([]), side_by_side([(["a"], [np.dtype("i1")])], 2)[0]
    viewed = Viewed(["a"], [(memoryview(b""), nothing), (memoryview(bytes(4)), something)])
    assert viewed["a"].tolist() == [0, 0]
    with pytest.raises(KeyError, match="b"):
        viewed["b"]


@pytest.mark.parametrize("window", [1, 3])
def test_blocks_of_files_of_our_own_are_on_sheets_from_the_third_on(window: int) -> None:
    """Each window of row groups of a file has the same make; the last one of this file is shorter."""
    columns = tuple(Column(f"c{number}", ColumnType.FLOAT32) for number in range(5))
    storage = MemoryStorage()
    ParquetFiles(columns, row_group_size=100).write(PlannedFile(DatasetType.TRAIN, 0, "f", 1_550), storage)
    file = ParquetRows(storage, columns, ReadMode.ROW_GROUP, group_window=window).open("f")
    blocks = [file.read(index).block for index in range(len(file.shapes))]
    sheets = [
        [sheets for _, sheets in block.columns.pieces] if isinstance(block.columns, Viewed) else None
        for block in blocks
    ]
    assert [each is not None for each in sheets] == [False, False] + [True] * (len(blocks) - 3) + [False]
    assert all([len(one.together) for one in each] == [1] for each in sheets if each is not None)
