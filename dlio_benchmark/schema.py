"""Columns as Arrow fields, and the comparison of a file's columns with the configured ones.

A file may store the same values in another Arrow type: a fixed-size list as a plain list (whose lengths are
checked when it is read), text with 64-bit offsets or a dictionary, bytes of a fixed width.  Those are accepted;
any other difference is an error, because a reader that converts in silence measures something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import pyarrow as pa

from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import SchemaMismatchError, listed

ELEMENTS: dict[ColumnType, pa.DataType] = {
    ColumnType.FLOAT16: pa.float16(),
    ColumnType.FLOAT32: pa.float32(),
    ColumnType.FLOAT64: pa.float64(),
    ColumnType.INT8: pa.int8(),
    ColumnType.INT16: pa.int16(),
    ColumnType.INT32: pa.int32(),
    ColumnType.INT64: pa.int64(),
    ColumnType.UINT8: pa.uint8(),
    ColumnType.UINT16: pa.uint16(),
    ColumnType.UINT32: pa.uint32(),
    ColumnType.UINT64: pa.uint64(),
    ColumnType.BOOL: pa.bool_(),
    ColumnType.STRING: pa.string(),
    ColumnType.BINARY: pa.binary(),
    ColumnType.LIST: pa.float32(),
}
_SHOWN_NAMES = 20


def is_list(column: Column) -> bool:
    """Return whether a row of ``column`` is a list; text and bytes never are, whatever their size."""
    if column.dtype in (ColumnType.STRING, ColumnType.BINARY):
        return False
    return column.dtype is ColumnType.LIST or column.size != 1


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type of ``column``; size 0 is a list of any length."""
    element = ELEMENTS[column.dtype]
    if not is_list(column):
        return element
    inner = pa.field("element", element, nullable=False)
    return pa.list_(inner, column.size) if column.size else pa.list_(inner)


def field(column: Column) -> pa.Field:
    """Return the Arrow field of ``column``, which holds no nulls."""
    return pa.field(column.name, arrow_type(column), nullable=False)


def is_any_list(kind: pa.DataType) -> bool:
    """Return whether ``kind`` is a list, of one length or of any."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def holds(column: Column, kind: pa.DataType) -> bool:
    """Return whether values of Arrow type ``kind`` are the values of ``column``, as far as the type can tell."""
    if column.dtype is ColumnType.STRING:
        return _is_text(kind)
    if column.dtype is ColumnType.BINARY:
        return _is_bytes(kind)
    element = ELEMENTS[column.dtype]
    if not is_list(column):
        return bool(kind == element)
    if not is_any_list(kind) or kind.value_type != element:
        return False
    return not pa.types.is_fixed_size_list(kind) or column.size in (0, kind.list_size)


def _problems(columns: Sequence[Column], file_schema: pa.Schema) -> Iterator[str]:
    names = file_schema.names
    for column in columns:
        places = file_schema.get_all_field_indices(column.name)
        if not places:
            near = get_close_matches(column.name, names, 1)
            yield f"{column.name!r}: missing" + (f"; did you mean {near[0]!r}?" if near else "")
        elif len(places) > 1:
            yield f"{column.name!r}: the file has {len(places)} columns of that name"
        elif not holds(column, found := file_schema.field(places[0]).type):
            yield f"{column.name!r}: is {found} in the file, but {arrow_type(column)} is configured"


def compare(columns: Sequence[Column], file_schema: pa.Schema, path: str) -> None:
    """Return if the file at ``path`` has all ``columns`` with their types; it may have others too.

    Raises:
        SchemaMismatchError: naming every column that is missing, ambiguous or of another type, and what there is.
    """
    problems = list(_problems(columns, file_schema))
    if not problems:
        return
    names = file_schema.names
    shown = ", ".join(repr(name) for name in names[:_SHOWN_NAMES])
    rest = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    headline = f"{path}: the file's columns differ from the configured ones"
    raise SchemaMismatchError(listed(headline, [*problems, f"columns of the file: {shown or 'none'}{rest}"]))
