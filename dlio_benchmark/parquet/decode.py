"""Column chunks as NumPy arrays, without touching single values.

A PLAIN page of a column without nulls already is the array: its bytes are viewed, not decoded.  A chunk of one
such page costs no copy; several pages are put into one array.  Small integers kept as one-byte indices into a
dictionary are viewed in the same way when the dictionary maps each index to itself.  Whatever is not one of
these layouts is left to a full decoder, and `chunk_values` says so with None; damage is an error in any case.

Invariant: an array that comes out has exactly the values that the footer promises, and nothing larger than
that is ever allocated, whatever the pages claim.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlio_benchmark.parquet.decode_headers import (
    DATA_PAGE,
    DATA_PAGE_V2,
    DICTIONARY_PAGE,
    PLAIN,
    PLAIN_DICTIONARY,
    RLE,
    RLE_DICTIONARY,
    PageError,
    PageHeader,
    page_header,
)
from dlio_benchmark.parquet.decode_levels import are_all, are_lists, one_run

Array: TypeAlias = NDArray[Any]

CODECS = {"SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "LZ4": "lz4_raw"}
_SMALL_BYTES = 1 << 20
_INDEX: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 16: np.dtype("<u2"), 32: np.dtype("<u4")}
_EVERY_BYTE = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Leaf:
    """How a column of fixed-width values without nulls lies in the file.

    ``stored`` is the type of a value there (None for bits), ``dtype`` the type it is given as, and ``size``
    the values of a list, 0 for a column that is no list.
    """

    stored: np.dtype[Any] | None
    dtype: np.dtype[Any]
    size: int = 0
    max_def: int = 0
    max_rep: int = 0


class Chunk(NamedTuple):
    """One column of a row group: where it lies in the file, and what the footer says of it."""

    leaf: int
    start: int
    stored_bytes: int
    rows: int
    values: int
    codec: str
    decoded_bytes: int


def pages(body: memoryview, chunk: Chunk, verify: bool) -> list[PageHeader]:
    """Return the headers of the pages in ``body``, the bytes of ``chunk``; their values are what the footer says.

    Raises:
        PageError: if a header is damaged, the values do not add up, or a checksum is wrong and ``verify`` is true.
    """
    found: list[PageHeader] = []
    at, left, end = 0, chunk.values, len(body)
    while left > 0:
        if at >= end:
            break
        header = page_header(body, at, end)
        stop = header.body + header.stored
        if verify and header.crc is not None and zlib.crc32(body[header.body : stop]) != header.crc & 0xFFFFFFFF:
            raise PageError(at, "the checksum of the page does not match its bytes")
        if header.kind != DICTIONARY_PAGE:
            left -= header.values
        elif found:
            raise PageError(at, "a dictionary page after another page")
        found.append(header)
        at = stop
    if left:
        raise PageError(at, f"the pages hold {chunk.values - left} values; the footer says {chunk.values}")
    return found


def check_sizes(chunk: Chunk, headers: Sequence[PageHeader]) -> None:
    """Raise PageError if the pages say that they decode to far more bytes than the footer promises."""
    decoded = sum(header.decoded for header in headers)
    if decoded > max(chunk.decoded_bytes, 16 * _SMALL_BYTES):
        promised = f"the footer promises {chunk.decoded_bytes}"
        raise PageError(0, f"the pages claim to decode to {decoded} bytes; {promised}")


def _gzip_size(body: memoryview) -> int:
    return int.from_bytes(body[-4:], "little")


def _snappy_size(body: memoryview) -> int:
    size = 0
    for place, byte in enumerate(body[:5]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            break
    return size


_STATED_SIZES: dict[str, Callable[[memoryview], int]] = {"SNAPPY": _snappy_size, "GZIP": _gzip_size}


@lru_cache(maxsize=16)
def _codec(name: str) -> Any:
    return pa.Codec(CODECS[name])


class _Unviewable(Exception):  # noqa: N818 - not an error: it selects the other decoder
    """The layout of a page is legal, but not one that can be viewed."""


class _Pages:
    """The pages of one chunk being turned into arrays."""

    __slots__ = ("bytes", "chunk", "dictionary", "leaf", "width")

    def __init__(self, body: memoryview, chunk: Chunk, leaf: Leaf) -> None:
        self.bytes, self.chunk, self.leaf = body, chunk, leaf
        self.width = leaf.stored.itemsize if leaf.stored else 1
        self.dictionary: Array | None = None

    def body(self, header: PageHeader, before: int) -> tuple[Any, int, int]:
        """Return a buffer with the page's bytes after decompression, and where they start and end in it.

        The first ``before`` bytes of the page are never compressed, and are left out.
        """
        start, stop = header.body + before, header.body + header.stored
        size = header.decoded - before
        if self.chunk.codec == "UNCOMPRESSED" or not header.compressed:
            if size != stop - start:
                raise PageError(header.body, f"{stop - start} bytes that are not compressed cannot decode to {size}")
            return self.bytes, start, stop
        if self.chunk.codec not in CODECS:
            raise _Unviewable
        if size == 0:
            return b"", 0, 0
        most = (self.width + 8) * header.values + _SMALL_BYTES
        if header.kind == DICTIONARY_PAGE:
            most = (self.width + 8) * self.chunk.values + _SMALL_BYTES
        if not 0 < size <= most:
            raise PageError(header.body, f"{header.values} values cannot decode to {size} bytes")
        return self.decompressed(header, start, stop, size), 0, size

    def decompressed(self, header: PageHeader, start: int, stop: int, size: int) -> Any:
        """Return a buffer of exactly ``size`` bytes; the codecs alone would also accept a page that gives fewer."""
        codec, body = self.chunk.codec, self.bytes[start:stop]
        try:
            result = _codec(codec).decompress(body, size)
        except (OSError, ValueError) as error:
            if codec == "LZ4":
                raise _Unviewable from None
            raise PageError(header.body, f"the page cannot be decompressed: {error}") from None
        if codec == "LZ4" and bytes(memoryview(result)[-5:]) != bytes(body[-5:]):
            raise _Unviewable
        if codec in _STATED_SIZES and _STATED_SIZES[codec](body) != size:
            raise PageError(header.body, f"the page does not decompress to the {size} bytes that its header says")
        return result

    def values(self, header: PageHeader, before: int) -> Array:
        """Return the values of a data page, of which ``before`` come before it in the chunk."""
        if self.least_bytes(header) > header.decoded:
            raise _Unviewable
        if header.kind == DATA_PAGE:
            source, at, stop = self.body(header, 0)
            at = self.prefixed_levels(header, source, at, stop, before)
        elif header.kind == DATA_PAGE_V2:
            rep_stop = header.body + header.rep_bytes
            def_stop = rep_stop + header.def_bytes
            if def_stop > header.body + header.stored:
                raise PageError(header.body, "the levels are longer than the page")
            if header.nulls:
                raise _Unviewable
            self.check_rep(self.bytes[header.body : rep_stop].tobytes(), header.values, before)
            self.check_def(self.bytes[rep_stop:def_stop].tobytes(), header.values)
            source, at, stop = self.body(header, def_stop - header.body)
        else:
            raise _Unviewable
        if header.encoding == PLAIN:
            return self.plain(source, at, stop, header)
        if header.encoding in (RLE_DICTIONARY, PLAIN_DICTIONARY) and self.dictionary is not None:
            return self.looked_up(source, at, stop, header)
        raise _Unviewable

    def least_bytes(self, header: PageHeader) -> int:
        """Return the bytes that a page without nulls takes at least, so that a count is never trusted alone."""
        if header.encoding == PLAIN:
            return header.values * self.width if self.leaf.stored else header.values // 8
        if header.encoding in (RLE_DICTIONARY, PLAIN_DICTIONARY) and header.decoded >= header.values:
            return header.values
        raise _Unviewable

    def prefixed_levels(self, header: PageHeader, source: Any, at: int, stop: int, before: int) -> int:
        """Return where the values start after levels that carry no news."""
        leaf = self.leaf
        if leaf.max_rep:
            text, at = self.levels(source, at, stop, header.rep_encoding)
            self.check_rep(text, header.values, before)
        if leaf.max_def:
            text, at = self.levels(source, at, stop, header.def_encoding)
            self.check_def(text, header.values)
        return at

    def levels(self, source: Any, at: int, stop: int, encoding: int) -> tuple[bytes, int]:
        if encoding != RLE:
            raise _Unviewable
        text_at = at + 4
        text_stop = text_at + int.from_bytes(source[at:text_at], "little")
        if max(text_at, text_stop) > stop:
            raise PageError(at, "the levels are longer than their page")
        return bytes(source[text_at:text_stop]), text_stop

    def check_rep(self, text: bytes, count: int, before: int) -> None:
        size = self.leaf.size
        if self.leaf.max_rep and not are_lists(text, count, size, before % size):
            raise _Unviewable

    def check_def(self, text: bytes, count: int) -> None:
        highest = self.leaf.max_def
        if highest and text != one_run(count, highest) and not are_all(text, count, highest):
            raise _Unviewable

    def plain(self, source: Any, at: int, stop: int, header: PageHeader) -> Array:
        count, stored = header.values, self.leaf.stored
        needed = count * self.width if stored else (count + 7) // 8
        if stop - at != needed:
            raise PageError(header.body, f"{count} values in {stop - at} bytes; they need {needed}")
        if count == 0:
            return np.empty(0, self.leaf.dtype)
        if stored is None:
            packed = np.frombuffer(source, np.uint8, needed, at)
            return np.unpackbits(packed, count=count, bitorder="little").view(np.bool_)
        array = np.frombuffer(source, stored, count, at)
        return array if stored == self.leaf.dtype else array.astype(self.leaf.dtype)

    def read_dictionary(self, header: PageHeader) -> None:
        if header.encoding not in (PLAIN, PLAIN_DICTIONARY) or self.leaf.stored is None:
            raise _Unviewable
        source, at, stop = self.body(header, 0)
        self.dictionary = self.plain(source, at, stop, header)

    def looked_up(self, source: Any, at: int, stop: int, header: PageHeader) -> Array:
        """Return the values of a page of dictionary indices that lie there as one run of whole bytes."""
        assert self.dictionary is not None  # noqa: S101 - the caller has seen it
        if header.values == 0:
            return np.empty(0, self.leaf.dtype)
        start, index = _index_run(source, at, stop, header.values)
        if (stop - start) < header.values * index.itemsize:
            raise PageError(header.body, f"{header.values} indices do not fit into {stop - start} bytes")
        indices = np.frombuffer(source, index, header.values, start)
        dictionary = self.dictionary
        if index.itemsize == 1 and dictionary.itemsize == 1 and dictionary.tobytes() == _EVERY_BYTE.tobytes():
            return indices.view(dictionary.dtype)
        if len(dictionary) == 0 or int(indices.max()) >= len(dictionary):
            raise PageError(header.body, f"an index lies outside the dictionary of {len(dictionary)} values")
        return np.take(dictionary, indices, mode="clip")


def _index_run(source: Any, at: int, stop: int, count: int) -> tuple[int, np.dtype[Any]]:
    """Return where the bytes of one bit-packed run of ``count`` indices start, and the type of an index."""
    head = bytes(source[at : min(stop, at + 6)])
    index = _INDEX.get(head[0]) if head else None
    if index is None:
        raise _Unviewable
    groups = place = 0
    for length, byte in enumerate(head[1:], 2):
        groups |= (byte & 0x7F) << place
        place += 7
        if byte < 0x80:
            if groups & 1 and (groups >> 1) * 8 >= count:
                return at + length, index
            break
    raise _Unviewable


def chunk_values(body: memoryview, chunk: Chunk, leaf: Leaf, headers: Sequence[PageHeader]) -> Array | None:
    """Return the values in ``body``, of shape (rows,) or (rows, size), or None if they cannot be viewed.

    ``headers`` are those of `pages`.  The array may be a view of ``body``, and then need not be aligned.

    Raises:
        PageError: if a page contradicts itself or the footer.
    """
    if chunk.values != chunk.rows * (leaf.size or 1):
        return None
    work = _Pages(body, chunk, leaf)
    parts: list[Array] = []
    before = 0
    try:
        for header in headers:
            if header.kind == DICTIONARY_PAGE:
                work.read_dictionary(header)
                continue
            parts.append(work.values(header, before))
            before += header.values
    except _Unviewable:
        return None
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, leaf.dtype)])
    return flat.reshape(chunk.rows, leaf.size) if leaf.size else flat
