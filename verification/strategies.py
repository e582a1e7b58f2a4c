"""Hypothesis strategies for Parquet: names, types, values, tables, layouts, what is asked for, and configurations.

They draw what breaks readers and writers: names with dots, NaN and infinities, the first and last day of the
calendar, nulls in every position, row groups that end one row early.  Nothing here knows the code under test; use
them for any reader or writer:

    @given(table=tables(), layout=layouts())
    def test_round_trip(table, layout): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

CODECS = ("none", "snappy", "gzip", "zstd", "lz4")
MODES = ("default", "row_group")
PLAIN = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
ODD_NAMES = ("", " ", "a.b", "a b", "naïve", "表", "😀", "select", "None", "0", "x" * 300, "a\nb", "A", "a")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table lies in a file."""

    row_group_size: int
    codec: str
    dictionary: bool
    page_version: str
    statistics: bool

    def arguments(self) -> dict[str, Any]:
        """Return the layout as arguments of `pyarrow.parquet.write_table`."""
        return {
            "row_group_size": self.row_group_size,
            "compression": self.codec,
            "use_dictionary": self.dictionary,
            "data_page_version": self.page_version,
            "write_statistics": self.statistics,
        }


@dataclass(frozen=True, slots=True)
class Geometry:
    """Files, rows and readers of a data set, including shapes that leave readers without work."""

    files: int
    rows_per_file: int
    row_group_size: int
    batch: int
    ranks: int
    epochs: int

    @property
    def samples(self) -> int:
        """All rows of the data set."""
        return self.files * self.rows_per_file


# -- names and types --------------------------------------------------------------------------------------------------
def names(*, odd: bool = True) -> st.SearchStrategy[str]:
    """Return column names: plain words, and with ``odd`` also empty, dotted, unicode, long ones."""
    unicode = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
    return PLAIN | st.sampled_from(ODD_NAMES) | unicode if odd else PLAIN


def name_lists(*, min_size: int = 1, max_size: int = 6, odd: bool = True) -> st.SearchStrategy[list[str]]:
    """Return lists of different column names."""
    return st.lists(names(odd=odd), min_size=min_size, max_size=max_size, unique=True)


SCALARS: tuple[pa.DataType, ...] = (
    pa.bool_(),
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64()),
    *(pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(4)),
    *(pa.date32(), pa.time32("ms"), pa.time64("us"), pa.timestamp("us"), pa.timestamp("ms", tz="UTC")),
    *(pa.decimal128(9, 2), pa.decimal128(38, 10)),
)
DLIO_TYPES: tuple[pa.DataType, ...] = (
    *(pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.bool_()),
    *(pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.list_(pa.float32())),
)


def types(*, nested: bool = True) -> st.SearchStrategy[pa.DataType]:
    """Return Arrow types that Parquet can hold unchanged; with ``nested`` also lists, structs and lists of lists."""
    scalars = st.sampled_from(SCALARS)
    if not nested:
        return scalars
    lists = scalars.map(pa.list_)
    structs = st.lists(scalars, min_size=1, max_size=3).map(
        lambda parts: pa.struct([(f"f{i}", part) for i, part in enumerate(parts)])
    )
    return scalars | lists | structs | lists.map(pa.list_)


def schemas(
    *, min_columns: int = 1, max_columns: int = 6, nested: bool = True, odd_names: bool = True
) -> st.SearchStrategy[pa.Schema]:
    """Return schemas of different column names, nullable or not."""

    def schema(columns: list[str]) -> st.SearchStrategy[pa.Schema]:
        fields = [st.builds(pa.field, st.just(name), types(nested=nested), st.booleans()) for name in columns]
        return st.tuples(*fields).map(lambda drawn: pa.schema(list(drawn)))

    return name_lists(min_size=min_columns, max_size=max_columns, odd=odd_names).flatmap(schema)


# -- values and tables ------------------------------------------------------------------------------------------------
def values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Return Python values of an Arrow type, its extremes included; never None."""
    if pa.types.is_list(kind):
        return st.lists(values(kind.value_type), max_size=4)
    if pa.types.is_struct(kind):
        return st.fixed_dictionaries({field.name: values(field.type) for field in kind})
    for applies, strategy in VALUES:
        if applies(kind):
            drawn: st.SearchStrategy[Any] = strategy(kind)
            return drawn
    raise ValueError(f"no values are known for {kind}")


def _integers(kind: pa.DataType) -> st.SearchStrategy[int]:
    signed = pa.types.is_signed_integer(kind)
    low = -(2 ** (kind.bit_width - 1)) if signed else 0
    high = 2 ** (kind.bit_width - signed) - 1
    return st.integers(low, high) | st.sampled_from([low, high, 0])


def _decimals(kind: pa.DataType) -> st.SearchStrategy[Any]:
    largest = 10 ** (kind.precision - kind.scale) - 1
    return st.decimals(-largest, largest, places=kind.scale, allow_nan=False, allow_infinity=False)


def _timestamps(kind: pa.DataType) -> st.SearchStrategy[Any]:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    return st.integers(-(10**9) * per_second, 4 * 10**9 * per_second).map(lambda n: pa.scalar(n, kind).as_py())


def _times(kind: pa.DataType) -> st.SearchStrategy[Any]:
    per_day = 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    return st.integers(0, per_day - 1).map(lambda n: pa.scalar(n, kind).as_py())


VALUES: tuple[tuple[Any, Any], ...] = (
    (pa.types.is_boolean, lambda _: st.booleans()),
    (pa.types.is_integer, _integers),
    (pa.types.is_floating, lambda kind: st.floats(width=kind.bit_width)),
    (lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind), lambda _: st.text(max_size=12)),
    (pa.types.is_fixed_size_binary, lambda kind: st.binary(min_size=kind.byte_width, max_size=kind.byte_width)),
    (lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind), lambda _: st.binary(max_size=12)),
    (pa.types.is_date32, lambda _: st.dates()),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_time, _times),
)


@st.composite
def tables(
    draw: st.DrawFn,
    *,
    schema: st.SearchStrategy[pa.Schema] | None = None,
    rows: st.SearchStrategy[int] | None = None,
) -> pa.Table:
    """Return tables: zero rows, one, or some; columns without, with some, or with only nulls where allowed."""
    wanted = draw(schema if schema is not None else schemas())
    count = draw(rows if rows is not None else st.sampled_from([0, 1, 2]) | st.integers(0, 30))
    columns = []
    for field in wanted:
        item = values(field.type)
        nulls = draw(st.sampled_from(["none", "some", "all"])) if field.nullable else "none"
        if nulls == "all":
            columns.append(pa.nulls(count, field.type))
            continue
        item = st.none() | item if nulls == "some" else item
        columns.append(pa.array(draw(st.lists(item, min_size=count, max_size=count)), field.type))
    return pa.Table.from_arrays(columns, schema=wanted)


# -- layout and access ------------------------------------------------------------------------------------------------
def codecs() -> st.SearchStrategy[str]:
    """Return the words of the codecs, all equally often."""
    return st.sampled_from(CODECS)


def row_group_sizes(rows: int) -> st.SearchStrategy[int]:
    """Return row-group sizes for a file of ``rows`` rows: one row, around the whole file, and between."""
    edges = sorted({1, max(1, rows - 1), max(1, rows), rows + 1, max(1, rows // 2)})
    return st.sampled_from(edges) | st.integers(1, max(1, rows + 1))


@st.composite
def layouts(draw: st.DrawFn, *, rows: int = 30) -> Layout:
    """Return layouts of a file of about ``rows`` rows."""
    return Layout(
        row_group_size=draw(row_group_sizes(rows)),
        codec=draw(codecs()),
        dictionary=draw(st.booleans()),
        page_version=draw(st.sampled_from(["1.0", "2.0"])),
        statistics=draw(st.booleans()),
    )


@st.composite
def selections(draw: st.DrawFn, columns: Sequence[str], *, least: int = 1) -> list[str]:
    """Return some of ``columns``, at least ``least`` of them, in any order."""
    chosen = draw(st.lists(st.sampled_from(list(columns)), min_size=min(least, len(columns)), unique=True))
    return list(draw(st.permutations(chosen)))


def partition_values() -> st.SearchStrategy[str]:
    """Return values of a partition column, with what a path must escape."""
    return st.sampled_from(["plain", "a/b", "a=b", "100%", "..", " ", "ü", "a%2Fb"]) | st.text(min_size=1, max_size=8)


@st.composite
def geometries(draw: st.DrawFn, *, max_ranks: int = 4, max_rows: int = 60) -> Geometry:
    """Return data sets and readers: more ranks than files, batches larger than a rank's share, uneven row groups."""
    rows = draw(st.integers(1, max_rows))
    return Geometry(
        files=draw(st.integers(1, 6)),
        rows_per_file=rows,
        row_group_size=draw(row_group_sizes(rows)),
        batch=draw(st.sampled_from([1, 2, 3, rows, rows + 1]) | st.integers(1, rows)),
        ranks=draw(st.integers(1, max_ranks)),
        epochs=draw(st.integers(1, 3)),
    )


# -- configuration ----------------------------------------------------------------------------------------------------
DTYPES = ("float32", "float64", "string", "binary", "bool", "list", "int32", "int64", "uint8")


@st.composite
def columns_sections(draw: st.DrawFn, *, max_columns: int = 4) -> list[dict[str, Any]]:
    """Return ``parquet.columns`` as YAML has it: name, dtype and, where it applies, size."""
    section: list[dict[str, Any]] = []
    for name in draw(name_lists(max_size=max_columns, odd=False)):
        column: dict[str, Any] = {"name": name, "dtype": draw(st.sampled_from(DTYPES))}
        if draw(st.booleans()):
            column["size"] = draw(st.integers(1, 64))
        section.append(column)
    return section


@st.composite
def parquet_sections(draw: st.DrawFn) -> dict[str, Any]:
    """Return a ``dataset.parquet`` section; every key may be absent."""
    columns = draw(columns_sections())
    full = {
        "columns": columns,
        "row_group_size": draw(st.integers(1, 4096)),
        "read_mode": draw(st.sampled_from(MODES)),
        "partition_by": draw(st.none() | st.sampled_from([column["name"] for column in columns])),
    }
    kept = draw(st.sets(st.sampled_from(sorted(full))))
    return {key: value for key, value in full.items() if key in kept}
