"""Values in a path come back as they were put there, or the difference is named."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import SchemaMismatchError
from dlio_benchmark.parquet.decode_path import partition_values, repeated
from dlio_benchmark.values import as_arrow

INTEGERS = [kind for kind in ColumnType if "int" in kind.value]
FLOATS = [ColumnType.FLOAT16, ColumnType.FLOAT32, ColumnType.FLOAT64]


def one(path: str, kind: ColumnType, name: str = "p") -> Any:
    return partition_values(path, [Column(name, kind)])[name]


@given(name=st.text(min_size=1, max_size=9), value=st.text(max_size=9))
def test_text_in_a_path_comes_back(name: str, value: str) -> None:
    path = f"train/{quote(name, safe='')}={quote(value, safe='')}/sub=1/f.parquet"
    assert one(path, ColumnType.STRING, name) == value
    assert one(path, ColumnType.BINARY, name) == value.encode()


def test_a_value_begins_behind_the_first_sign_and_goes_on_over_others() -> None:
    assert one("p=a=b=c/f=1", ColumnType.STRING) == "a=b=c"
    assert one("p==/f", ColumnType.STRING) == "="


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_in_a_path_are_of_their_type(kind: ColumnType) -> None:
    limits = np.iinfo(kind.value)
    for number in (limits.min, 0, limits.max):
        found = one(f"p={number}/f", kind)
        assert (int(found), found.dtype) == (number, np.dtype(kind.value))
    for text in (limits.max + 1, limits.min - 1, "1.5", "x", ""):
        with pytest.raises(SchemaMismatchError, match=f"no {kind.value}"):
            one(f"p={text}/f", kind)


@pytest.mark.parametrize("kind", FLOATS)
def test_floats_in_a_path_are_of_their_type(kind: ColumnType) -> None:
    found = one("p=-1.5/f", kind)
    assert (float(found), found.dtype) == (-1.5, np.dtype(kind.value))
    with pytest.raises(SchemaMismatchError, match="no float"):
        one("p=one/f", kind)


def test_truths_in_a_path_are_read_in_any_case() -> None:
    assert [one(f"p={text}/f", ColumnType.BOOL) for text in ("true", "False", "TRUE", "0", "1")] == [1, 0, 1, 0, 1]
    with pytest.raises(SchemaMismatchError, match="no bool"):
        one("p=yes/f", ColumnType.BOOL)


def test_every_partition_column_that_a_path_lacks_is_named() -> None:
    columns = [Column("a"), Column("b", ColumnType.INT8), Column("c", ColumnType.INT8), Column("d", size=2)]
    with pytest.raises(SchemaMismatchError) as caught:
        partition_values("x/b=7/c=900/d=1/a=3.parquet", columns)
    assert [name in str(caught.value) for name in ("'a':", "'b':", "'c':", "'d':")] == [True, False, True, True]


@pytest.mark.parametrize("value", ["text", b"bytes", np.int8(3), np.float16(1.5), True])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_repeated_value_fills_a_column(value: Any, rows: int) -> None:
    column = repeated(value, rows)
    assert len(column) == rows
    assert as_arrow(column).to_pylist() == [value] * rows
