"""Generated values: a function of seed, split, file, column and row, and of nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ColumnType, DatasetType
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import ConfigError
from dlio_benchmark.synth import (
    REPEAT_WORDS,
    Chosen,
    Series,
    as_values,
    partition_codes,
    partition_rows,
    partition_texts,
    to_arrow,
)

TRAIN, VALID = DatasetType.TRAIN, DatasetType.VALID
columns = st.builds(
    Column, st.text(max_size=8), st.sampled_from(ColumnType), st.integers(1, 9) | st.sampled_from([16, 64, 129])
)
shares = st.sampled_from([0.0, 0.25, 0.5, 0.95])

NUMPY = {
    ColumnType.FLOAT16: np.float16,
    ColumnType.FLOAT32: np.float32,
    ColumnType.FLOAT64: np.float64,
    ColumnType.INT8: np.int8,
    ColumnType.INT16: np.int16,
    ColumnType.INT32: np.int32,
    ColumnType.INT64: np.int64,
    ColumnType.UINT8: np.uint8,
    ColumnType.UINT16: np.uint16,
    ColumnType.UINT32: np.uint32,
    ColumnType.UINT64: np.uint64,
    ColumnType.BOOL: np.bool_,
    ColumnType.LIST: np.float32,
}


def series(column: Column, *, seed: int = 10, split: DatasetType = TRAIN, file: int = 0, share: float = 0.0) -> Series:
    return Series(seed, split, file, column, compressibility=share)


@given(column=columns, share=shares, rows=st.integers(0, 3000), data=st.data())
def test_a_run_of_rows_is_that_part_of_a_longer_run(
    column: Column, share: float, rows: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, rows))
    stop = data.draw(st.integers(start, rows))
    whole = series(column, share=share).values(0, rows)
    assert whole[start:stop].tobytes() == series(column, share=share).values(start, stop).tobytes()


@given(column=columns, cuts=st.lists(st.integers(0, 500), min_size=1, max_size=6))
def test_one_series_may_be_asked_in_any_order(column: Column, cuts: list[int]) -> None:
    asked = series(column)
    for cut in cuts:
        assert asked.values(cut, cut + 3).tobytes() == series(column).values(cut, cut + 3).tobytes()


@given(column=columns, start=st.integers(0, 2**40), rows=st.integers(0, 50))
def test_shape_and_type_are_the_columns(column: Column, start: int, rows: int) -> None:
    values = series(column).values(start, start + rows)
    if column.dtype in (ColumnType.STRING, ColumnType.BINARY):
        length = 16 if column.dtype is ColumnType.STRING and column.size == 1 else column.size
        assert values.dtype == f"{'S' if column.dtype is ColumnType.STRING else 'V'}{length}"
        assert values.shape == (rows,)
    else:
        is_list = column.size > 1 or column.dtype is ColumnType.LIST
        assert values.dtype == NUMPY[column.dtype]
        assert values.shape == ((rows, column.size) if is_list else (rows,))


@pytest.mark.parametrize("dtype", [ColumnType.FLOAT16, ColumnType.FLOAT32, ColumnType.FLOAT64, ColumnType.LIST])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_every_float_is_finite_and_small(dtype: ColumnType, share: float) -> None:
    values = series(Column("x", dtype), share=share).values(0, 300_000)
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 2
    assert (values < 0).mean() == pytest.approx(0.5, abs=0.26)


@pytest.mark.parametrize("dtype", [t for t in ColumnType if t is not ColumnType.BOOL])
def test_rows_files_splits_seeds_and_columns_differ(dtype: ColumnType) -> None:
    column = Column("x", dtype, 16)
    seen = [
        series(column),
        series(column, file=1),
        series(column, split=VALID),
        series(column, seed=11),
        series(replace(column, name="y")),
        series(replace(column, name="")),
    ]
    rows = [row.tobytes() for one in seen for row in one.values(0, 2000)]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("dtype", [ColumnType.INT8, ColumnType.UINT8, ColumnType.BOOL])
def test_small_integers_take_every_value(dtype: ColumnType) -> None:
    values = series(Column("x", dtype)).values(0, 10_000)
    assert len(np.unique(values)) == (2 if dtype is ColumnType.BOOL else 256)


def test_strings_are_printable_ascii_of_64_characters() -> None:
    text = series(Column("x", ColumnType.STRING, 50)).values(0, 2000)
    letters = set(b"".join(text.tolist()))
    assert len(letters) == 64
    assert all(chr(letter).isalnum() or chr(letter) in "-./" for letter in letters)


@given(start=st.integers(0, 400), rows=st.integers(0, 400), size=st.integers(1, 13))
def test_booleans_are_the_bits_of_the_stream(start: int, rows: int, size: int) -> None:
    asked = series(Column("x", ColumnType.BOOL, size))
    bits = np.unpackbits(asked.words(0, 200).view(np.uint8), bitorder="little")
    first, last = start * size, (start + rows) * size
    if last > len(bits):
        return
    assert np.array_equal(asked.values(start, start + rows).reshape(-1), bits[first:last])
    packed = asked.payload(start, start + rows)
    assert len(packed) == -(-(last - first) // 8)
    assert not np.unpackbits(packed, bitorder="little")[last - first :].any()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_the_repeated_share_stands_first_in_each_run_of_words(share: float) -> None:
    column = Column("x", ColumnType.UINT64)
    plain, repeated = (series(column, share=one).values(0, 10 * REPEAT_WORDS) for one in (0.0, share))
    many = round(REPEAT_WORDS * share)
    assert np.array_equal(plain.reshape(10, -1)[:, many:], repeated.reshape(10, -1)[:, many:])
    assert len(np.unique(repeated.reshape(10, -1)[:, :many])) == 1
    other_file = series(column, file=7, share=share).values(0, 1)
    assert other_file == repeated[0] != series(replace(column, name="y"), share=share).values(0, 1)


@given(column=columns, share=shares, marks=st.lists(st.booleans(), max_size=300), data=st.data())
def test_chosen_rows_are_those_of_the_series(
    column: Column, share: float, marks: list[bool], data: st.DataObject
) -> None:
    rows = np.flatnonzero(np.array(marks, bool))
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    found = as_values(column, Chosen(series(column, share=share), rows).payload(start, stop), stop - start)
    assert found.tobytes() == series(column, share=share).values(0, len(marks))[rows[start:stop]].tobytes()


@given(column=columns, rows=st.integers(0, 40))
def test_arrow_arrays_hold_the_same_values_and_no_nulls(column: Column, rows: int) -> None:
    values = series(column).values(3, 3 + rows)
    array = to_arrow(column, values)
    array.validate(full=True)
    assert array.null_count == 0
    assert len(array) == rows
    if column.dtype is ColumnType.STRING:
        assert array.type == pa.string()
        assert array.to_pylist() == [value.decode() for value in values.tolist()]
    elif column.dtype is ColumnType.BINARY:
        assert array.type == pa.binary()
        assert array.to_pylist() == [value.tobytes() for value in values]
    else:
        assert array.to_pylist() == values.tolist()


PARTITIONS = [
    ColumnType.BOOL,
    ColumnType.STRING,
    ColumnType.INT8,
    ColumnType.UINT16,
    ColumnType.INT32,
    ColumnType.UINT64,
]


@pytest.mark.parametrize("dtype", PARTITIONS)
def test_partition_codes_take_every_value_about_equally(dtype: ColumnType) -> None:
    column = Column("x", dtype)
    texts = partition_texts(column)
    assert len(set(texts)) == len(texts) == (2 if dtype is ColumnType.BOOL else 8)
    counts = np.bincount(partition_codes(10, TRAIN, 0, column, 80_000))
    assert len(counts) == len(texts)
    assert counts.min() > 0.9 * counts.mean()


@given(rows=st.integers(0, 6000), code=st.integers(0, 7), file=st.integers(0, 5))
def test_the_rows_of_all_codes_are_the_rows_of_the_file(rows: int, code: int, file: int) -> None:
    column = Column("x", ColumnType.INT32)
    codes = partition_codes(10, TRAIN, file, column, rows)
    expected = np.flatnonzero(codes == code)
    found = partition_rows(10, TRAIN, file, column, len(expected), code=code)
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "column",
    [
        Column("x", ColumnType.FLOAT32),
        Column("x", ColumnType.BINARY),
        Column("x", ColumnType.INT8, 2),
        Column("x", ColumnType.LIST),
    ],
)
def test_only_single_integers_booleans_and_strings_can_partition(column: Column) -> None:
    with pytest.raises(ConfigError, match=r"partition_by: column 'x'"):
        partition_texts(column)


def test_threads_may_share_a_series() -> None:
    column = Column("x", ColumnType.FLOAT64, 100)
    shared, expected = series(column), series(column).values(0, 2000)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: shared.values(start, start + 10), range(0, 2000, 10)))
    assert np.concatenate(parts).tobytes() == expected.tobytes()


def golden() -> str:
    """Return a digest of some rows of every type."""
    digest = sha256()
    for dtype in ColumnType:
        for share in (0.0, 0.3):
            digest.update(series(Column("features", dtype, 5), file=3, share=share).values(1000, 1100).tobytes())
    return digest.hexdigest()


GOLDEN = "bdb4cabba05315fa7c3d01f123bf51060d990e9c886b01dad8c0b182019dca69"


def test_values_are_the_same_in_every_release() -> None:
    assert golden() == GOLDEN


def test_another_process_makes_the_same_values() -> None:
    script = "import test_synth; print(test_synth.golden())"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]), "PYTHONHASHSEED": "7"}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    assert ran.stdout.strip() == golden()
