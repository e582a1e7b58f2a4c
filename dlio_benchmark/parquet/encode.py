"""Pages: the values of whole rows as bytes of a Parquet file.

A page is a header and a body; the body of a list begins with its levels.  Bodies are kept as parts: what needs no
codec is never joined or copied, so the bytes that were drawn are the bytes that are written.

Checksums stand in a fixed number of bytes, so headers of equal pages are equally long, and without a codec the files
of a data set have the same footer, byte for byte, when they have the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlio_benchmark.common.enumerations import ColumnType, Compression
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import ConfigError, Issue
from dlio_benchmark.parquet.checksum import crc32
from dlio_benchmark.parquet.encode_levels import list_levels, packed_head
from dlio_benchmark.parquet.encode_schema import OCTETS, TEXTS, is_list, row_bits, values_per_row
from dlio_benchmark.parquet.thrift import Field, i32, nested, struct, wide_i32

Values = NDArray[Any]
Part = bytes | memoryview

# LZ4 takes no more at once; it also leaves room below 2**31 for what a codec adds to data that do not shrink.
MOST_PAGE_BYTES = 0x7E000000
MOST_PAGE_VALUES = 0x7FFFFFFF


class Encoding(IntEnum):
    """Encodings that occur here, as the format numbers them."""

    PLAIN = 0
    RLE = 3
    RLE_DICTIONARY = 8


class Rows(Protocol):
    """The rows of a column of a file to write, by their position in it; several threads may ask at once."""

    def payload(self, start: int, stop: int) -> Values:
        """Return the values of rows ``[start, stop)``, in little-endian order.

        Numbers come as a flat array, booleans as bytes of eight (lowest bit first, the last byte filled with zeros),
        text and bytes as uint8 of shape (rows, bytes per value).
        """


@dataclass(frozen=True, slots=True)
class CodecName:
    """A codec: its number in the format, its name in Arrow, and whether it has levels."""

    number: int
    arrow: str | None = None
    has_levels: bool = False


CODECS: Mapping[Compression, CodecName] = {
    Compression.NONE: CodecName(0),
    Compression.SNAPPY: CodecName(1, "snappy"),
    Compression.GZIP: CodecName(2, "gzip", has_levels=True),
    Compression.ZSTD: CodecName(6, "zstd", has_levels=True),
    Compression.LZ4: CodecName(7, "lz4_raw"),
}


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec and its level; a level is left aside where the codec has none.

    Raises:
        ConfigError: if Parquet has no such codec here, or the codec no such level.
    """

    compression: Compression
    level: int | None = None

    def __post_init__(self) -> None:
        if self.compression not in CODECS:
            what = f"{self.compression} is not a codec of Parquet files; use one of {', '.join(map(str, CODECS))}"
            raise ConfigError([Issue("dataset.compression", what)])
        try:
            self._new()
        except (pa.ArrowException, OverflowError) as error:
            what = f"{self.compression} has no level {self.level}: {error}"
            raise ConfigError([Issue("dataset.compression_level", what)]) from error

    @property
    def number(self) -> int:
        """The codec's number in the format."""
        return CODECS[self.compression].number

    def gathered(self, parts: list[Part]) -> list[Part]:
        """Return ``parts`` as `compress` takes them: joined if there is a codec."""
        return parts if len(parts) == 1 or self.compression is Compression.NONE else [b"".join(parts)]

    def compress(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Return gathered parts compressed, themselves without a codec; several threads may call it at once."""
        codec = self._new()
        return tuple(parts) if codec is None else tuple(memoryview(codec.compress(part)).cast("B") for part in parts)

    def _new(self) -> pa.Codec | None:
        if self.compression is Compression.NONE:
            return None
        name = CODECS[self.compression]
        level = self.level if name.has_levels else None
        return pa.Codec(name.arrow, compression_level=level)


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """An encoded page: its parts in order, their bytes, and what they would be without the codec."""

    parts: tuple[Part, ...]
    stored_bytes: int
    plain_bytes: int
    values: int


class ChunkEncoder:
    """Makes the pages of column chunks of ``values`` values each; several threads may use one.

    ``dictionary`` is the page that a chunk begins with, if any.
    """

    def __init__(self, column: Column, codec: Codec, values: int) -> None:
        worth_it = column.dtype in OCTETS and 4 * values > values + _DICTIONARY_BYTES
        self.column, self.codec = column, codec
        self.dictionary = _dictionary_page(column, codec) if worth_it else None
        self.encodings = (Encoding.PLAIN, Encoding.RLE, Encoding.RLE_DICTIONARY)[: 3 if worth_it else 2]
        self._encoding = Encoding.RLE_DICTIONARY if worth_it else Encoding.PLAIN
        self._body = _indices if worth_it else _PLAIN.get(column.dtype, _as_it_is)
        self._per_row, self._is_list = values_per_row(column), is_list(column)

    def page(self, rows: Rows, start: int, stop: int) -> Page:
        """Return the data page of rows ``[start, stop)``."""
        values = (stop - start) * self._per_row
        body = self._gathered(rows, start, stop)
        return _page(_DATA_PAGE, _data_head(values, self._encoding), body, self.codec, values)

    def _gathered(self, rows: Rows, start: int, stop: int) -> list[Part]:
        """Return the body for the codec; what was joined for it is not held beside it."""
        values = self._body(rows.payload(start, stop))
        levels: list[Part] = [list_levels(stop - start, self._per_row)] if self._is_list else []
        return self.codec.gathered([*levels, *values])


def most_rows(column: Column, target_bytes: int) -> int:
    """Return the rows of a page of about ``target_bytes``: as many as fit, and at least one.

    Raises:
        ConfigError: if one row alone is more than a page can hold.
    """
    row_bytes = -(-row_bits(column) // 8)
    if row_bytes > MOST_PAGE_BYTES or values_per_row(column) > MOST_PAGE_VALUES:
        what = f"column {column.name!r}: a row of {row_bytes} bytes in {values_per_row(column)} values does not fit"
        what += f" into a Parquet page of {MOST_PAGE_BYTES} bytes and {MOST_PAGE_VALUES} values; use a smaller size"
        raise ConfigError([Issue("dataset.parquet.columns", what)])
    return max(1, min(target_bytes * 8 // max(1, row_bits(column)), MOST_PAGE_VALUES // values_per_row(column)))


_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_DICTIONARY_BYTES = 1024 + 32


def _page(kind: int, head: Field, body: Sequence[Part], codec: Codec, values: int) -> Page:
    plain_bytes = sum(map(len, body))
    stored = codec.compress(body)
    stored_bytes = sum(map(len, stored))
    crc = 0
    for part in stored:
        crc = crc32(part, crc)
    signed_crc = crc - (crc >> 31 << 32)
    header = struct(i32(1, kind), i32(2, plain_bytes), i32(3, stored_bytes), wide_i32(4, signed_crc), head)
    return Page((header, *stored), stored_bytes + len(header), plain_bytes + len(header), values)


@lru_cache(maxsize=256)
def _data_head(values: int, encoding: Encoding) -> Field:
    return nested(5, struct(i32(1, values), i32(2, encoding), i32(3, Encoding.RLE), i32(4, Encoding.RLE)))


def _dictionary_page(column: Column, codec: Codec) -> Page:
    kind = np.int8 if column.dtype is ColumnType.INT8 else np.uint8
    values = np.arange(256, dtype=np.uint8).view(kind)
    head = struct(i32(1, len(values)), i32(2, Encoding.PLAIN))
    return _page(_DICTIONARY_PAGE, nested(7, head), _widened(values), codec, 0)


def _as_it_is(payload: Values) -> list[Part]:
    return [payload.reshape(-1).view(np.uint8).data]


def _widened(payload: Values) -> list[Part]:
    return _as_it_is(payload.astype("<i4"))


def _with_lengths(payload: Values) -> list[Part]:
    rows, octets = payload.shape
    out = np.empty((rows, 4 + octets), np.uint8)
    out[:, :4] = np.frombuffer(octets.to_bytes(4, "little"), np.uint8)
    out[:, 4:] = payload
    return _as_it_is(out)


def _indices(payload: Values) -> list[Part]:
    """Return one run of bit-packed indices of 8 bits, which are the values' bytes, in whole groups of eight."""
    filling = bytes(-len(payload) % 8)
    run: list[Part] = [bytes([8]) + packed_head(len(payload)), *_as_it_is(payload)]
    return [*run, filling] if filling else run


_PLAIN: Mapping[ColumnType, Callable[[Values], list[Part]]] = {
    **dict.fromkeys((*OCTETS, ColumnType.INT16, ColumnType.UINT16), _widened),
    **dict.fromkeys(TEXTS, _with_lengths),
}
