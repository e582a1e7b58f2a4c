"""A spread puts the values of each column together, in order, and notices all that is around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.memory import Pieces
from dlio_benchmark.parquet.decode_form import Form, Slot, View
from dlio_benchmark.parquet.decode_spread import Held, Spread

KINDS = [np.dtype(kind) for kind in ("<f4", "i1", "<f2", "<i8", "u1", "<i4")]


@st.composite
def portions(draw: st.DrawFn) -> tuple[list[Held], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draw chunks as they stand in a file, row groups in any order, with the mask of what is around values."""
    rows = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    chunks = [
        Held(f"c{number}", group, kind, rows[group], draw(st.integers(1, 9)), draw(st.integers(0, 3)))
        for group in draw(st.permutations(range(len(rows))))
        for number, kind in enumerate(kinds)
    ]
    around = sum(chunk.before + chunk.behind for chunk in chunks)
    dice = np.random.default_rng(draw(st.integers(0, 99)))
    mask = dice.choice(np.array([0x80, 0xFF], np.uint8), around)
    return chunks, mask, dice.integers(0, 256, around).astype(np.uint8) & mask


@given(drawn=portions(), data=st.data())
def test_values_stand_together_and_what_is_around_them_is_compared(
    drawn: tuple[list[Held], np.ndarray[Any, Any], np.ndarray[Any, Any]], data: st.DataObject
) -> None:
    chunks, mask, expected = drawn
    spread, dice = Spread(chunks, mask, expected), np.random.default_rng(1)
    model: dict[str, dict[int, bytes]] = {}
    body, around, at = b"", [], 0
    for chunk in chunks:
        end = at + chunk.before
        before, behind = expected[at:end].tobytes(), expected[end : end + chunk.behind].tobytes()
        values = dice.bytes(chunk.rows * chunk.dtype.itemsize)
        model.setdefault(chunk.name, {})[chunk.group] = values
        around += [*range(len(body), len(body) + len(before))]
        body += before + values
        around += [*range(len(body), len(body) + len(behind))]
        body += behind
        at = end + chunk.behind
    room, memory = Pieces().reserve(spread.bytes), Pieces()
    room[:] = dice.bytes(spread.bytes)

    def fill(octets: bytes) -> None:
        start = 0
        for part in spread.parts(0, len(chunks)):
            stop = start + part.stop - part.start
            room[part] = octets[start:stop]
            start = stop
        assert start == len(octets)

    fill(body)
    assert spread.fits(room)
    whole = memoryview(bytearray(len(body)))
    spread.joined(room, whole)
    assert bytes(whole) == body
    columns = {name: b"".join(own[group] for group in sorted(own)) for name, own in model.items()}
    count = sum({chunk.group: chunk.rows for chunk in chunks}.values())
    assert spread.rows == count
    rows = np.array(
        data.draw(st.lists(st.integers(0, count - 1), max_size=9) | st.permutations(range(count))), np.int64
    )
    taken = spread.taken(room, rows, memory)
    assert list(taken) == list(columns)
    for name, values in columns.items():
        kind = next(chunk.dtype for chunk in chunks if chunk.name == name)
        assert taken[name].dtype == kind
        assert taken[name].tobytes() == np.frombuffer(values, kind)[rows].tobytes()
    at = data.draw(st.integers(0, len(around) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(body)
    changed[around[at]] ^= 1 << bit
    fill(bytes(changed))
    assert spread.fits(room) == (not mask[at] & 1 << bit)


HEADER = b"\x15\x00\x15\x20\x15\x20\x2c\x15\x02\x15\x00\x15%c\x15\x06\x1c\x00\x00\x00"
"""Of a page of sixteen bytes; how its levels are laid out does not matter."""


def test_a_slot_knows_two_forms_and_counts_what_fits_neither_in_a_row() -> None:
    a, b, c, d = (memoryview(bytearray(HEADER % octet + bytes(16))) for octet in (2, 4, 6, 8))
    slot = Slot([(0, 0)], ["x"])

    def learn(memory: memoryview) -> None:
        slot.learn(memory, [View(0, 35, np.frombuffer(memory, "i1", 16, 19))])

    learn(a)
    assert slot.fitting(a) is None
    learn(a)
    first = slot.form
    assert first is not None
    assert slot.fitting(a) is first
    assert slot.fitting(b) is None
    learn(b)
    assert slot.form is first
    assert slot.fitting(a) is first  # the miss before counts no more
    assert slot.fitting(c) is None
    second = slot.fitting(b)
    assert second is not None
    assert second is not first
    assert slot.form is second
    assert slot.fitting(c) is None
    assert slot.fitting(a) is first  # nor does that one
    assert slot.fitting(c) is None
    assert slot.is_promising()
    assert slot.fitting(d) is None
    assert not slot.is_promising()
    assert slot.fitting(b) is second
    assert slot.is_promising()


@pytest.mark.parametrize(("kind", "is_number"), [("<f4", True), ("V12", False), ("V16", False), ("i1", True)])
def test_only_values_as_large_as_numbers_are_spread(kind: str, is_number: bool) -> None:
    memory = memoryview(bytearray(HEADER % 6 + bytes(16)))
    values = np.frombuffer(memory, kind, 1, 19)
    form = Form(memory, [View(0, 19 + values.nbytes, values)], [(0, 0)], ["x"])
    assert (form.spread is not None) == is_number
