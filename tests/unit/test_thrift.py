"""Thrift's compact protocol: what is written is what an independent reader of it finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift_reader import ThriftReader

from dlio_benchmark.parquet.thrift import (
    Field,
    Wire,
    boolean,
    i8,
    i32,
    i64,
    listed,
    nested,
    octets,
    struct,
    text,
    varint,
    wide_i32,
    zigzag,
)

signed64 = st.integers(-(2**63), 2**63 - 1)


@given(number=st.integers(0, 2**64 - 1))
def test_a_varint_reads_back_in_as_few_bytes_as_its_bits_need(number: int) -> None:
    written = varint(number)
    reader = ThriftReader(written)
    assert reader.varint() == number
    assert reader.at == len(written) == max(1, -(-number.bit_length() // 7))


@given(number=signed64)
def test_a_signed_number_reads_back(number: int) -> None:
    assert ThriftReader(zigzag(number)).signed() == number


@pytest.mark.parametrize(
    ("number", "expected"), [(0, 0), (-1, 1), (1, 2), (-2, 3), (2**63 - 1, 2**64 - 2), (-(2**63), 2**64 - 1)]
)
def test_small_absolute_values_have_small_codes(number: int, expected: int) -> None:
    assert ThriftReader(zigzag(number)).varint() == expected


@given(number=st.integers(-(2**31), 2**31 - 1))
def test_a_wide_number_reads_back_and_always_takes_five_bytes(number: int) -> None:
    assert len(wide_i32(1, number).body) == 5
    assert ThriftReader(struct(wide_i32(1, number))).struct() == {1: number}


def test_the_numbers_of_the_specification_are_encoded_as_it_says() -> None:
    assert varint(50399) == bytes([0xDF, 0x89, 0x03])
    assert struct(i32(1, 7), text(4, "x")) == bytes([0x15, 14, 0x38, 1, ord("x"), 0])


def _fields(values: dict[int, Any]) -> list[Field]:
    return [_field(number, values[number]) for number in sorted(values)]


def _field(number: int, value: Any) -> Field:
    if isinstance(value, bool):
        return boolean(number, value)
    if isinstance(value, int):
        return i64(number, value)
    if isinstance(value, bytes):
        return text(number, value)
    if isinstance(value, dict):
        return nested(number, struct(*_fields(value)))
    return listed(number, Wire.I64, [zigzag(one) for one in value])


values = st.recursive(
    st.booleans() | signed64 | st.binary(max_size=200) | st.lists(signed64, max_size=40),
    lambda inner: st.dictionaries(st.integers(1, 200), inner, max_size=6),
    max_leaves=12,
)


@given(message=st.dictionaries(st.integers(1, 32767), values, max_size=8))
def test_a_struct_reads_back_whatever_its_field_numbers_are(message: dict[int, Any]) -> None:
    written = struct(*_fields(message))
    reader = ThriftReader(written)
    assert reader.struct() == message
    assert reader.at == len(written)


@given(many=st.integers(0, 40))
def test_a_list_of_structs_or_texts_reads_back(many: int) -> None:
    written = struct(
        listed(1, Wire.STRUCT, [struct(i32(1, index)) for index in range(many)]),
        listed(2, Wire.BINARY, [octets(str(index)) for index in range(many)]),
    )
    assert ThriftReader(written).struct() == {
        1: [{1: index} for index in range(many)],
        2: [str(index).encode() for index in range(many)],
    }


@given(value=st.integers(-128, 127), name=st.text(max_size=20))
def test_bytes_and_unicode_text_read_back(value: int, name: str) -> None:
    assert ThriftReader(struct(i8(1, value), text(2, name))).struct() == {1: value, 2: name.encode()}
