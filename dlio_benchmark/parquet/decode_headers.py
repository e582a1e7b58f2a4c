"""Page headers of Parquet: Thrift's compact protocol, read from bytes that nobody vouches for.

A walk over the fields reads any header.  But the headers of a file differ in little more than sizes and
checksums, so for headers of the usual make a regular expression finds those, and the rest is walked once and
remembered by its bytes.  No byte outside the given range is looked at.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from dlio_benchmark.errors import ParquetFileError

DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8

_LONGEST_HEADER = 1 << 20
_DEEPEST = 8
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = {4: 16, 5: 32, 6: 64}

_Fields: TypeAlias = "dict[int, int | _Fields | None]"


class PageError(ParquetFileError):
    """Bytes of a column chunk are not what the format says; ``at`` is their position in the buffer."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at


class Content(NamedTuple):
    """What is in a page: values, and the levels before them; None where the kind of page does not say."""

    kind: int
    values: int = 0
    encoding: int = PLAIN
    def_encoding: int = RLE
    rep_encoding: int = RLE
    nulls: int | None = None
    rows: int | None = None
    def_bytes: int = 0
    rep_bytes: int = 0
    compressed: bool = True


class PageHeader(NamedTuple):
    """A page: its content, where it starts, and its bytes as stored and as decoded by the codec."""

    content: Content
    body: int
    stored: int
    decoded: int
    crc: int | None


_NUMBER = rb"[\x80-\xff]{0,4}[\x00-\x7f]"
_STATISTIC = (
    rb"(?:[\x18\x28\x38\x48\x58\x68](?:\x00|\x01.|\x02.{2}|\x04.{4}|\x08.{8})"
    rb"|[\x16\x26\x36][\x80-\xff]{0,9}[\x00-\x7f]|[\x11\x12\x21\x22])"
)
_match_usual = re.compile(
    rb"(\x15[\x00\x04\x06])\x15(%b)\x15(%b)(?:\x15(%b))?" % (_NUMBER, _NUMBER, _NUMBER)
    + rb"([\x1c\x2c\x3c\x4c\x5c](?:\x15%b){2,6}[\x11\x12]?)" % _NUMBER
    + rb"(?:\x1c%b*\x00)?\x00\x00" % _STATISTIC,
    re.DOTALL,
).match
_NO_SIZES, _NO_CRC = b"\x15\x00\x15\x00", b"\x15\x00"


def _signed(varint: bytes) -> int:
    """Return the 32-bit number that a varint in zigzag form stands for; ValueError if it needs more bits."""
    bits = 0
    for place, byte in enumerate(varint):
        bits |= (byte & 0x7F) << 7 * place
    if bits >> 32:
        raise ValueError(varint)
    return (bits >> 1) ^ -(bits & 1)


_size = lru_cache(maxsize=4096)(_signed)


@lru_cache(maxsize=1024)
def _content(kind: bytes, has_crc: bool, inner: bytes) -> Content:
    """Return what a header says whose fields have these bytes, without its sizes."""
    header = kind + _NO_SIZES + (_NO_CRC if has_crc else b"") + inner + b"\x00\x00"
    return _walked(memoryview(header), 0, len(header)).content


class _Walk:
    """A walk over Thrift fields that keeps integers, booleans and structs, and steps over all else."""

    __slots__ = ("at", "buffer", "start", "stop")

    def __init__(self, buffer: memoryview, start: int, stop: int) -> None:
        self.buffer, self.start, self.at, self.stop = buffer, start, start, stop

    def wrong(self, what: str) -> PageError:
        return PageError(self.start, f"page header: {what}")

    def skip(self, count: int) -> None:
        if count > self.stop - self.at:
            raise self.wrong("it ends in the middle of a field")
        self.at += count

    def byte(self) -> int:
        self.skip(1)
        return self.buffer[self.at - 1]

    def varint(self, most_bits: int) -> int:
        bits = place = 0
        while True:
            byte = self.byte()
            bits |= (byte & 0x7F) << place
            place += 7
            if byte < 0x80:
                break
            if place >= 70:
                raise self.wrong("a number does not end")
        if bits >> most_bits:
            raise self.wrong(f"a number has more than {most_bits} bits")
        return bits

    def integer(self, bits: int) -> int:
        number = self.varint(bits)
        return (number >> 1) ^ -(number & 1)

    def struct(self, depth: int = 0) -> _Fields:
        """Return the fields of the struct at the cursor by id."""
        fields: _Fields = {}
        field = 0
        while head := self.byte():
            field = field + (head >> 4) if head >> 4 else self.integer(16)
            fields[field] = bool(2 - (head & 15)) if head & 15 in (_TRUE, _FALSE) else self.value(head & 15, depth)
        return fields

    def value(self, kind: int, depth: int) -> int | _Fields | None:
        """Return the integer or the struct at the cursor; step over a value of another type."""
        if depth > _DEEPEST:
            raise self.wrong("structs or lists are nested too deep")
        if bits := _INTEGERS.get(kind):
            return self.integer(bits)
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind == _BINARY:
            self.skip(self.varint(32))
        elif kind in (_TRUE, _FALSE, _BYTE):
            self.skip(1)
        elif kind == _DOUBLE:
            self.skip(8)
        elif kind in (_LIST, _SET):
            self.elements(depth)
        else:
            raise self.wrong(f"there is no field type {kind} in it")
        return None

    def elements(self, depth: int) -> None:
        head = self.byte()
        count = self.varint(32) if head >> 4 == 15 else head >> 4
        if count > self.stop - self.at:
            raise self.wrong("a list is longer than the page")
        for _ in range(count):
            self.value(head & 15, depth + 1)


_LAYOUTS: dict[int, tuple[int, dict[str, int]]] = {
    DATA_PAGE: (5, {"values": 1, "encoding": 2, "def_encoding": 3, "rep_encoding": 4}),
    DICTIONARY_PAGE: (7, {"values": 1, "encoding": 2}),
    DATA_PAGE_V2: (8, {"values": 1, "nulls": 2, "rows": 3, "encoding": 4, "def_bytes": 5, "rep_bytes": 6}),
}


def _walked(buffer: memoryview, start: int, stop: int) -> PageHeader:
    """Return the header at ``start``, whatever its make."""
    walk = _Walk(buffer, start, min(stop, start + _LONGEST_HEADER))
    fields = walk.struct()

    def need(within: _Fields, field: int, what: str) -> int:
        number = within.get(field)
        if not isinstance(number, int) or isinstance(number, bool):
            raise walk.wrong(f"it has no {what}")
        return number

    kind = need(fields, 1, "page type")
    decoded, stored = need(fields, 2, "uncompressed size"), need(fields, 3, "compressed size")
    crc = need(fields, 4, "checksum") if 4 in fields else None
    if kind not in _LAYOUTS:
        return PageHeader(Content(kind), walk.at, stored, decoded, crc)
    place, layout = _LAYOUTS[kind]
    inner = fields.get(place)
    if not isinstance(inner, dict):
        raise walk.wrong("it has no part for its page type")
    numbers = {name: need(inner, field, name) for name, field in layout.items()}
    if min(numbers.values()) < 0:
        raise walk.wrong("a count is negative")
    compressed = kind != DATA_PAGE_V2 or inner.get(7) is not False
    return PageHeader(Content(kind, compressed=compressed, **numbers), walk.at, stored, decoded, crc)


def bare_body(body: memoryview, values: int, width: int) -> int | None:
    """Return where the values start in a chunk that is one uncompressed PLAIN page, or None if it is anything else.

    ``body`` has ``values`` values of ``width`` bytes, and no levels before them.
    """
    usual = _match_usual(body)
    if usual is None:
        return None
    kind, decoded, stored, crc, inner = usual.groups()
    start, needed = usual.end(), values * width
    try:
        if start + needed != len(body) or _size(stored) != needed or _size(decoded) != needed:
            return None
        content = _content(kind, crc is not None, inner)
    except ValueError:
        return None
    return start if content[:3] == (DATA_PAGE, values, PLAIN) else None


def checksum_bytes(buffer: memoryview, start: int) -> slice:
    """Return where the checksum stands in the page header at ``start``; nowhere in one of an unusual make."""
    usual = _match_usual(buffer, start)
    return slice(start, start) if usual is None or usual.start(4) < 0 else slice(*usual.span(4))


def page_header(buffer: memoryview, start: int, stop: int, crc: bool = True) -> PageHeader:
    """Return the page header at ``start`` of ``buffer``; the page itself lies inside ``start`` to ``stop``.

    Without ``crc`` the checksum may be left out.

    Raises:
        PageError: if there is no whole header, if it contradicts itself, or if the page is longer than that.
    """
    try:
        if usual := _match_usual(buffer, start, stop):
            kind, decoded, stored, checksum, inner = usual.groups()
            content = _content(kind, checksum is not None, inner)
            number = _signed(checksum) if crc and checksum else None
            header = PageHeader(content, usual.end(), _size(stored), _size(decoded), number)
        else:
            header = _walked(buffer, start, stop)
    except ValueError as error:
        what = error.args[0] if isinstance(error, PageError) else "page header: a number has more than 32 bits"
        raise PageError(start, what) from None
    if header.stored < 0 or header.decoded < 0:
        raise PageError(start, "page header: a size is negative")
    if header.stored > stop - header.body:
        found = f"a page of {header.stored} bytes where {stop - header.body} are left"
        raise PageError(start, f"page header: {found}")
    return header
