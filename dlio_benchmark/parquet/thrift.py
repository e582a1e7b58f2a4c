"""Thrift's compact protocol, as far as the headers and footers of Parquet need it.

A field is its number, its wire type and its bytes; a struct is the bytes of its fields in ascending order of their
numbers, each number as the step from the one before.  ``struct(i32(1, 7), text(4, "x"))`` is a whole message.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class Wire(IntEnum):
    """Types of a field or of the elements of a list, as the protocol numbers them."""

    TRUE = 1
    FALSE = 2
    I8 = 3
    I32 = 5
    I64 = 6
    BINARY = 8
    LIST = 9
    STRUCT = 12


class Field(NamedTuple):
    """One field of a struct, already encoded."""

    number: int
    wire: int
    body: bytes


def varint(number: int) -> bytes:
    """Return a number that is not negative, seven bits per byte, lowest first."""
    if number < 0x80:
        return _ONE_BYTE[number]
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number: int) -> bytes:
    """Return a signed number of up to 64 bits, small absolute values in few bytes."""
    return varint(number << 1 if number >= 0 else ~(number << 1))


def octets(value: str | bytes) -> bytes:
    """Return a length followed by the bytes of ``value``, text as UTF-8."""
    body = value.encode() if isinstance(value, str) else value
    return varint(len(body)) + body


def i8(number: int, value: int) -> Field:
    """Return a field that holds one signed byte."""
    return Field(number, Wire.I8, value.to_bytes(1, "little", signed=True))


def i32(number: int, value: int) -> Field:
    """Return a field that holds a signed 32-bit number."""
    return Field(number, _I32, zigzag(value))


def wide_i32(number: int, value: int) -> Field:
    """Return a field that holds a signed 32-bit number in five bytes, whatever the number; readers see no difference.

    What such a field stands in has the same length for all numbers.
    """
    bits = (value << 1 if value >= 0 else ~(value << 1)) & 0xFFFFFFFF
    return Field(number, _I32, bytes([*(bits >> shift & 0x7F | 0x80 for shift in (0, 7, 14, 21)), bits >> 28]))


def i64(number: int, value: int) -> Field:
    """Return a field that holds a signed 64-bit number."""
    return Field(number, _I64, zigzag(value))


def boolean(number: int, value: bool) -> Field:
    """Return a field that holds a truth value, which is its type."""
    return Field(number, Wire.TRUE if value else Wire.FALSE, b"")


def text(number: int, value: str | bytes) -> Field:
    """Return a field that holds text or bytes."""
    return Field(number, Wire.BINARY, octets(value))


def nested(number: int, body: bytes) -> Field:
    """Return a field that holds a struct, given its bytes."""
    return Field(number, _STRUCT, body)


def listed(number: int, wire: Wire, bodies: Sequence[bytes]) -> Field:
    """Return a field that holds a list, given the bytes of its elements, all of one type."""
    many = len(bodies)
    head = bytes([many << 4 | wire]) if many < 15 else bytes([0xF0 | wire]) + varint(many)
    return Field(number, Wire.LIST, head + b"".join(bodies))


def struct(*fields: Field) -> bytes:
    """Return the bytes of a struct; ``fields`` stand in ascending order of their numbers."""
    out = bytearray()
    last = 0
    for number, wire, body in fields:
        step = number - last
        out += _HEADS[step << 4 | wire] if 0 < step < 16 else bytes([wire]) + zigzag(number)
        out += body
        last = number
    out.append(0)
    return bytes(out)


_I32, _I64, _STRUCT = int(Wire.I32), int(Wire.I64), int(Wire.STRUCT)
_ONE_BYTE = tuple(bytes([number]) for number in range(0x80))
_HEADS = tuple(bytes([head]) for head in range(0x100))
