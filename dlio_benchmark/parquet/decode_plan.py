"""Which leaves of a file the wanted columns are, and how each is decoded; worked out once per schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.parquet.decode import Leaf
from dlio_benchmark.parquet.decode_arrow import is_octets
from dlio_benchmark.parquet.decode_footer import Footer
from dlio_benchmark.schema import arrow_type, compare

_EXTENSION_KEY = b"ARROW:extension:name"
_HALF_BYTES = 2

_STORED: dict[pa.DataType, tuple[str, str | None, str]] = {
    pa.bool_(): ("BOOLEAN", None, "?"),
    pa.int8(): ("INT32", "<i4", "i1"),
    pa.int16(): ("INT32", "<i4", "i2"),
    pa.int32(): ("INT32", "<i4", "i4"),
    pa.int64(): ("INT64", "<i8", "i8"),
    pa.uint8(): ("INT32", "<i4", "u1"),
    pa.uint16(): ("INT32", "<i4", "u2"),
    pa.uint32(): ("INT32", "<u4", "u4"),
    pa.uint64(): ("INT64", "<u8", "u8"),
    pa.float16(): ("FIXED_LEN_BYTE_ARRAY", "<f2", "f2"),
    pa.float32(): ("FLOAT", "<f4", "f4"),
    pa.float64(): ("DOUBLE", "<f8", "f8"),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column to read: how to view it (None: it is to be decoded), and its Arrow type here.

    ``leaves`` are its leaves in the file, ``places`` their places among all wanted leaves, ``octets`` is whether it
    holds text or bytes, and ``row_bytes`` the decoded size of a row, None where that depends on the values.
    """

    name: str
    leaves: range
    places: range
    leaf: Leaf | None
    kind: pa.DataType
    octets: bool
    row_bytes: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read ``columns`` of all files with the Arrow schema ``schema`` whose leaves are ``stored`` alike.

    ``names`` are those of the columns in the order asked for, ``leaves`` the wanted leaves in the order of the file,
    and ``owners`` the column that each belongs to.
    ``row_bytes`` is the decoded size of a row without the columns of the leaves ``varying``.
    """

    columns: Sequence[Column] | None
    schema: pa.Schema
    stored: tuple[tuple[str, str], ...]
    wanted: tuple[Wanted, ...]
    names: tuple[str, ...]
    leaves: tuple[int, ...]
    owners: tuple[Wanted, ...]
    varying: frozenset[int]
    row_bytes: int

    def fits(self, footer: Footer, columns: Sequence[Column] | None) -> bool:
        """Return whether the plan holds for ``columns`` of another file."""
        return bool(
            self.columns == columns
            and self.schema.equals(footer.schema, check_metadata=True)
            and self.stored == footer.stored(self.leaves)
        )

    def decoded_bytes(self, footer: Footer, group: int) -> int:
        """Return about how many bytes the wanted columns of a row group decode to."""
        fixed: int = footer.group_rows[group] * self.row_bytes
        if not self.varying:
            return fixed
        row_group = footer.metadata.row_group(group)
        varying: int = sum(row_group.column(leaf).total_uncompressed_size for leaf in self.varying)
        return fixed + varying


def _leaf_count(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _leaf_count(kind.storage_type)
    if pa.types.is_dictionary(kind) or not pa.types.is_nested(kind):
        return 1
    if pa.types.is_map(kind):
        return _leaf_count(kind.key_type) + _leaf_count(kind.item_type)
    return sum(_leaf_count(kind.field(place).type) for place in range(kind.num_fields))


def _has_extension(field: pa.Field) -> bool:
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType) or _EXTENSION_KEY in (field.metadata or {}):
        return True
    if pa.types.is_dictionary(kind) or not pa.types.is_nested(kind):
        return False
    return any(_has_extension(kind.field(place)) for place in range(kind.num_fields))


def _layout(kind: pa.DataType, length: int) -> tuple[str, str | None, str]:
    """Return the physical type that values of Arrow type ``kind`` must have, and their types there and here."""
    if kind in _STORED:
        return _STORED[kind]
    if length > 0:
        return "FIXED_LEN_BYTE_ARRAY", f"V{length}", f"V{length}"
    return "BYTE_ARRAY", "V0", "V0"


def _leaf(kind: pa.DataType, leaves: Sequence[Any]) -> Leaf | None:
    """Return how a column of Arrow type ``kind`` may be viewed, or None if no layout of its type can."""
    size = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
    element = kind.value_type if size else kind
    if len(leaves) != 1 or not (element in _STORED or (is_octets(element) and not size)):
        return None
    column = leaves[0]
    length = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0
    physical, stored, dtype = _layout(element, length)
    if column.physical_type != physical or column.max_repetition_level != (1 if size else 0):
        return None
    if pa.types.is_float16(element) and length != _HALF_BYTES:
        return None
    levels = column.max_definition_level, column.max_repetition_level
    return Leaf(np.dtype(stored) if stored else None, np.dtype(dtype), size, *levels)


def _row_bytes(kind: pa.DataType) -> int | None:
    if pa.types.is_fixed_size_list(kind):
        width = _row_bytes(kind.value_type)
        return None if width is None else width * int(kind.list_size)
    if kind in _STORED:
        return np.dtype(_STORED[kind][2]).itemsize
    return None


def _target(kind: pa.DataType, column: Column | None) -> pa.DataType:
    """Return the type that values are given in: the configured one, except for a list of any size."""
    if column is not None and column.size:
        return arrow_type(column)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _chosen(footer: Footer, columns: Sequence[Column] | None, path: str) -> list[tuple[int, Column | None]]:
    """Return the places of the wanted columns in the file's schema, after comparing both."""
    schema = footer.schema
    if columns is not None:
        compare(columns, schema, path)
        return [(schema.get_field_index(column.name), column) for column in columns]
    if len(set(schema.names)) != len(schema.names):
        raise SchemaMismatchError("several columns have the same name; configure the columns to read")
    return [(place, None) for place in range(len(schema))]


def plan(footer: Footer, columns: Sequence[Column] | None, path: str) -> Plan:
    """Return how to read ``columns``, or all columns if None, of the file at ``path``.

    Raises:
        SchemaMismatchError: if the file's columns differ from ``columns``.
        ParquetFileError: if a wanted column has an extension type, or the footer's two schemas differ.
    """
    schema, parquet_schema = footer.schema, footer.metadata.schema
    stops = list(accumulate((_leaf_count(field.type) for field in schema), initial=0))
    if stops[-1] != footer.metadata.num_columns:
        msg = f"the footer has {footer.metadata.num_columns} leaves, but its Arrow schema {stops[-1]}"
        raise ParquetFileError(msg)
    chosen = _chosen(footer, columns, path)
    leaves = tuple(leaf for place in sorted(place for place, _ in chosen) for leaf in range(*stops[place : place + 2]))

    def wanted() -> Iterator[Wanted]:
        for place, column in chosen:
            field = schema.field(place)
            if _has_extension(field):
                msg = f"column {field.name!r} has the extension type {field.type}; such columns are not read"
                raise ParquetFileError(msg)
            own = range(*stops[place : place + 2])
            first = leaves.index(own[0]) if own else 0
            kind = _target(field.type, column)
            leaf = _leaf(kind, [parquet_schema.column(number) for number in own])
            yield Wanted(field.name, own, range(first, first + len(own)), leaf, kind, is_octets(kind), _row_bytes(kind))

    found = tuple(wanted())
    varying = frozenset(leaf for column in found if column.row_bytes is None for leaf in column.leaves)
    row_bytes = sum(column.row_bytes or 0 for column in found)
    by_leaf = {leaf: column for column in found for leaf in column.leaves}
    owners = tuple(by_leaf[leaf] for leaf in leaves)
    names = tuple(column.name for column in found)
    return Plan(columns, schema, footer.stored(leaves), found, names, leaves, owners, varying, row_bytes)
