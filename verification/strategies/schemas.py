"""Column names, Arrow types and schemas."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

PLAIN = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
ODD_NAMES = (
    *("", " ", " a ", "a b", "a\nb", "a\x00b", "x" * 300, "x" * 5000),
    *("a.b", "a.b.c", ".", "list", "element", "list.element", "key_value"),
    *("naïve", "表", "😀", "A", "a", "\uff21", "e\u0301", "é"),
    *("select", "None", "null", "0", "*", "%", "a=b", "a/b", "..", "'", '"', "`"),
)

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
UNCOMMON: tuple[pa.DataType, ...] = (
    *(pa.decimal32(5, 2), pa.decimal64(15, 3), pa.decimal256(60, 5)),
    *(
        pa.timestamp("ns"),
        pa.timestamp("us", tz="Europe/Berlin"),
        pa.time64("ns"),
        pa.duration("us"),
        pa.duration("ns"),
    ),
    *(pa.string_view(), pa.binary_view(), pa.null()),
    *(pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.int64())),
    *(pa.map_(pa.string(), pa.int32()), pa.large_list(pa.string()), pa.list_view(pa.int8())),
    pa.list_(pa.struct([("x", pa.int8()), ("y", pa.list_(pa.string()))])),
)
"""Types that Parquet can hold, though few readers have a path of their own for them."""

CHANGED: dict[pa.DataType, pa.DataType] = {
    pa.timestamp("s"): pa.timestamp("ms"),
    pa.time32("s"): pa.time32("ms"),
    pa.date64(): pa.date32(),
}
"""Types that come back as another one, the values unchanged."""

UNWRITABLE: tuple[pa.DataType, ...] = (pa.binary(0), pa.struct([]), pa.month_day_nano_interval())
"""Types that pyarrow refuses to write."""

UNREADABLE: tuple[pa.DataType, ...] = (pa.list_(pa.int32(), 0),)
"""Types that pyarrow writes and cannot read back: a reader must raise, not give other rows."""


def names(*, odd: bool = True) -> st.SearchStrategy[str]:
    """Return column names: plain words, and with ``odd`` also empty, dotted, unicode, long ones."""
    unicode = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
    return PLAIN | st.sampled_from(ODD_NAMES) | unicode if odd else PLAIN


def name_lists(*, min_size: int = 1, max_size: int = 6, odd: bool = True) -> st.SearchStrategy[list[str]]:
    """Return lists of different column names."""
    return st.lists(names(odd=odd), min_size=min_size, max_size=max_size, unique=True)


@st.composite
def repeated_names(draw: st.DrawFn, *, max_size: int = 6) -> list[str]:
    """Return lists of column names of which at least one comes twice."""
    different = draw(name_lists(max_size=max(1, max_size - 1)))
    again = draw(st.lists(st.sampled_from(different), min_size=1, max_size=2))
    return list(draw(st.permutations([*different, *again])))


def types(*, nested: bool = True, uncommon: bool = False) -> st.SearchStrategy[pa.DataType]:
    """Return Arrow types that Parquet can hold unchanged.

    With ``nested`` also lists of any and of fixed length, structs and lists of lists; with ``uncommon`` also those of
    `UNCOMMON`.
    """
    scalars = st.sampled_from(SCALARS)
    found = scalars | st.sampled_from(UNCOMMON) if uncommon else scalars
    if not nested:
        return found
    lists = scalars.map(pa.list_)
    fixed = st.builds(pa.list_, scalars, st.integers(1, 4))
    structs = st.lists(scalars, min_size=1, max_size=3).map(
        lambda parts: pa.struct([(f"f{i}", part) for i, part in enumerate(parts)])
    )
    return found | lists | fixed | structs | lists.map(pa.list_)


def schemas(
    *,
    min_columns: int = 1,
    max_columns: int = 6,
    nested: bool = True,
    uncommon: bool = False,
    odd_names: bool = True,
) -> st.SearchStrategy[pa.Schema]:
    """Return schemas of different column names, nullable or not."""

    def field(name: str, kind: pa.DataType, nullable: bool) -> pa.Field:
        return pa.field(name, kind, nullable or pa.types.is_null(kind))

    def schema(columns: list[str]) -> st.SearchStrategy[pa.Schema]:
        kinds = types(nested=nested, uncommon=uncommon)
        fields = [st.builds(field, st.just(name), kinds, st.booleans()) for name in columns]
        return st.tuples(*fields).map(lambda drawn: pa.schema(list(drawn)))

    return name_lists(min_size=min_columns, max_size=max_columns, odd=odd_names).flatmap(schema)
