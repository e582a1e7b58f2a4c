"""What comes out of a parcel is what went in, whatever the columns, in memory that the receiver provides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.batch import Block, Run
from dlio_benchmark.data_loader.parcel import parcel_of, unpacked

NUMBERS = {
    name: np.arange(100).astype(name)
    for name in ("int8", "uint16", "int32", "uint64", "float16", "float32", "float64", "bool")
}
COLUMNS: dict[str, Any] = {
    **NUMBERS,
    "lists": np.arange(300, dtype=np.float32).reshape(100, 3),
    "every other": np.arange(200)[::2],
    "text": pa.array([f"text {n}" for n in range(100)]),
    "ragged": pa.array([list(range(n % 5)) for n in range(100)], pa.list_(pa.int16())),
    "words": pa.array(["a", "b"] * 50).dictionary_encode(),
}


def shown(run: Run) -> dict[str, list[Any]]:
    block, start, stop = run
    return {name: values[start:stop].tolist() for name, values in block.columns.items()}


@given(
    extents=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted), max_size=4),
    names=st.sets(st.sampled_from(sorted(COLUMNS))),
)
def test_runs_survive_packing(extents: list[list[int]], names: set[str]) -> None:
    block = Block(100, {name: COLUMNS[name] for name in sorted(names)})
    runs: list[Run] = [(block, start, stop) for start, stop in extents]
    parcel = parcel_of(runs)
    memory = np.empty(parcel.bytes, np.uint8)
    parcel.pack(memory)
    got = list(unpacked(memory, parcel.layouts()))
    assert [shown(run) for run in got] == [shown(run) for run in runs]
    assert [run[0].rows for run in got] == [stop - start for start, stop in extents]


@pytest.mark.parametrize("name", ["float64", "lists", "text"])
def test_unpacked_values_are_views_of_the_memory(name: str) -> None:
    parcel = parcel_of([(Block(100, {name: COLUMNS[name]}), 10, 90)])
    memory = np.empty(parcel.bytes, np.uint8)
    parcel.pack(memory)
    ((block, _, _),) = unpacked(memory, parcel.layouts())
    values = block.columns[name]
    begin = memory.ctypes.data
    address = values.ctypes.data if isinstance(values, np.ndarray) else values.buffers()[-1].address
    assert begin <= address < begin + memory.nbytes
