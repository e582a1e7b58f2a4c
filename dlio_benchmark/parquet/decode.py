"""Column chunks as NumPy arrays, without touching single values.

A PLAIN page of a column without nulls already is the array: its bytes are viewed, not decoded.  A chunk of one
such page costs no copy; the values of several pages are moved together.  Small integers kept as one-byte indices
into a dictionary are viewed in the same way when the dictionary maps each index to itself.  Whatever is not one
of these layouts is left to a full decoder, and `chunk_values` says so with None; damage is an error in any case.

Invariant: an array that comes out has exactly the values that the footer promises, and nothing larger than
that is ever allocated, whatever the pages claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlio_benchmark.parquet.checksum import crc32
from dlio_benchmark.parquet.decode_codec import NO_CODEC, UnknownLayout, decompressed
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
    bare_body,
    page_header,
)
from dlio_benchmark.parquet.decode_levels import are_all, are_lists, one_run
from dlio_benchmark.parquet.decode_memory import empty

Array: TypeAlias = NDArray[Any]
Source: TypeAlias = memoryview

_LENGTH_BYTES = 4
_SLACK_BYTES = 1 << 20
_SMALL_PAGE_BYTES = 256 << 10
_LARGEST_OFFSET = (1 << 31) - 1
_INDEX: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 16: np.dtype("<u2"), 32: np.dtype("<u4")}
_IDENTITY = {kind: np.arange(256, dtype=np.uint8).view(kind).astype("<i4").tobytes() for kind in ("i1", "u1")}


@dataclass(frozen=True, slots=True)
class Leaf:
    """How a column without nulls lies in the file.

    ``stored`` is the type of a value there: None is a bit, ``V0`` bytes behind their length, of which all must
    have the same.  ``dtype`` is the type that a value is given as, and ``size`` the values of a list, 0 for a
    column that is no list.
    """

    stored: np.dtype[Any] | None
    dtype: np.dtype[Any]
    size: int = 0
    max_def: int = 0
    max_rep: int = 0
    width: int = field(init=False)
    """Bytes that a stored value takes at least; 0 for a bit."""
    is_array: bool = field(init=False)
    """Whether the values of an uncompressed PLAIN page are the array."""
    is_usual: bool = field(init=False)
    """Whether the column has no levels, and one of the layouts that are viewed at once."""
    identity: bytes = field(init=False)
    """The dictionary page that maps each index of one byte to itself; empty for types of more bytes."""

    def __post_init__(self) -> None:
        """Work out once what each page asks for."""
        width = 0 if self.stored is None else self.stored.itemsize or _LENGTH_BYTES
        is_array = self.stored == self.dtype and self.dtype.itemsize > 0
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "is_array", is_array)
        identity = _IDENTITY.get(self.dtype.str[1:], b"") if width == _LENGTH_BYTES else b""
        flat = not self.max_def and not self.max_rep
        object.__setattr__(self, "identity", identity)
        object.__setattr__(self, "is_usual", flat and bool(is_array or identity))


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
    while left > 0 and at < end:
        header = page_header(body, at, end, verify)
        stop = header.body + header.stored
        if verify and header.crc is not None and crc32(body[header.body : stop]) != header.crc & 0xFFFFFFFF:
            raise PageError(at, "the checksum of the page does not match its bytes")
        if header.content.kind != DICTIONARY_PAGE:
            left -= header.content.values
        elif found:
            raise PageError(at, "a dictionary page after another page")
        found.append(header)
        at = stop
    if left:
        raise PageError(at, f"the pages hold {chunk.values - left} values; the footer says {chunk.values}")
    return found


def may_be_viewed(chunk: Chunk, leaf: Leaf) -> bool:
    """Return whether `viewed` may find the values of ``chunk``, by what the footer says of it."""
    return leaf.is_usual and chunk.codec == NO_CODEC and chunk.values == chunk.rows


def viewed(body: memoryview, chunk: Chunk, leaf: Leaf) -> Array | None:
    """Return the values of ``chunk`` if it is laid out in one of the two usual ways, as `chunk_values` would.

    They are a PLAIN page, and a page of one-byte indices behind a dictionary that maps each index to itself.
    """
    if not may_be_viewed(chunk, leaf):
        return None
    if leaf.identity:
        return _octets(body, chunk, leaf)
    start = bare_body(body, chunk.values, leaf.width)
    return None if start is None else np.frombuffer(body, leaf.dtype, chunk.values, start)


def _octets(body: memoryview, chunk: Chunk, leaf: Leaf) -> Array | None:
    """Return the indices into a dictionary that maps each to itself, or None if ``body`` is anything else."""
    head = page_header(body, 0, len(body), crc=False)
    at = head.body + head.stored
    if head.content.kind != DICTIONARY_PAGE or bytes(body[head.body : at]) != leaf.identity or at == len(body):
        return None
    content, start, stored, decoded, _ = page_header(body, at, len(body), crc=False)
    if start + stored != len(body) or stored != decoded or content[:3] != (DATA_PAGE, chunk.values, RLE_DICTIONARY):
        return None
    try:
        start, index = _index_run(body, start, len(body), chunk.values)
    except UnknownLayout:
        return None
    if index.itemsize != 1 or len(body) - start < chunk.values:
        return None
    return np.frombuffer(body, leaf.dtype, chunk.values, start)


def check_sizes(chunk: Chunk, headers: Sequence[PageHeader]) -> None:
    """Raise PageError if the pages say that they decode to far more bytes than the footer promises."""
    decoded = sum(header.decoded for header in headers)
    if decoded > chunk.decoded_bytes + 16 * _SLACK_BYTES:
        promised = f"the footer promises {chunk.decoded_bytes}"
        raise PageError(0, f"the pages claim to decode to {decoded} bytes; {promised}")


def chunk_values(body: memoryview, chunk: Chunk, leaf: Leaf, headers: Sequence[PageHeader]) -> Array | None:
    """Return the values in ``body``, of shape (rows,) or (rows, size), or None if they cannot be viewed.

    ``headers`` are those of `pages`.  The array may be a view of ``body``, which may have been changed to make
    that possible, and need not be aligned.

    Raises:
        PageError: if a page contradicts itself or the footer.
    """
    if chunk.values != chunk.rows * (leaf.size or 1):
        return None
    if chunk.codec != NO_CODEC and not leaf.max_def and len(headers) > 1 and _are_small(headers):
        return None
    try:
        flat = _Pages(body, chunk, leaf).joined(headers)
    except UnknownLayout:
        return None
    return flat.reshape(chunk.rows, leaf.size) if leaf.size else flat


class _Pages:
    """The pages of one chunk being turned into one array."""

    __slots__ = ("body", "chunk", "dictionary", "identity", "leaf")

    def __init__(self, body: memoryview, chunk: Chunk, leaf: Leaf) -> None:
        self.body, self.chunk, self.leaf = body, chunk, leaf
        self.dictionary: Array | None = None
        self.identity = False

    def joined(self, headers: Sequence[PageHeader]) -> Array:
        """Return the values of all pages."""
        if headers and headers[0].content.kind == DICTIONARY_PAGE:
            self.read_dictionary(headers[0])
            headers = headers[1:]
        if len(headers) == 1:
            return self.page(headers[0], 0)
        if self.leaf.is_array and self.chunk.codec == NO_CODEC and all(_is_plain(header) for header in headers):
            return self.moved_together(headers)
        out: Array | None = None
        before = 0
        for header in headers:
            part = self.page(header, before)
            if out is None:
                out = empty(self.chunk.values, part.dtype)
            elif out.dtype != part.dtype:
                raise UnknownLayout
            out[before : before + len(part)] = part
            before += len(part)
        return np.empty(0, self.leaf.dtype) if out is None else out

    def moved_together(self, headers: Sequence[PageHeader]) -> Array:
        """Return a view of the values, after moving those of later pages down over the headers between them."""
        spans, before = [], 0
        for header in headers:
            _, at, stop = self.located(header, before)
            self.check_length(header, stop - at)
            spans.append((at, stop))
            before += header.content.values
        first, end = spans[0]
        for at, stop in spans[1:]:
            self.body[end : end + stop - at] = self.body[at:stop]
            end += stop - at
        return np.frombuffer(self.body, self.leaf.dtype, before, first)

    def page(self, header: PageHeader, before: int) -> Array:
        """Return the values of a data page, of which ``before`` come before it in the chunk."""
        source, at, stop = self.located(header, before)
        if header.content.encoding == PLAIN:
            return self.plain(source, at, stop, header)
        return self.looked_up(source, at, stop, header)

    def located(self, header: PageHeader, before: int) -> tuple[Source, int, int]:
        """Return where the values of a data page lie behind levels that carry no news: a buffer, start and end."""
        content = header.content
        self.check_count(header)
        if content.kind == DATA_PAGE:
            source, start, stop = self.decoded(header, 0)
            rep, at = self.levels(source, start, stop, content.rep_encoding) if self.leaf.max_rep else (b"", start)
            def_, at = self.levels(source, at, stop, content.def_encoding) if self.leaf.max_def else (b"", at)
        elif content.kind == DATA_PAGE_V2 and not content.nulls:
            rep_stop = header.body + content.rep_bytes
            def_stop = rep_stop + content.def_bytes
            if def_stop - header.body > min(header.stored, header.decoded):
                raise PageError(header.body, "the levels are longer than the page")
            rep, def_ = bytes(self.body[header.body : rep_stop]), bytes(self.body[rep_stop:def_stop])
            source, at, stop = self.decoded(header, def_stop - header.body)
        else:
            raise UnknownLayout
        if content.encoding != PLAIN:
            _index_run(source, at, stop, content.values)
        self.check_levels(rep, def_, content.values, before)
        return source, at, stop

    def levels(self, source: Source, at: int, stop: int, encoding: int) -> tuple[bytes, int]:
        """Return levels that stand behind their length, and the position after them."""
        if encoding != RLE:
            raise UnknownLayout
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(source[at:start], "little")
        if end > stop:
            raise PageError(min(at, len(self.body)), "the levels are longer than their page")
        return bytes(source[start:end]), end

    def check_levels(self, rep: bytes, def_: bytes, count: int, before: int) -> None:
        """Go on only if all values are there and all lists have the same length."""
        size, highest = self.leaf.size, self.leaf.max_def
        if highest and def_ != one_run(count, highest) and not are_all(def_, count, highest):
            raise UnknownLayout
        if self.leaf.max_rep and not are_lists(rep, count, size, before % size):
            raise UnknownLayout

    def check_count(self, header: PageHeader) -> None:
        """Go on only if the page is long enough for its values, so that no count is trusted alone."""
        content = header.content
        if content.encoding == PLAIN:
            least = content.values * self.leaf.width or content.values // 8
        elif content.encoding in (RLE_DICTIONARY, PLAIN_DICTIONARY) and self.dictionary is not None:
            least = content.values
        else:
            raise UnknownLayout
        if least > header.decoded:
            raise UnknownLayout

    def decoded(self, header: PageHeader, plain: int) -> tuple[Source, int, int]:
        """Return a page after decompression, without its first ``plain`` bytes, which are never compressed."""
        start, stop = header.body + plain, header.body + header.stored
        size = header.decoded - plain
        if self.chunk.codec == NO_CODEC or not header.content.compressed:
            if size != stop - start:
                raise PageError(header.body, f"{stop - start} bytes that are not compressed cannot decode to {size}")
            return self.body, start, stop
        values = self.chunk.values if header.content.kind == DICTIONARY_PAGE else header.content.values
        if self.leaf.dtype.itemsize and size > (self.leaf.width + 8) * values + _SLACK_BYTES:
            raise PageError(header.body, f"{values} values cannot decode to {size} bytes")
        if size > self.chunk.decoded_bytes + _SLACK_BYTES:
            raise PageError(header.body, f"{size} bytes, where the footer promises {self.chunk.decoded_bytes}")
        return decompressed(self.chunk.codec, self.body[start:stop], size, header.body), 0, size

    def check_length(self, header: PageHeader, length: int) -> None:
        count, width = header.content.values, self.leaf.width
        needed = count * width if width else (count + 7) // 8
        if length != needed:
            raise PageError(header.body, f"{count} values in {length} bytes; they need {needed}")

    def plain(self, source: Source, at: int, stop: int, header: PageHeader) -> Array:
        """Return the values of a PLAIN page or dictionary."""
        count, stored, dtype = header.content.values, self.leaf.stored, self.leaf.dtype
        if stored is not None and stored.itemsize == 0:
            return self.equally_long(source, at, stop, count)
        self.check_length(header, stop - at)
        if count == 0:
            return np.empty(0, dtype)
        if stored is None:
            packed = np.frombuffer(source, np.uint8, stop - at, at)
            return np.unpackbits(packed, count=count, bitorder="little").view(np.bool_)
        array = np.frombuffer(source, stored, count, at)
        if stored == dtype:
            return array
        narrow = empty(count, dtype)
        np.copyto(narrow, array, casting="unsafe")
        return narrow

    def equally_long(self, source: Source, at: int, stop: int, count: int) -> Array:
        """Return values that stand behind their lengths as one array of bytes, if all lengths are the same."""
        length = int.from_bytes(source[at : at + _LENGTH_BYTES], "little")
        if count == 0 or length == 0 or count * (length + _LENGTH_BYTES) != stop - at:
            raise UnknownLayout
        if length * self.chunk.values > _LARGEST_OFFSET:
            raise UnknownLayout
        pairs = np.frombuffer(source, np.dtype([("length", "<u4"), ("value", f"V{length}")]), count, at)
        if not (pairs["length"] == length).all():
            raise UnknownLayout
        values = empty(count, pairs["value"].dtype)
        values[:] = pairs["value"]
        return values

    def read_dictionary(self, header: PageHeader) -> None:
        """Keep the values of a dictionary page for the data pages."""
        stored = self.leaf.stored
        if header.content.encoding not in (PLAIN, PLAIN_DICTIONARY) or not stored or not stored.itemsize:
            raise UnknownLayout
        source, at, stop = self.decoded(header, 0)
        self.check_length(header, stop - at)
        self.identity = self.leaf.identity != b"" and bytes(source[at:stop]) == self.leaf.identity
        self.dictionary = self.plain(source, at, stop, header)

    def looked_up(self, source: Source, at: int, stop: int, header: PageHeader) -> Array:
        """Return the values of a page of dictionary indices that lie there as one run of whole bytes."""
        dictionary, count = self.dictionary, header.content.values
        if dictionary is None or count == 0:
            raise UnknownLayout
        start, index = _index_run(source, at, stop, count)
        if stop - start < count * index.itemsize:
            raise PageError(header.body, f"{count} indices do not fit into {stop - start} bytes")
        indices = np.frombuffer(source, index, count, start)
        if self.identity and index.itemsize == 1:
            return indices.view(dictionary.dtype)
        if len(dictionary) == 0 or int(indices.max()) >= len(dictionary):
            raise PageError(header.body, f"an index lies outside the dictionary of {len(dictionary)} values")
        return np.take(dictionary, indices, mode="clip", out=empty(count, dictionary.dtype))


def _are_small(headers: Sequence[PageHeader]) -> bool:
    """Return whether putting pages together one by one takes longer than a full decoder needs for all."""
    return sum(header.decoded for header in headers) < len(headers) * _SMALL_PAGE_BYTES


def _is_plain(header: PageHeader) -> bool:
    return header.content.encoding == PLAIN


def _index_run(source: Source, at: int, stop: int, count: int) -> tuple[int, np.dtype[Any]]:
    """Return where the bytes of one bit-packed run of ``count`` indices start, and the type of an index."""
    head = bytes(source[at : min(stop, at + 6)])
    index = _INDEX.get(head[0]) if head else None
    if index is None:
        raise UnknownLayout
    groups = place = 0
    for length, byte in enumerate(head[1:], 2):
        groups |= (byte & 0x7F) << place
        place += 7
        if byte < 0x80:
            if groups & 1 and (groups >> 1) * 8 >= count:
                return at + length, index
            break
    raise UnknownLayout
