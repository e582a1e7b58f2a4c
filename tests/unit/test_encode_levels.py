"""Levels of fixed-size lists, against a plain decoder of the run-length and bit-packed hybrid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_reader import ThriftReader

from dlio_benchmark.parquet.encode_levels import list_levels


def decoded(octets: bytes, count: int) -> list[int]:
    """Return ``count`` levels of one bit; nothing but the rest of a group of eight may be left."""
    reader = ThriftReader(octets)
    levels: list[int] = []
    while len(levels) < count:
        head = reader.varint()
        if head & 1:
            for _ in range(min(head >> 1, -(-(count - len(levels)) // 8))):
                byte = reader.byte()
                levels += [byte >> bit & 1 for bit in range(8)]
        else:
            levels += [reader.byte()] * (head >> 1)
    assert reader.at == len(octets)
    assert len(levels) - count < 8
    return levels[:count]


def both(octets: bytes) -> tuple[bytes, bytes]:
    """Return the repetition and the definition levels of a page."""
    many = int.from_bytes(octets[:4], "little")
    rest = octets[4 + many :]
    assert int.from_bytes(rest[:4], "little") == len(rest) - 4
    return octets[4 : 4 + many], rest[4:]


@given(rows=st.integers(1, 70), size=st.integers(1, 300))
def test_every_element_is_defined_and_every_row_begins_anew(rows: int, size: int) -> None:
    repetition, definition = both(list_levels(rows, size))
    assert decoded(repetition, rows * size) == [0, *[1] * (size - 1)] * rows
    assert decoded(definition, rows * size) == [1] * rows * size


@given(rows=st.integers(1, 5000), size=st.integers(2, 100_000))
def test_repetition_levels_take_no_more_than_a_bit_per_value_or_six_bytes_per_row(rows: int, size: int) -> None:
    repetition, definition = both(list_levels(rows, size))
    assert len(repetition) <= min(-(-rows * size // 8) + 5, 6 * rows)
    assert len(definition) <= 6


@pytest.mark.parametrize(("rows", "size"), [(1, 33_554_432), (8, 524_328), (65_536, 2), (1, 1), (100_000, 1)])
def test_levels_are_small_beside_their_values(rows: int, size: int) -> None:
    assert len(list_levels(rows, size)) <= 20 + rows * size // 8
