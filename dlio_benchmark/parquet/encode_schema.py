"""How a configured column is stored: its Parquet type, its Arrow type, and its place in the schema tree.

=====================  =====================================  ===================================================
dtype                  Parquet type (annotation)              encoding of the values
=====================  =====================================  ===================================================
float32, float64       FLOAT, DOUBLE                          PLAIN
float16                FIXED_LEN_BYTE_ARRAY(2) (FLOAT16)      PLAIN
int32, uint32          INT32 (-, unsigned)                    PLAIN
int64, uint64          INT64 (-, unsigned)                    PLAIN
int16, uint16          INT32 (16 bits)                        PLAIN, so four bytes a value
int8, uint8            INT32 (8 bits)                         RLE_DICTIONARY over the identity dictionary: all 256
                                                              values in the order of their bytes, so that the index
                                                              of a value is its byte and a page is the values
                                                              themselves; PLAIN where a chunk is too small for it
bool                   BOOLEAN                                PLAIN, eight values a byte
string                 BYTE_ARRAY (STRING)                    PLAIN: ``size`` characters, 16 if size is 1
binary                 BYTE_ARRAY                             PLAIN: ``size`` bytes
list                   as float32, always a list
=====================  =====================================  ===================================================

Everything is required.  A column of numbers with ``size`` other than 1 is Arrow's fixed-size list, which Parquet
stores as ``required group (LIST) { repeated group list { required element } }``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import pyarrow as pa

from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.model import Column
from dlio_benchmark.parquet.thrift import Field, boolean, i8, i32, nested, struct, text

STRING_CHARACTERS = 16


class Type(IntEnum):
    """Parquet's physical types that occur here, as the format numbers them."""

    BOOLEAN = 0
    INT32 = 1
    INT64 = 2
    FLOAT = 4
    DOUBLE = 5
    BYTE_ARRAY = 6
    FIXED_LEN_BYTE_ARRAY = 7


class Repetition(IntEnum):
    """How often a node of the schema occurs in its parent."""

    REQUIRED = 0
    REPEATED = 2


@dataclass(frozen=True, slots=True)
class Element:
    """How one value is stored: ``bits`` of a page, and the schema's annotation in its old and new spelling."""

    type: Type
    arrow: pa.DataType
    bits: int
    fixed_bytes: int | None = None
    converted: int | None = None
    logical: bytes | None = None

    def fields(self, name: str) -> bytes:
        """Return the schema element of a required leaf of this type."""
        return struct(
            i32(1, self.type),
            *_given(2, self.fixed_bytes),
            i32(3, Repetition.REQUIRED),
            text(4, name),
            *_given(6, self.converted),
            *([] if self.logical is None else [nested(10, self.logical)]),
        )


def is_list(column: Column) -> bool:
    """Return whether the column is a list; the size of text and bytes is their length instead."""
    return column.dtype is ColumnType.LIST or (column.size != 1 and column.dtype not in TEXTS)


def values_per_row(column: Column) -> int:
    """Return the number of Parquet values in a row."""
    return column.size if is_list(column) else 1


def text_bytes(column: Column) -> int:
    """Return the length of each value of a string or binary column."""
    return STRING_CHARACTERS if column.dtype is ColumnType.STRING and column.size == 1 else column.size


def row_bits(column: Column) -> int:
    """Return the bits that a row takes in a page, without levels."""
    bits = ELEMENTS[column.dtype].bits
    return bits + 8 * text_bytes(column) if column.dtype in TEXTS else bits * values_per_row(column)


def leaf_path(column: Column) -> tuple[str, ...]:
    """Return the names from the root to the values."""
    return (column.name, "list", "element") if is_list(column) else (column.name,)


def arrow_field(column: Column) -> pa.Field:
    """Return the Arrow field that readers of the file see; neither it nor its elements are nullable."""
    element = ELEMENTS[column.dtype].arrow
    if is_list(column):
        element = pa.list_(pa.field("element", element, nullable=False), column.size)
    return pa.field(column.name, element, nullable=False)


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """Return the Arrow schema of a file with these columns."""
    return pa.schema([arrow_field(column) for column in columns])


def schema_elements(columns: tuple[Column, ...]) -> list[bytes]:
    """Return the schema tree in depth-first order, as the footer lists it."""
    root = struct(i32(3, Repetition.REQUIRED), text(4, "schema"), i32(5, len(columns)))
    return [root, *(node for column in columns for node in _nodes(column))]


def _nodes(column: Column) -> list[bytes]:
    element = ELEMENTS[column.dtype]
    if not is_list(column):
        return [element.fields(column.name)]
    outer = struct(
        i32(3, Repetition.REQUIRED),
        text(4, column.name),
        i32(5, 1),
        i32(6, _CONVERTED_LIST),
        nested(10, struct(nested(_LOGICAL_LIST, struct()))),
    )
    middle = struct(i32(3, Repetition.REPEATED), text(4, "list"), i32(5, 1))
    return [outer, middle, element.fields("element")]


def _given(number: int, value: int | None) -> list[Field]:
    return [] if value is None else [i32(number, value)]


def _integer(bits: int, signed: bool) -> bytes:
    return struct(nested(_LOGICAL_INTEGER, struct(i8(1, bits), boolean(2, signed))))


_LOGICAL_STRING, _LOGICAL_LIST, _LOGICAL_INTEGER, _LOGICAL_FLOAT16 = 1, 3, 10, 15
_CONVERTED_UTF8, _CONVERTED_LIST = 0, 3
_STRING = struct(nested(_LOGICAL_STRING, struct()))
_HALF = struct(nested(_LOGICAL_FLOAT16, struct()))
_FLOAT = Element(Type.FLOAT, pa.float32(), 32)

TEXTS = frozenset({ColumnType.STRING, ColumnType.BINARY})
OCTETS = frozenset({ColumnType.INT8, ColumnType.UINT8})

ELEMENTS: Mapping[ColumnType, Element] = {
    ColumnType.FLOAT16: Element(Type.FIXED_LEN_BYTE_ARRAY, pa.float16(), 16, fixed_bytes=2, logical=_HALF),
    ColumnType.FLOAT32: _FLOAT,
    ColumnType.FLOAT64: Element(Type.DOUBLE, pa.float64(), 64),
    ColumnType.INT8: Element(Type.INT32, pa.int8(), 8, converted=15, logical=_integer(8, True)),
    ColumnType.INT16: Element(Type.INT32, pa.int16(), 32, converted=16, logical=_integer(16, True)),
    ColumnType.INT32: Element(Type.INT32, pa.int32(), 32),
    ColumnType.INT64: Element(Type.INT64, pa.int64(), 64),
    ColumnType.UINT8: Element(Type.INT32, pa.uint8(), 8, converted=11, logical=_integer(8, False)),
    ColumnType.UINT16: Element(Type.INT32, pa.uint16(), 32, converted=12, logical=_integer(16, False)),
    ColumnType.UINT32: Element(Type.INT32, pa.uint32(), 32, converted=13, logical=_integer(32, False)),
    ColumnType.UINT64: Element(Type.INT64, pa.uint64(), 64, converted=14, logical=_integer(64, False)),
    ColumnType.BOOL: Element(Type.BOOLEAN, pa.bool_(), 1),
    ColumnType.STRING: Element(Type.BYTE_ARRAY, pa.string(), 32, converted=_CONVERTED_UTF8, logical=_STRING),
    ColumnType.BINARY: Element(Type.BYTE_ARRAY, pa.binary(), 32),
    ColumnType.LIST: _FLOAT,
}
