"""Levels carry no news exactly if all values are there and all lists have one length."""

from __future__ import annotations

import numpy as np
from hypothesis import event, given
from hypothesis import strategies as st

from dlio_benchmark.parquet.decode_levels import are_all, are_lists, one_run


def varint(number: int) -> bytes:
    out = []
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def packed(levels: list[int], width: int) -> bytes:
    """Return levels bit-packed in groups of eight, the last filled with zeros."""
    levels = levels + [0] * (-len(levels) % 8)
    bits = sum(level << place * width for place, level in enumerate(levels))
    return varint(len(levels) // 8 << 1 | 1) + bits.to_bytes(len(levels) * width // 8, "little")


@st.composite
def encoded(draw: st.DrawFn, levels: list[int], width: int) -> bytes:
    """Write ``levels`` as any mixture of runs that the format allows."""
    out, at = b"", 0
    while at < len(levels):
        left = len(levels) - at
        same = next((n for n in range(left) if levels[at + n] != levels[at]), left)
        if draw(st.booleans()):
            run = draw(st.integers(1, same))
            out += varint(run << 1) + bytes([levels[at]])
        else:
            run = left if draw(st.booleans()) else min(left, draw(st.integers(1, 4)) * 8)
            out += packed(levels[at : at + run], width)
        at += run
    return out


@st.composite
def level_runs(draw: st.DrawFn) -> tuple[list[int], int, bytes]:
    highest = draw(st.sampled_from([1, 3]))
    levels = [highest] * draw(st.integers(0, 200))
    spoiled = draw(st.booleans())
    if levels and spoiled:
        levels[draw(st.integers(0, len(levels) - 1))] = draw(st.integers(0, highest))
    return levels, highest, draw(encoded(levels, highest.bit_length()))


@given(case=level_runs())
def test_levels_are_all_the_highest_if_they_are(case: tuple[list[int], int, bytes]) -> None:
    levels, highest, octets = case
    full = all(level == highest for level in levels)
    event(f"full: {full}")
    assert are_all(octets, len(levels), highest) == full


@given(count=st.integers(1, 10**6), highest=st.sampled_from([1, 2, 3]))
def test_one_run_says_that_all_are_there(count: int, highest: int) -> None:
    octets = one_run(count, highest)
    assert octets == varint(count << 1) + bytes([highest])
    assert are_all(octets, count, highest)
    assert not are_all(octets, count + 1, highest)


@st.composite
def list_runs(draw: st.DrawFn) -> tuple[list[int], int, int, bytes]:
    size, phase = draw(st.integers(1, 40)), draw(st.integers(0, 100))
    levels = [int((phase + place) % size != 0) for place in range(draw(st.integers(0, 300)))]
    spoiled = draw(st.booleans())
    if levels and spoiled:
        levels[draw(st.integers(0, len(levels) - 1))] ^= 1
    return levels, size, phase % size, draw(encoded(levels, 1))


@given(case=list_runs())
def test_lists_have_one_length_if_each_begins_at_a_multiple_of_it(case: tuple[list[int], int, int, bytes]) -> None:
    levels, size, phase, octets = case
    uniform = all(level == ((phase + place) % size != 0) for place, level in enumerate(levels))
    event(f"uniform: {uniform}")
    assert are_lists(octets, len(levels), size, phase) == uniform


@given(octets=st.binary(max_size=40), count=st.integers(0, 500), size=st.integers(1, 9))
def test_any_bytes_give_an_answer(octets: bytes, count: int, size: int) -> None:
    assert are_all(octets, count, 1) in (True, False)
    assert are_all(octets, count, 3) in (True, False)
    assert are_lists(octets, count, size, size // 2) in (True, False)


@given(case=list_runs(), cut=st.integers(1, 20))
def test_levels_that_end_early_carry_news(case: tuple[list[int], int, int, bytes], cut: int) -> None:
    levels, size, phase, octets = case
    if levels:
        assert not are_lists(octets[: max(0, len(octets) - cut)], len(levels), size, phase)


@given(size=st.integers(1, 1 << 21), phase=st.integers(0, 1 << 21), wrong=st.none() | st.integers(0, (1 << 21) + 99))
def test_long_runs_of_bits_are_looked_at_to_the_end(size: int, phase: int, wrong: int | None) -> None:
    count = (1 << 21) + 100
    levels = np.ones(count, np.uint8)
    levels[-phase % size :: size] = 0
    if wrong is not None:
        levels[wrong] ^= 1
    octets = varint(-(-count // 8) << 1 | 1) + np.packbits(levels, bitorder="little").tobytes()
    assert are_lists(octets, count, size, phase % size) == (wrong is None)
    assert not are_lists(octets[:-1], count, size, phase % size)
