"""Small wrongs of taking the chunks of a block: what is viewed, what is left to pyarrow, and what is said of damage.

The chunks are made by hand, and what stands for pyarrow writes down what it is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from test_decode import PLAIN, page, varint
from test_noticed_outline import NUMBER, NUMBERS, ONE, TEXT, Said, chunk, plan_of

from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.parquet.decode import Chunk
from dlio_benchmark.parquet.decode_block import BlockDecoder
from dlio_benchmark.parquet.decode_footer import most_decoded
from dlio_benchmark.parquet.decode_outline import Layout, Outline
from dlio_benchmark.parquet.decode_plan import Plan

DELTA, MIB = 5, 1 << 20
ROWS = 10


def numbers(first: float = 0.0) -> bytes:
    """Return a page that can be viewed."""
    return page(0, (np.arange(ROWS, dtype="<f4") + first).tobytes(), values=ROWS, encoding=PLAIN)


def words(kind: int, *, values: int, decoded: int) -> bytes:
    """Return a compressed page that is left to pyarrow: a dictionary, or values of an encoding of others."""
    head = b"".join(b"\x15" + varint(number * 2) for number in (kind, decoded, 2))
    levels = (3, 3) if kind == 0 else ()
    inner = b"".join(b"\x15" + varint(number * 2) for number in (values, DELTA if kind == 0 else PLAIN, *levels))
    return head + (b"\x2c" if kind == 0 else b"\x4c") + inner + b"\0\0" + b"zz"


Told = tuple[bytes, dict[str, Any]]


class Asked:
    """Stands for pyarrow: gives the columns ``table``, and writes down what it was asked for."""

    def __init__(self, table: Mapping[str, pa.Array]) -> None:
        self.table, self.log = pa.table(table), []  # type: ignore[var-annotated]

    def read(self, group: int, leaves: Sequence[int], chunks: Mapping[int, memoryview]) -> pa.Table:
        self.log.append((group, list(leaves), {start: bytes(body) for start, body in chunks.items()}))
        return self.table

    def read_text(self, group: int, leaf: int, chunks: Mapping[int, memoryview], **told: int) -> pa.ChunkedArray:
        self.log.append((group, leaf, {start: bytes(body) for start, body in chunks.items()}, told))
        return self.table.column(0)


class Groups(Said):
    """What a footer says, with its schema."""

    def __init__(self, groups: Sequence[Sequence[Chunk]], schema: pa.Schema) -> None:
        super().__init__(groups)
        self.schema = schema

    def name(self, leaf: int) -> str:
        """Return the name of a leaf."""
        return f"leaf {leaf}"


def opened(known: Plan, *groups: Sequence[Told], at: int = 4) -> tuple[Outline, Layout, bytes]:
    """Return a file whose row groups have these chunks: their bytes, and what the footer says of them besides."""
    body, said = bytes(at), list[list[Chunk]]()
    for chunks in groups:
        said.append([])
        for leaf, (octets, others) in enumerate(chunks):
            made = chunk(len(body), len(octets), leaf=leaf, rows=ROWS, decoded=len(octets))
            said[-1].append(made._replace(**others))
            body += octets
    outline = Groups(said, known.schema).outline(known)
    return outline, outline.layout(0), body


def taken(
    known: Plan,
    *groups: Sequence[Told],
    arrow: Any = None,
    verify: bool = False,
) -> BlockDecoder:
    """Return the decoder that has taken all chunks of these row groups."""
    outline, layout, body = opened(known, *groups)
    outline.arrow = arrow
    work = BlockDecoder(outline, layout, verify=verify)
    for portion in layout.portions:
        fetched = b"".join(body[one.start : one.start + one.bytes] for one in portion.requests)
        work.take(portion, memoryview(bytearray(fetched)))
    return work


def test_viewed_columns_are_counted_and_stand_under_their_names() -> None:
    work = taken(NUMBERS, [(numbers(1), {}), (numbers(2), {})], [(numbers(3), {}), (numbers(4), {})])
    found = work.columns()
    assert (work.viewed, work.by_arrow) == (4, 0)
    wanted = np.arange(ROWS, dtype="f4")
    assert found["x"].tolist() == [*(wanted + 1), *(wanted + 3)]
    assert found["y"].tolist() == [*(wanted + 2), *(wanted + 4)]


def test_a_form_is_used_from_the_third_portion_of_its_make_without_a_look_at_the_chunks() -> None:
    chunks: list[Told] = [(numbers(1), {}), (numbers(2), {})]
    outline, layout, body = opened(NUMBERS, chunks)
    (portion,) = layout.portions
    for times in range(4):
        for verify in (True, False):
            work = BlockDecoder(outline, layout, verify=verify)
            work.take(portion, memoryview(bytearray(body[4:])))
            assert (work._known is None) == (times > 1 and not verify)
            assert {name: values[0] for name, values in work.columns().items()} == {"x": 1, "y": 2}
            assert work.viewed == 2


def test_a_portion_is_viewed_by_the_form_that_fitted_it_whatever_is_learned_since() -> None:
    outline, layout, body = opened(NUMBERS, [(numbers(1), {}), (numbers(2), {})])
    (portion,) = layout.portions
    for _ in range(2):
        BlockDecoder(outline, layout, verify=False).take(portion, memoryview(bytearray(body[4:])))
    work, form = BlockDecoder(outline, layout, verify=False), portion.slot.form
    assert form is not None
    work.take(portion, memoryview(bytearray(body[4:])))
    portion.slot.form = copy(form)
    portion.slot.form.places = [place._replace(start=place.start + 1) for place in form.places]
    assert {name: values[0] for name, values in work.columns().items()} == {"x": 1, "y": 2}


def test_no_form_is_learned_of_portions_that_hold_something_else() -> None:
    halves = [page(0, bytes(ROWS * 2), values=ROWS // 2, encoding=PLAIN)] * 2
    outline, layout, body = opened(NUMBERS, [(numbers(), {}), (b"".join(halves), {})])
    for _ in range(3):
        work = BlockDecoder(outline, layout, verify=False)
        work.take(layout.portions[0], memoryview(bytearray(body[4:])))
        assert work.columns()["y"].tolist() == [0.0] * ROWS
    assert layout.portions[0].slot.form is None


def dictionary_of(decoded: int, values: int) -> bytes:
    return words(2, values=1, decoded=decoded) + words(0, values=values, decoded=0)


@pytest.mark.parametrize(
    ("values", "longest", "steps"),
    [(256, MIB, None), (257, MIB, 256), (2**14, 2**14, None), (2**14, 2**14 + 1, 2**14 - 1)],
)
def test_text_that_could_fill_the_memory_is_decoded_in_steps(values: int, longest: int, steps: int | None) -> None:
    body = dictionary_of(longest, values)
    arrow = Asked({"x": pa.array(["a"] * values), "y": pa.array([1.0] * values, pa.float32())})
    others = {"rows": values, "values": values, "codec": "ZSTD"}
    flat = page(0, bytes(4 * values), values=values, encoding=PLAIN)
    work = taken(TEXT, [(body, others), (flat, {"rows": values, "values": values})], arrow=arrow)
    assert len(arrow.log) == (steps is not None)
    assert work.columns()["x"].to_pylist() == ["a"] * values
    if steps is None:
        assert arrow.log == [(0, [0], {4: body})]
    else:
        assert arrow.log == [(0, 0, {4: body}, {"rows_at_once": steps, "most_bytes": most_decoded(len(body))})]
    assert (work.viewed, work.by_arrow) == (1, 1)


def test_rows_of_words_longer_than_what_may_be_decoded_come_one_by_one() -> None:
    body = dictionary_of(260 * MIB, ROWS)
    arrow = Asked({"x": pa.array(["a"] * ROWS)})
    taken(TEXT, [(body, {"codec": "ZSTD", "decoded_bytes": 250 * MIB}), (numbers(), {})], arrow=arrow)
    assert arrow.log[0][3] == {"rows_at_once": 1, "most_bytes": 256 * MIB}


def test_text_without_a_dictionary_is_not_decoded_in_steps() -> None:
    body = words(0, values=ROWS, decoded=30 * MIB)
    arrow = Asked({"x": pa.array(["a"] * ROWS)})
    work = taken(TEXT, [(body, {"codec": "ZSTD", "decoded_bytes": 30 * MIB}), (numbers(), {})], arrow=arrow)
    assert work.columns()["x"].to_pylist() == ["a"] * ROWS
    assert arrow.log == [(0, [0], {4: body})]


def test_pages_that_claim_too_much_are_not_left_to_pyarrow() -> None:
    for decoded, fits in ((16 * MIB + 100, True), (16 * MIB + 101, False)):
        body = words(0, values=ROWS, decoded=decoded)
        arrow = Asked({"x": pa.array(["a"] * ROWS)})
        chunks = [(body, {"codec": "ZSTD", "decoded_bytes": 100}), (numbers(), {})]
        if fits:
            taken(TEXT, chunks, arrow=arrow).columns()
        else:
            with pytest.raises(ParquetFileError, match="row group 0, column 'leaf 0', byte 4: the pages claim"):
                taken(TEXT, chunks, arrow=arrow)
        assert len(arrow.log) == fits


@pytest.mark.parametrize(("decoded", "at_once"), [((64 << 10) - 1, False), (64 << 10, True)])
def test_a_large_column_is_decoded_while_its_bytes_are_still_warm(decoded: int, at_once: bool) -> None:
    body = words(0, values=ROWS, decoded=10)
    arrow = Asked({"x": pa.array(["a"] * ROWS), "y": pa.array([1.0] * ROWS, pa.float32())})
    others = {"codec": "ZSTD", "decoded_bytes": decoded}
    work = taken(TEXT, [(body, others), (body, others)], arrow=arrow)
    apart = [(0, [0], {4: body}), (0, [1], {4 + len(body): body})]
    assert arrow.log == (apart if at_once else [])
    found = work.columns()
    assert arrow.log == (apart if at_once else [(0, [0, 1], {4: body, 4 + len(body): body})])
    assert (work.viewed, work.by_arrow) == (0, 2)
    assert found["y"].tolist() == [1.0] * ROWS


STRUCT = plan_of(s=pa.array([{"a": 1, "b": 2}]), y=ONE)


def test_the_leaves_of_a_column_are_decoded_together() -> None:
    body = words(0, values=ROWS, decoded=10)
    arrow = Asked({"s": pa.array([{"a": row, "b": 2} for row in range(ROWS)])})
    large = {"codec": "ZSTD", "decoded_bytes": MIB}
    groups = [[(body, large), (body, large), (numbers(), {})]] * 2
    work = taken(STRUCT, *groups, arrow=arrow)
    assert arrow.log == []
    found = work.columns()
    assert [(group, leaves) for group, leaves, _ in arrow.log] == [(0, [0, 1]), (1, [0, 1])]
    assert (work.viewed, work.by_arrow) == (2, 2)
    assert found["s"].to_pylist() == arrow.table.column("s").to_pylist() * 2


def test_a_column_has_as_many_rows_as_the_footer_says() -> None:
    body = words(0, values=ROWS, decoded=10)
    for many in (ROWS - 1, ROWS + 1):
        arrow = Asked({"x": pa.array(["a"] * many)})
        work = taken(TEXT, [(body, {"codec": "ZSTD"}), (numbers(), {})], arrow=arrow)
        with pytest.raises(ParquetFileError, match=f"row group 0, columns 'x': {many} rows came out; the footer says"):
            work.columns()


class Failing:
    """Stands for pyarrow: every read of a row group but the first raises ``error``."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, group: int, *_: object) -> pa.Table:
        if group == 0:
            return pa.table({"x": pa.array(["a"] * ROWS)})
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pa.ArrowInvalid("words"), ParquetFileError),
        (OSError("words"), ParquetFileError),
        (KeyError("words"), ParquetFileError),
        (NotImplementedError("words"), ParquetFileError),
        (ParquetFileError("words"), ParquetFileError),
        (SchemaMismatchError("words"), SchemaMismatchError),
    ],
)
def test_what_pyarrow_raises_names_row_group_and_columns(error: Exception, kind: type[Exception]) -> None:
    body = words(0, values=ROWS, decoded=10)
    groups = [[(body, {"codec": "ZSTD"}), (numbers(), {})]] * 2
    work = taken(TEXT, *groups, arrow=Failing(error))
    with pytest.raises(kind, match=r"^row group 1, columns 'x': .*words"):
        work.columns()


def test_damage_is_named_by_its_place_in_the_file() -> None:
    damaged = numbers()[:3] + b"\x01" + numbers()[4:]
    groups: list[list[Told]] = [[(numbers(), {}), (numbers(), {})], [(numbers(), {}), (damaged, {})]]
    at = 4 + 3 * len(numbers())
    with pytest.raises(ParquetFileError, match=f"^row group 1, column 'leaf 1', byte {at}: "):
        taken(NUMBERS, *groups)
    outline, layout, body = opened(NUMBERS, *groups)
    work = BlockDecoder(outline, layout, verify=True)
    with pytest.raises(ParquetFileError, match=f"^row group 1, column 'leaf 1', byte {at}: "):
        work.check(layout.portions[0], memoryview(body[4:]))
    with pytest.raises(ParquetFileError, match=f"column 'leaf 0', byte 4: there are {ROWS} rows, but no page"):
        taken(NUMBERS, [(b"\0" * 30, {"values": 0}), (numbers(), {})])


def read(outline: Outline, layout: Layout, body: bytes) -> dict[str, Any]:
    """Return all columns of a file that is one block."""
    work = BlockDecoder(outline, layout, verify=False)
    for portion in layout.portions:
        fetched = b"".join(body[one.start : one.start + one.bytes] for one in portion.requests)
        work.take(portion, memoryview(bytearray(fetched)))
    return dict(work.columns())


LARGE = 9 * MIB // 4
"""Values of a chunk that is a portion of its own."""


def large(first: int) -> Told:
    values = np.arange(first, first + LARGE, dtype="<f4")
    return page(0, values.tobytes(), values=LARGE, encoding=PLAIN), {"rows": LARGE, "values": LARGE}


def test_row_groups_that_are_portions_of_their_own_are_read_one_after_the_other_however_often() -> None:
    outline, layout, body = opened(NUMBER, [large(0)], [large(7)])
    assert [portion.slot.names for portion in layout.portions] == [NUMBER.names] * 2
    for _ in range(4):
        found = read(outline, layout, body)["x"]
        assert (len(found), found[0], found[LARGE - 1], found[LARGE], found[-1]) == (
            *(2 * LARGE, 0, LARGE - 1),
            *(7, LARGE + 6),
        )
    assert all(portion.slot.form is not None for portion in layout.portions)


def test_columns_that_are_portions_of_their_own_are_all_there_however_often_they_are_read() -> None:
    outline, layout, body = opened(NUMBERS, [large(1), large(2)])
    assert [portion.slot.names for portion in layout.portions] == [("x",), ("y",)]
    for _ in range(4):
        found = read(outline, layout, body)
        assert {name: (len(values), values[0]) for name, values in found.items()} == {"x": (LARGE, 1), "y": (LARGE, 2)}
        assert list(found) == ["x", "y"]


def test_columns_stand_in_the_order_asked_for_however_often_they_are_read() -> None:
    asked = dataclasses.replace(NUMBERS, names=NUMBERS.names[::-1])
    for known in (NUMBERS, asked):
        outline, layout, body = opened(known, [(numbers(1), {}), (numbers(2), {})])
        for _ in range(4):
            work = BlockDecoder(outline, layout, verify=False)
            work.take(layout.portions[0], memoryview(bytearray(body[4:])))
            found = work.columns()
            assert list(found) == list(known.names)
            assert len(found) == 2
            assert (found["x"][0], found["y"][0]) == (1, 2)


def test_words_that_arrow_keeps_in_a_dictionary_are_decoded_as_one() -> None:
    known = plan_of(x=pa.array(["a"]).dictionary_encode(), y=ONE)
    body = dictionary_of(MIB, 257)
    others = {"rows": 257, "values": 257, "codec": "ZSTD"}
    arrow = Asked({"x": pa.array(["a"] * 257).dictionary_encode()})
    flat = page(0, bytes(4 * 257), values=257, encoding=PLAIN)
    work = taken(known, [(body, others), (flat, {"rows": 257, "values": 257})], arrow=arrow)
    assert arrow.log == [(0, [0], {4: body})]
    assert work.columns()["x"].to_pylist() == ["a"] * 257
