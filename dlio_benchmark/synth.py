"""Generated values: row r of a column of a file, as a function of seed, split, file, column name and r.

Each column of each file has its own stream of 64-bit words, made by a PCG64DXSM that is seeded with a hash of where
it stands.  The stream, laid out in little-endian bytes, is the column: element k lies at the bits ``[k * b, (k + 1) *
b)`` when an element has b bits.  The generator can jump to any word, so any run of rows can be made alone and equals
the same rows of a longer run; pages, row groups, batches, codecs and ranks cannot be seen in the values.

The bits are the values, with two exceptions.  In floats the top bit of the exponent is cleared, so that every value is
finite and lies in (-2, 2): 15, 31 or 63 random bits of 16, 32 or 64.  In strings each byte becomes one of 64
characters: 6 random bits of 8.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from struct import pack
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlio_benchmark.common.enumerations import ColumnType, DatasetType
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import ConfigError, Issue
from dlio_benchmark.parquet.encode_schema import arrow_field, is_list, text_bytes, values_per_row

Values = NDArray[Any]
Octets = NDArray[np.uint8]
Words = NDArray[np.uint64]
RowIds = NDArray[np.int64]

REPEAT_WORDS = 512
_LITTLE_ENDIAN = sys.byteorder == "little"
_ALL = 0xFFFFFFFFFFFFFFFF
_SPLITS = {DatasetType.TRAIN: 0, DatasetType.VALID: 1}
_SPAN_BITS = 8 << 20
_CODES = 8


@dataclass(frozen=True, slots=True)
class Drawn:
    """How an element is cut from the stream: its NumPy type, its bits, and the bits of each word that are kept."""

    dtype: np.dtype[Any]
    bits: int
    kept: np.uint64 | None = None


def _whole(dtype: str, kept: int | None = None) -> Drawn:
    return Drawn(np.dtype(dtype), np.dtype(dtype).itemsize * 8, None if kept is None else np.uint64(kept))


DRAWN: Mapping[ColumnType, Drawn] = {
    ColumnType.FLOAT16: _whole("<f2", 0xBFFFBFFFBFFFBFFF),
    ColumnType.FLOAT32: _whole("<f4", 0xBFFFFFFFBFFFFFFF),
    ColumnType.FLOAT64: _whole("<f8", 0xBFFFFFFFFFFFFFFF),
    ColumnType.INT8: _whole("|i1"),
    ColumnType.INT16: _whole("<i2"),
    ColumnType.INT32: _whole("<i4"),
    ColumnType.INT64: _whole("<i8"),
    ColumnType.UINT8: _whole("|u1"),
    ColumnType.UINT16: _whole("<u2"),
    ColumnType.UINT32: _whole("<u4"),
    ColumnType.UINT64: _whole("<u8"),
    ColumnType.BOOL: Drawn(np.dtype(np.bool_), 1),
    ColumnType.STRING: _whole("|u1", 0x3F3F3F3F3F3F3F3F),
    ColumnType.BINARY: _whole("|u1"),
    ColumnType.LIST: _whole("<f4", 0xBFFFFFFFBFFFFFFF),
}


class Series:
    """All rows of a column of file number ``file``.

    ``compressibility`` in [0, 1) is the share of the words that repeat one word of the column: the first ones of each
    run of 512.  With 0 nothing is replaced.
    """

    def __init__(
        self, seed: int, split: DatasetType, file: int, column: Column, *, compressibility: float = 0.0
    ) -> None:
        self.column = column
        where = pack("<QQQ", seed & _ALL, _SPLITS[split], file) + _hashed(column.name, 16)
        self._seed = np.random.SeedSequence(np.frombuffer(where, "<u4"))
        self._idle: list[tuple[np.random.PCG64DXSM, int]] = []
        self._repeated = round(REPEAT_WORDS * compressibility)
        self._drawn = DRAWN[column.dtype]
        self._is_text, self._elements = column.dtype in _TEXT, _elements(column)
        self._row_bits = self._drawn.bits * self._elements

    def words(self, start: int, stop: int) -> Words:
        """Return the words ``[start, stop)`` of the stream as uint64 in little-endian order."""
        if not self._repeated:
            return self._random(start, stop)
        first = start - start % REPEAT_WORDS
        words = self._random(first, stop)
        whole = len(words) - len(words) % REPEAT_WORDS
        constant = int.from_bytes(_hashed(self.column.name, 8), "little")
        words[:whole].reshape(-1, REPEAT_WORDS)[:, : self._repeated] = constant
        words[whole:][: self._repeated] = constant
        return words[start - first :]

    def payload(self, start: int, stop: int) -> Values:
        """Return the values of rows ``[start, stop)`` as they lie in the stream, free to be changed.

        Numbers come as a flat array, booleans as bytes of eight, lowest bit first, text and bytes as uint8 of shape
        (rows, bytes per value): what the encoder of pages takes.
        """
        first, last = start * self._row_bits, stop * self._row_bits
        words = self.words(first // 64, -(-last // 64))
        if self._drawn.kept is not None:
            words &= self._drawn.kept
        octets = words.view(np.uint8)
        if self._drawn.bits < 8:
            return _aligned_bits(octets, first % 64, last - first)
        octets = octets[first % 64 // 8 :][: (last - first) // 8]
        if self.column.dtype is ColumnType.STRING:
            _spell(octets)
        return octets.reshape(stop - start, self._elements) if self._is_text else octets.view(self._drawn.dtype)

    def values(self, start: int, stop: int) -> Values:
        """Return the values of rows ``[start, stop)``, of shape (rows,), or (rows, size) for a list.

        The type is the column's; strings are of type ``S`` and binary values of type ``V``, each of fixed length.
        """
        return as_values(self.column, self.payload(start, stop), stop - start)

    def _random(self, start: int, stop: int) -> Words:
        """Draw with a generator that no other thread has in hand, wherever in the stream it stands."""
        try:
            generator, at = self._idle.pop()
        except IndexError:
            generator, at = np.random.PCG64DXSM(self._seed), 0
        generator.advance(start - at)
        words: Words = generator.random_raw(stop - start)
        self._idle.append((generator, stop))
        return words if _LITTLE_ENDIAN else words.astype("<u8")


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Some rows of a series, in ascending order of ``rows``."""

    series: Series
    rows: RowIds

    def payload(self, start: int, stop: int) -> Values:
        """Return the values of the chosen rows ``[start, stop)`` in the form of `Series.payload`."""
        column = self.series.column
        span_rows = max(1, _SPAN_BITS // (DRAWN[column.dtype].bits * _elements(column)))
        parts, rows = [], self.rows[start:stop]
        while len(rows):
            first = int(rows[0])
            here = int(np.searchsorted(rows, first + span_rows))
            span = self.series.values(first, int(rows[here - 1]) + 1)
            parts.append(span[rows[:here] - first])
            rows = rows[here:]
        values = np.concatenate(parts) if parts else self.series.values(0, 0)
        return _as_payload(column, values)


def as_values(column: Column, payload: Values, rows: int) -> Values:
    """Return a payload of ``rows`` rows as an array of shape (rows,) or (rows, size); a view unless it is boolean."""
    kind = _TEXT.get(column.dtype)
    if kind:
        return payload.reshape(-1).view(f"{kind}{text_bytes(column)}")
    if column.dtype is ColumnType.BOOL:
        payload = np.unpackbits(payload, count=rows * values_per_row(column), bitorder="little").view(np.bool_)
    return payload.reshape(rows, column.size) if is_list(column) else payload


def to_arrow(column: Column, values: Values) -> pa.Array:
    """Return ``values`` as an Arrow array of the column's type, as a reader of the file gets them."""
    kind = arrow_field(column).type
    if column.dtype in _TEXT:
        offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(text_bytes(column))
        contents = np.ascontiguousarray(values).view(np.uint8)
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(offsets), pa.py_buffer(contents)])
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=kind) if is_list(column) else flat


def partition_texts(column: Column) -> tuple[str, ...]:
    """Return the values of a partition column, by code, as they stand in folder names.

    Raises:
        ConfigError: if the column is not a single integer, boolean or string per row.
    """
    texts = None if is_list(column) else _PARTITION_TEXTS.get(column.dtype)
    if texts is None:
        what = f"column {column.name!r} is {column.dtype} of size {column.size}; "
        what += "a partition column holds one integer, boolean or string per row"
        raise ConfigError([Issue("dataset.parquet.partition_by", what)])
    return texts


def partition_codes(
    seed: int, split: DatasetType, file: int, column: Column, rows: int, *, start: int = 0
) -> NDArray[np.uint8]:
    """Return the code of the partition column in each of ``rows`` rows from ``start`` on.

    Codes are 0 and 1 if the column is boolean, else 0..7.
    """
    stream = Series(seed, split, file, Column(column.name, ColumnType.UINT8))
    codes = stream.payload(start, start + rows)
    codes &= np.uint8(len(partition_texts(column)) - 1)
    return codes


def partition_rows(seed: int, split: DatasetType, file: int, column: Column, rows: int, *, code: int) -> RowIds:
    """Return the first ``rows`` rows of a file whose partition code is ``code``, in ascending order."""
    parts: list[RowIds] = []
    start = found = 0
    while found < rows:
        block = max(_CODES * (rows - found), REPEAT_WORDS)
        codes = partition_codes(seed, split, file, column, block, start=start)
        parts.append(np.flatnonzero(codes == code) + start)
        start, found = start + block, found + len(parts[-1])
    return np.concatenate([np.empty(0, np.int64), *parts])[:rows]


_TEXT = {ColumnType.STRING: "S", ColumnType.BINARY: "V"}
_NUMBERS = tuple(str(code) for code in range(_CODES))
_PARTITION_TEXTS = {
    ColumnType.BOOL: ("false", "true"),
    ColumnType.STRING: tuple(f"p{code}" for code in range(_CODES)),
    **{dtype: _NUMBERS for dtype, drawn in DRAWN.items() if drawn.dtype.kind in "iu" and dtype not in _TEXT},
}


def _elements(column: Column) -> int:
    return text_bytes(column) if column.dtype in _TEXT else values_per_row(column)


def _hashed(name: str, octets: int) -> bytes:
    return blake2b(name.encode(), digest_size=octets).digest()


def _spell(six_bits: Octets) -> None:
    """Turn numbers 0..63 into ``-./``, the digits, ``A`` to ``Z`` and ``a`` to ``y``, in place."""
    six_bits += np.uint8(ord("-"))
    six_bits += (six_bits > ord("9")) * np.uint8(ord("A") - ord("9") - 1)
    six_bits += (six_bits > ord("Z")) * np.uint8(ord("a") - ord("Z") - 1)


def _aligned_bits(octets: Octets, first: int, bits: int) -> Octets:
    """Return ``bits`` bits from bit ``first`` on, moved to the front of whole bytes, zeros behind them."""
    whole = -(-bits // 8)
    at, shift = divmod(first, 8)
    moved = octets[at : at + whole]
    if shift:
        moved = moved >> np.uint8(shift)
        above = octets[at + 1 : at + 1 + whole]
        moved[: len(above)] |= above << np.uint8(8 - shift)
    if bits % 8:
        moved[-1] &= np.uint8((1 << bits % 8) - 1)
    return moved


def _as_payload(column: Column, values: Values) -> Values:
    if column.dtype in _TEXT:
        return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), text_bytes(column))
    return np.packbits(values, bitorder="little") if column.dtype is ColumnType.BOOL else values.reshape(-1)
