"""Repetition and definition levels of fixed-size lists whose elements are all there.

Every element is defined, so the definition levels are one run of ones.  A repetition level is 0 where a row begins
and 1 elsewhere: a pattern that repeats with every row, written either as two runs per row or as one bit per value,
whichever is shorter.  Both are laid down by repeating a pattern, never by walking over values.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dlio_benchmark.parquet.thrift import varint


@lru_cache(maxsize=32)
def list_levels(rows: int, size: int) -> bytes:
    """Return what stands before the values of a page of ``rows`` lists of ``size`` elements: both kinds of level."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in (_repetition(rows, size), run(rows * size, 1)))


def run(count: int, value: int) -> bytes:
    """Return ``count`` times the same value of one byte or less."""
    return varint(count << 1) + bytes([value])


def packed_head(count: int) -> bytes:
    """Return what announces ``count`` bit-packed values, counted in groups of eight."""
    return varint(-(-count // 8) << 1 | 1)


def _repetition(rows: int, size: int) -> bytes:
    if size == 1:
        return run(rows, 0)
    row = run(1, 0) + run(size - 1, 1)
    packed_bytes = -(-rows * size // 8)
    return row * rows if len(row) * rows <= packed_bytes else packed_head(rows * size) + _bits(rows, size)


def _bits(rows: int, size: int) -> bytes:
    """Return one bit per value, lowest first; eight rows fill whole bytes, so their pattern repeats."""
    pattern = np.ones((8, size), np.uint8)
    pattern[:, 0] = 0
    eight_rows = np.packbits(pattern, bitorder="little").tobytes()
    return (eight_rows * -(-rows // 8))[: -(-rows * size // 8)]
