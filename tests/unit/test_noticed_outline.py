"""Small wrongs of how the chunks of a block are fetched: portions of memory, requests, and what a block decodes to.

The chunks are said and never read, so that they may be large.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.parquet import decode_outline
from dlio_benchmark.parquet.decode import Chunk
from dlio_benchmark.parquet.decode_footer import Footer, most_decoded
from dlio_benchmark.parquet.decode_form import Slots
from dlio_benchmark.parquet.decode_outline import Layout, Outline
from dlio_benchmark.parquet.decode_plan import Plan, plan
from verification.faults import body_end

MIB = 1 << 20
LONGEST_VIEWED, LONGEST_DECODED, LONGEST_TAKEN = 16 * MIB, 4 * MIB, 6 * MIB


def plan_of(**columns: pa.Array) -> Plan:
    """Return the plan for files with such columns, without nulls."""
    schema = pa.schema([pa.field(name, values.type, nullable=False) for name, values in columns.items()])
    sink = io.BytesIO()
    pq.write_table(pa.table(list(columns.values()), schema), sink, compression="NONE")
    body = sink.getvalue()
    return plan(Footer(body[body_end(body) :], len(body)), None, "f")


ONE = pa.array([1.0], pa.float32())
NUMBER = plan_of(x=ONE)
NUMBERS = plan_of(x=ONE, y=ONE)
TEXTS = plan_of(x=pa.array(["a"]))
TEXT = plan_of(x=pa.array(["a"]), y=ONE)
MIXED = plan_of(x=ONE, text=pa.array(["a"]), y=pa.array([[1, 2]], pa.list_(pa.int16())))


@dataclass(slots=True)
class Said:
    """What a footer says of the chunks of each row group."""

    groups: Sequence[Sequence[Chunk]]
    metadata: Any = None

    @property
    def group_rows(self) -> list[int]:
        """Rows of each row group."""
        return [chunks[0].rows for chunks in self.groups]

    def chunks(self, group: int, _leaves: Sequence[int]) -> list[Chunk]:
        """Return the chunks of a row group."""
        return list(self.groups[group])

    def outline(self, known: Plan, blocks: Sequence[Sequence[int]] | None = None) -> Outline:
        """Return the outline of a file with such a footer, all in one block if nothing else is said."""
        footer: Any = self
        told = [range(len(self.groups))] if blocks is None else blocks
        return Outline(b"", 0, footer, known, told, absent=(), slots=Slots())


def chunk(start: int, stored: int, *, leaf: int = 0, rows: int = 10, decoded: int = 0) -> Chunk:
    return Chunk(leaf, start, stored, rows, rows, "UNCOMPRESSED", decoded)


def in_file_order(sizes: Sequence[int], gaps: Sequence[int] | None = None) -> list[list[Chunk]]:
    """Return row groups of one chunk each, that lie behind each other with ``gaps`` before them."""
    at, found = 4, []
    for size, gap in zip(sizes, gaps or [0] * len(sizes), strict=True):
        found.append([chunk(at + gap, size)])
        at += gap + size
    return found


def laid_out(groups: Sequence[Sequence[Chunk]], known: Plan = NUMBER) -> Layout:
    return Said(groups).outline(known).layout(0)


@pytest.mark.parametrize(
    ("sizes", "portions"),
    [
        ([8 * MIB], [8 * MIB]),
        ([1], [1]),
        ([1, 1, 1], [3]),
        ([MIB] * 4, [4 * MIB]),
        ([MIB] * 8, [4 * MIB] * 2),
        ([MIB] * 9, [3 * MIB] * 3),
        ([MIB] * 5, [3 * MIB, 2 * MIB]),
        ([2 * MIB + 1, 2 * MIB], [2 * MIB + 1, 2 * MIB]),
        ([160 * 10**4, 2 * 10**6, 140 * 10**4], [160 * 10**4, 340 * 10**4]),
        ([10 * MIB, MIB, MIB], [10 * MIB, MIB, MIB]),
        ([1, 10 * MIB, 1], [1, 10 * MIB, 1]),
        ([MIB, 10 * MIB, MIB], [MIB, 10 * MIB, MIB]),
        ([3 * MIB] * 3, [3 * MIB] * 3),
    ],
)
@pytest.mark.parametrize(("known", "longest"), [(NUMBER, LONGEST_VIEWED), (TEXTS, LONGEST_DECODED)])
def test_portions_are_of_about_the_same_size(sizes: list[int], portions: list[int], known: Plan, longest: int) -> None:
    times = longest // LONGEST_DECODED
    layout = laid_out(in_file_order([size * times for size in sizes]), known)
    assert [portion.bytes for portion in layout.portions] == [size * times for size in portions]


@given(
    sizes=st.lists(st.sampled_from([1, 1000, MIB, 3 * MIB, 5 * MIB]), min_size=1, max_size=30),
    data=st.data(),
)
def test_each_wanted_byte_is_fetched_once_into_memory_of_its_chunk(sizes: list[int], data: st.DataObject) -> None:
    gaps = [data.draw(st.sampled_from([0, 0, 0, 7])) for _ in sizes]
    lying = in_file_order(sizes, gaps)
    order = data.draw(st.permutations(range(len(sizes))))
    groups = [lying[place] for place in order]
    portions = laid_out(groups).portions
    total, mean = sum(sizes), sum(sizes) / -(-sum(sizes) // LONGEST_VIEWED)
    members = [member for portion in portions for member in portion.slot.members]
    assert sorted(members) == [(number, 0) for number in range(len(sizes))]
    assert [groups[number][0] for number, _ in members] == [chunks[0] for chunks in lying]
    assert sum(portion.bytes for portion in portions) == total
    for portion in portions:
        own = [groups[number][place] for number, place in portion.slot.members]
        assert own
        assert portion.bytes == sum(one.stored_bytes for one in own) <= mean + max(one.stored_bytes for one in own)
        runs: list[list[int]] = []
        for one in own:
            if runs and runs[-1][1] == one.start:
                runs[-1][1] += one.stored_bytes
            else:
                runs.append([one.start, one.start + one.stored_bytes])
        assert [(one.start, one.start + one.bytes) for one in portion.requests] == [tuple(run) for run in runs]


@given(
    sizes=st.lists(st.sampled_from([1, 1000, MIB, 3 * MIB, 5 * MIB]), min_size=1, max_size=8),
    groups=st.integers(1, 4),
    data=st.data(),
)
def test_portions_of_columns_hold_each_column_whole_in_the_order_of_the_file(
    sizes: list[int], groups: int, data: st.DataObject
) -> None:
    """The second row group may lie before the first one, and the columns in any order with gaps between."""
    known = plan_of(**{f"c{number}": ONE for number in range(len(sizes))})
    order, at = data.draw(st.permutations(range(len(sizes)))), 4
    lying: dict[tuple[int, int], Chunk] = {}
    for group in data.draw(st.permutations(range(groups))):
        for place in order:
            at += data.draw(st.sampled_from([0, 0, 0, 7]))
            lying[group, place] = chunk(at, sizes[place], leaf=place)
            at += sizes[place]
    chunks = [[lying[group, place] for place in range(len(sizes))] for group in range(groups)]
    outline = Said(chunks).outline(known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode_outline, "_PIECE_BYTES", 1)
        layout = outline.by_columns(0)
    assert layout is not None
    assert layout is outline.by_columns(0)
    assert layout.shape == outline.layout(0).shape
    columns: list[int] = []
    total = sum(sizes) * groups
    mean = total / -(-total // LONGEST_TAKEN)
    for portion in layout.portions:
        members = portion.slot.members
        own = sorted({place for _, place in members}, key=order.index)
        columns += own
        assert sorted(members) == sorted((group, place) for group in range(groups) for place in own)
        here = [lying[member] for member in members]
        starts = [one.start for one in here]
        assert starts == sorted(starts)
        assert portion.bytes == sum(one.stored_bytes for one in here) <= mean + groups * max(sizes)
        ends = [one.start + one.stored_bytes for one in here]
        apart = sum(end != after.start for end, after in zip(ends, here[1:], strict=False))
        assert len(portion.requests) == 1 + apart
        assert sum(one.chunks for one in portion.requests) == len(here)
        assert sum(one.bytes for one in portion.requests) == portion.bytes
        assert all(one.start in starts for one in portion.requests)
        assert portion.slot.names == tuple(f"c{place}" for _, place in members)
    assert columns == list(order)


@pytest.mark.parametrize(
    ("megabytes", "portions"), [([6], 1), ([2, 2, 2], 1), ([3, 3, 1], 2), ([5, 5], 2), ([13], 1), ([4, 4, 4, 1], 3)]
)
def test_portions_of_columns_are_of_about_six_mebibytes(megabytes: list[int], portions: int) -> None:
    known = plan_of(**{f"c{number}": ONE for number in range(len(megabytes))})
    starts = [4 + sum(megabytes[:number]) * MIB for number in range(len(megabytes))]
    row_group = [
        chunk(start, size * MIB, leaf=n) for n, (start, size) in enumerate(zip(starts, megabytes, strict=True))
    ]
    layout = Said([row_group]).outline(known).by_columns(0)
    assert layout is not None
    assert len(layout.portions) == portions


def test_portions_of_many_row_groups_are_larger_so_that_their_requests_are_not_smaller() -> None:
    sizes = [512 << 10] * 5
    groups = [
        [chunk(4 + (group * 5 + leaf) * sizes[0], sizes[0], leaf=leaf) for leaf in range(5)] for group in range(20)
    ]
    layout = Said(groups).outline(plan_of(**{f"c{number}": ONE for number in range(5)})).by_columns(0)
    assert layout is not None
    assert sorted(portion.bytes for portion in layout.portions) == [10 * MIB, 20 * MIB, 20 * MIB]


@pytest.mark.parametrize(("stored", "cut"), [(4095, False), (4096, True)])
def test_columns_whose_chunks_are_tiny_are_not_cut(stored: int, cut: bool) -> None:
    starts = [4 + number * 8192 for number in range(3)]
    groups = [[chunk(start, 4096), chunk(start + 4096, 4096, leaf=1)] for start in starts]
    groups[1][0] = chunk(starts[1], stored)
    for some in (groups, groups[1:2]):
        assert (Said(some).outline(NUMBERS).by_columns(0) is not None) == cut


def test_what_may_not_be_viewed_is_not_cut_by_columns() -> None:
    known, packed = Said([[chunk(4, MIB), chunk(4 + MIB, MIB, leaf=1)]]), chunk(4 + MIB, MIB)._replace(codec="ZSTD")
    assert known.outline(NUMBERS).by_columns(0) is not None
    assert known.outline(TEXT).by_columns(0) is None
    assert Said([[chunk(4, MIB)], [packed]]).outline(NUMBER).by_columns(0) is None


def test_chunks_that_overlap_are_an_error_where_columns_are_cut_too() -> None:
    outline = Said([[chunk(4, 10)], [chunk(13, 10)]]).outline(NUMBER)
    with pytest.raises(ParquetFileError, match="overlap"):
        outline.by_columns(0)


def test_where_nothing_is_wanted_nothing_is_requested() -> None:
    assert Said([[chunk(4, 10)]]).outline(NUMBER)._portions([[], []]) == []


def test_chunks_that_overlap_are_an_error_wherever_they_are_named() -> None:
    assert len(laid_out([[chunk(4, 10)], [chunk(14, 10)]]).portions) == 1
    for groups in (
        [[chunk(4, 11)], [chunk(14, 10)]],
        [[chunk(14, 10)], [chunk(4, 11)]],
        [[chunk(4, 1)], [chunk(4, 1)]],
    ):
        with pytest.raises(ParquetFileError, match="overlap"):
            laid_out(groups)


def test_a_block_promises_rows_bytes_and_what_they_decode_to() -> None:
    def group(at: int, rows: int, decoded: int) -> list[Chunk]:
        return [
            chunk(at, 100, leaf=0, rows=rows, decoded=10**6),
            chunk(at + 100, 50, leaf=1, rows=rows, decoded=decoded),
            chunk(at + 150, 25, leaf=2, rows=rows, decoded=3 * decoded),
        ]

    said = Said([group(4, 10, 1000), group(179, 7, 500), group(354, 0, 0)])
    assert MIXED.varying == {1, 2}
    outline = said.outline(MIXED, [[0, 1], [1, 2]])
    both, last = outline.layout(0).shape, outline.layout(1).shape
    assert (both.rows, both.row_groups, both.stored_bytes) == (17, 2, 350)
    assert both.decoded_bytes == 17 * 4 + 4 * 1000 + 4 * 500
    assert (last.rows, last.row_groups, last.stored_bytes, last.decoded_bytes) == (7, 2, 350, 7 * 4 + 4 * 500)


def test_blocks_decode_to_no_more_than_their_bytes_may() -> None:
    assert [most_decoded(stored) for stored in (0, MIB)] == [256 * MIB, 1032 * MIB]
    rows = 64 * MIB  # of four bytes each
    assert laid_out([[chunk(4, 1, rows=rows)]]).shape.decoded_bytes == 256 * MIB
    with pytest.raises(ParquetFileError, match="row group 0: 1 bytes cannot decode"):
        laid_out([[chunk(4, 1, rows=rows + 1)]])
    text = [chunk(4, 1, decoded=256 * MIB - 40), chunk(5, 1, leaf=1)]
    assert laid_out([text], TEXT).shape.decoded_bytes == 256 * MIB
    with pytest.raises(ParquetFileError, match="cannot decode"):
        laid_out([[text[0]._replace(decoded_bytes=256 * MIB - 39), text[1]]], TEXT)


def slots_of(known: Plan, *groups: list[Chunk]) -> list[Any]:
    outline = Said(groups).outline(known, [[number] for number in range(len(groups))])
    return [outline.layout(number).portions[0].slot for number in range(len(groups))]


def test_portions_have_a_slot_together_if_their_chunks_are_alike_and_may_be_viewed() -> None:
    def pair(at: int, size: int = 40, **others: Any) -> list[Chunk]:
        return [chunk(at, size), chunk(at + size, 40, leaf=1)._replace(**others)]

    one, same, larger, fewer, packed, woven = slots_of(
        NUMBERS,
        *(pair(4), pair(1004), pair(2004, 41), pair(3004, rows=9, values=9), pair(4004, codec="SNAPPY")),
        [chunk(5044, 40), chunk(5004, 40, leaf=1)],
    )
    assert one is same
    assert (one.members, one.names) == (((0, 0), (0, 1)), ("x", "y"))
    assert woven.members == ((0, 1), (0, 0))
    assert woven.names == ("y", "x")
    assert len({id(slot) for slot in (one, larger, fewer, packed, woven)}) == 5


def test_slots_are_forgotten_when_there_are_too_many_or_too_many_chunks_in_them() -> None:
    slots = Slots()
    first = slots.of(0, [(0, 0)], ["x"])
    for make in range(512):
        assert slots.of(make, [(0, 0)], ["x"]).members == [(0, 0)]
    assert slots.of(0, [(0, 0)], ["x"]) is first
    assert len(slots) == len(list(slots)) == 512
    assert slots.of(512, [(0, 0)], ["x"]) in list(slots)
    assert len(slots) == 1
    assert slots.of(0, [(0, 0)], ["x"]) is not first
    large = slots.of(1, [(0, 0)] * (32_768 - 2), ["x"] * (32_768 - 2))
    assert len(slots) == 3
    assert slots.of(1, [(0, 0)], ["x"]) is large
    slots.of(2, [(0, 0)], ["x"])
    assert len(slots) == 1
    slots.of(3, [(0, 0)] * 40_000, ["x"] * 40_000)
    assert len(slots) == 1


@pytest.mark.parametrize(("known", "shared"), [(NUMBERS, True), (TEXT, False)])
def test_only_slots_that_may_get_a_form_are_kept(known: Plan, shared: bool) -> None:
    groups = [[chunk(at, 40), chunk(at + 40, 40, leaf=1)] for at in (4, 1004)]
    said = Said(groups).outline(known, [[0], [1]])
    slots = [said.layout(number).portions[0].slot for number in (0, 1)]
    assert (slots[0] is slots[1]) == shared
    assert len(said.slots) == shared
    packed = Said([[one._replace(codec="ZSTD") for one in group] for group in groups]).outline(known, [[0], [1]])
    assert packed.layout(0).portions[0].slot is not packed.layout(1).portions[0].slot
    assert len(packed.slots) == 0


def test_an_outline_holds_for_the_same_footer_of_a_file_of_the_same_length() -> None:
    footer: Any = Said([[chunk(4, 10)]])
    outline = Outline(b"footer", 100, footer, NUMBER, [[0]], absent=(), slots=Slots())
    asked = [(b"footer", 100), (b"footer", 101), (b"Footer", 100), (b"Footer", 99)]
    assert [outline.holds_for(*one) for one in asked] == [True, False, False, False]
