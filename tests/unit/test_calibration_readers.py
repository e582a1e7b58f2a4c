"""The readers that calibrate: one that costs nothing, one that costs a known time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.clock import FakeClock
from dlio_benchmark.reader.base import Reader
from dlio_benchmark.reader.delay import DelayReader
from dlio_benchmark.reader.null import NullReader


@given(rows=st.integers(0, 10_000), block_rows=st.integers(1, 12_000))
def test_null_blocks_hold_all_rows_and_no_bytes(rows: int, block_rows: int) -> None:
    file = NullReader(rows, block_rows).open("nowhere/at/all")
    reads = [file.read(index) for index in range(len(file.shapes))]
    assert sum(shape.rows for shape in file.shapes) == sum(read.block.rows for read in reads) == rows
    assert all(0 < shape.rows <= block_rows for shape in file.shapes)
    assert {(read.bytes_read, read.requests, read.io_ns, read.decode_ns) for read in reads} <= {(0, 0, 0, 0)}


def test_a_null_reader_needs_no_file_and_decodes_nothing() -> None:
    reader: Reader = NullReader(10, 4)
    file = reader.open("nowhere")
    assert (reader.decode, file.path, file.footer_bytes) == ("none", "nowhere", 0)
    assert [shape.rows for shape in file.shapes] == [4, 4, 2]
    file.close()
    file.close()


@pytest.mark.parametrize("seconds", [0.0, 0.004, 2.5])
def test_each_delayed_block_takes_the_delay_and_says_so(seconds: float) -> None:
    clock = FakeClock()
    reader: Reader = DelayReader(NullReader(100, 25), seconds, clock)
    file = reader.open("x")
    reads = [file.read(index) for index in range(4)]
    assert clock.now_ns() == sum(read.io_ns for read in reads) == 4 * round(seconds * 1e9)
    assert sum(read.decode_ns for read in reads) == 0
    file.close()


def test_a_delayed_reader_passes_on_what_the_wrapped_one_says() -> None:
    inner = NullReader(7, 3)
    delayed = DelayReader(inner, 1.0, FakeClock())
    file, plain = delayed.open("x"), inner.open("x")
    assert delayed.decode == inner.decode
    assert (file.path, file.footer_bytes, file.shapes) == (plain.path, plain.footer_bytes, plain.shapes)
    assert [file.read(index).block.rows for index in range(3)] == [3, 3, 1]
