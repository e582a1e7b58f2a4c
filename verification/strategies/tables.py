"""Values of every Arrow type, and tables of them together with the plain Python rows they were made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from verification.strategies.schemas import schemas

Values = st.SearchStrategy[Any]

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EARLIEST_S, _LATEST_S = -62_135_596_800, 253_402_300_799
"""The first and the last second that Python's calendar has."""


@dataclass(frozen=True, slots=True)
class Modelled:
    """A table, and the plain Python columns that it was made of."""

    table: pa.Table
    columns: dict[str, list[Any]]

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return int(self.table.num_rows)


def values(kind: pa.DataType, *, nulls: bool = False) -> Values:
    """Return Python values of an Arrow type, its extremes included; with ``nulls`` parts of nested ones may be None.

    Values of nanoseconds are whole numbers, because Python's calendar ends at microseconds.
    """

    def part(of: pa.DataType) -> Values:
        return st.none() | values(of, nulls=nulls) if nulls else values(of)

    if pa.types.is_fixed_size_list(kind):
        return st.lists(part(kind.value_type), min_size=kind.list_size, max_size=kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind):
        return st.lists(part(kind.value_type), max_size=4)
    if pa.types.is_struct(kind):
        parts = st.tuples(*(part(field.type) for field in kind))
        return parts.map(lambda drawn: {field.name: one for field, one in zip(kind, drawn, strict=True)})
    if pa.types.is_map(kind):
        pairs = st.tuples(values(kind.key_type), part(kind.item_type))
        return st.lists(pairs, max_size=3, unique_by=lambda pair: pair[0])
    for applies, strategy in VALUES:
        if applies(kind):
            return strategy(kind)
    raise ValueError(f"no values are known for {kind}")


def _integers(kind: pa.DataType) -> Values:
    signed = pa.types.is_signed_integer(kind)
    low = -(2 ** (kind.bit_width - 1)) if signed else 0
    high = 2 ** (kind.bit_width - signed) - 1
    return st.integers(low, high) | st.sampled_from([low, high, 0])


def _floats(kind: pa.DataType) -> Values:
    return st.floats(width=kind.bit_width) | st.sampled_from([0.0, -0.0, float("nan"), float("inf"), float("-inf")])


def _decimals(kind: pa.DataType) -> Values:
    largest = 10 ** (kind.precision - kind.scale) - 1
    return st.decimals(-largest, largest, places=kind.scale, allow_nan=False, allow_infinity=False)


def _timestamps(kind: pa.DataType) -> Values:
    per_second = PER_SECOND[kind.unit]
    if kind.unit == "ns":
        return st.integers(-(2**63) + 1, 2**63 - 1)
    first, last = (_EARLIEST_S + 86_400) * per_second, (_LATEST_S - 86_400) * per_second
    edges = st.sampled_from([first, last, 0, -1])
    return (edges | st.integers(first, last)).map(lambda n: pa.scalar(n, kind).as_py())


def _times(kind: pa.DataType) -> Values:
    counts = st.integers(0, 86_400 * PER_SECOND[kind.unit] - 1)
    return counts if kind.unit == "ns" else counts.map(lambda n: pa.scalar(n, kind).as_py())


def _durations(kind: pa.DataType) -> Values:
    counts = st.integers(-(10**6) * PER_SECOND[kind.unit], 10**6 * PER_SECOND[kind.unit])
    return counts if kind.unit == "ns" else counts.map(lambda n: pa.scalar(n, kind).as_py())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


VALUES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], Values]], ...] = (
    (pa.types.is_null, lambda _: st.none()),
    (pa.types.is_boolean, lambda _: st.booleans()),
    (pa.types.is_integer, _integers),
    (pa.types.is_floating, _floats),
    (_is_text, lambda _: st.text(max_size=12)),
    (pa.types.is_fixed_size_binary, lambda kind: st.binary(min_size=kind.byte_width, max_size=kind.byte_width)),
    (_is_bytes, lambda _: st.binary(max_size=12)),
    (pa.types.is_date, lambda _: st.dates()),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_time, _times),
    (pa.types.is_duration, _durations),
    (pa.types.is_dictionary, lambda kind: values(kind.value_type)),
)


def row_counts(*, most: int = 30) -> st.SearchStrategy[int]:
    """Return numbers of rows: zero, one, two, or some."""
    return st.sampled_from([0, 1, 2]) | st.integers(0, most)


def _columns(field: pa.Field, count: int) -> Values:
    """Return columns of ``count`` values: without nulls, with some, only nulls, and of one value again and again."""
    item = values(field.type, nulls=True)
    full = st.lists(item, min_size=count, max_size=count) | item.map(lambda one: [one] * count)
    if not field.nullable:
        return full
    return full | st.lists(st.none() | item, min_size=count, max_size=count) | st.just([None] * count)


@st.composite
def modelled_tables(
    draw: st.DrawFn,
    *,
    schema: st.SearchStrategy[pa.Schema] | None = None,
    rows: st.SearchStrategy[int] | None = None,
) -> Modelled:
    """Return tables with the Python values they hold: zero rows, one, or some; nulls where the schema allows them."""
    wanted = draw(schema if schema is not None else schemas())
    count = draw(rows if rows is not None else row_counts())
    model = {field.name: draw(_columns(field, count)) for field in wanted}
    arrays = [pa.array(model[field.name], field.type) for field in wanted]
    return Modelled(pa.Table.from_arrays(arrays, schema=wanted), model)


def tables(
    *, schema: st.SearchStrategy[pa.Schema] | None = None, rows: st.SearchStrategy[int] | None = None
) -> st.SearchStrategy[pa.Table]:
    """Return tables: zero rows, one, or some; columns without, with some, or with only nulls where allowed."""
    return modelled_tables(schema=schema, rows=rows).map(lambda drawn: drawn.table)


def numbered(rows: int, *, first: int = 0, columns: int = 3, wide: int = 4) -> pa.Table:
    """Return a table whose values all follow from the number of the row, which stands in the column ``row``.

    Behind it come ``columns`` of differing types; one of them is a list of ``wide`` numbers.
    """
    ids = np.arange(first, first + rows, dtype=np.int64)
    makers: tuple[Callable[[], pa.Array], ...] = (
        lambda: pa.array(ids * 0.5),
        lambda: pa.array([f"text {number}" for number in ids.tolist()], pa.string()),
        lambda: pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(ids, wide).astype(np.float32)), wide),
        lambda: pa.array([None if number % 3 == 0 else number for number in ids.tolist()], pa.int32()),
        lambda: pa.array(ids % 2 == 0),
    )
    named = {f"c{number}": makers[number % len(makers)]() for number in range(columns)}
    return pa.table({"row": pa.array(ids), **named})
