"""Small wrongs of reading page headers, levels and pages, that headers and pages of the usual make do not show."""

from __future__ import annotations

import pytest
from test_decode_headers import BINARY, DOUBLE, I32, I64, LIST, STRUCT, TRUE, i32, struct, varint, zigzag

from dlio_benchmark.parquet.decode_headers import PageError, checksum_bytes, page_header

BYTE, I16, SET = 3, 4, 10
CONTENT = (5, STRUCT, struct(*(i32(number, 0) for number in (1, 2)), *(i32(number, 3) for number in (3, 4))))
STRANGE = {
    "double": (20, DOUBLE, b"\x1f" * 8),
    "binary": (20, BINARY, b"\x03\x15\x00\x00"),
    "byte": (20, BYTE, b"\x15"),
    "short integer": (20, I16, b"\x7f"),
    "long integer": (20, I64, zigzag(-(2**63))),
    "list": (20, LIST, b"\x25\x02\x04"),
    "set": (20, SET, b"\x23\x15\x00"),
    "list of truths": (20, LIST, b"\x21\x01\x02"),
    "long list": (20, LIST, b"\xf5" + varint(20) + bytes(20)),
    "list of structs": (20, LIST, b"\x2c" + struct(i32(1, 9)) * 2),
    "list of lists": (20, LIST, b"\x29\x25\x02\x04\x15\x06"),
    "struct": (20, STRUCT, struct(i32(1, 9), (2, TRUE, b""))),
}


@pytest.mark.parametrize("field", STRANGE.values(), ids=STRANGE)
def test_fields_that_nobody_knows_are_stepped_over_to_the_byte(field: tuple[int, int, bytes]) -> None:
    content = (5, STRUCT, struct(*(i32(number, number) for number in range(1, 5)), field, i32(21, 7)))
    octets = struct(i32(1, 0), i32(2, 6), i32(3, 5), content, field, i32(21, 9))
    header = page_header(memoryview(octets + bytes(5)), 0, len(octets) + 5)
    assert header[1:] == (len(octets), 5, 6, None)
    assert header.content[:5] == (0, 1, 2, 3, 4)


def nested(kind: int, depth: int) -> bytes:
    """Return the bytes of a value within so many others: structs, or lists of one element."""
    value, inner = b"\x02", I32
    for _ in range(depth):
        value, inner = (struct((1, inner, value)), STRUCT) if kind == STRUCT else (bytes([16 | inner]) + value, LIST)
    return value


@pytest.mark.parametrize("kind", [STRUCT, LIST])
def test_fields_may_be_nested_as_deep_as_formats_go_and_no_deeper(kind: int) -> None:
    for depth, fits in ((8, True), (9, False)):
        octets = struct(i32(1, 0), i32(2, 0), i32(3, 0), CONTENT, (20, kind, nested(kind, depth)))
        if fits:
            assert page_header(memoryview(octets), 0, len(octets)).body == len(octets)
        else:
            with pytest.raises(PageError, match="too deep"):
                page_header(memoryview(octets), 0, len(octets))


@pytest.mark.parametrize("wide", [1, 5, 9, 10, 11])
def test_a_number_has_at_most_the_ten_bytes_that_thrift_gives_it(wide: int) -> None:
    size = b"\x80" * (wide - 1) + b"\x00"
    octets = struct(i32(1, 0), i32(2, 0), (3, I32, size), CONTENT)
    if wide > 10:
        with pytest.raises(PageError, match="does not end"):
            page_header(memoryview(octets), 0, len(octets))
    else:
        assert page_header(memoryview(octets), 0, len(octets)).stored == 0


@pytest.mark.parametrize(("kind", "bits"), [(I16, 16), (I32, 32), (I64, 64)])
def test_an_integer_has_at_most_the_bits_of_its_type(kind: int, bits: int) -> None:
    for unsigned, fits in ((2**bits - 1, True), (2**bits, False)):
        octets = struct(i32(1, 0), i32(2, 0), i32(3, 0), CONTENT, (20, kind, varint(unsigned)))
        if fits:
            assert page_header(memoryview(octets), 0, len(octets)).body == len(octets)
        else:
            with pytest.raises(PageError, match=f"more than {bits} bits"):
                page_header(memoryview(octets), 0, len(octets))


@pytest.mark.parametrize("last", [[], [(20, BINARY, varint(3) + b"abc")], [(20, LIST, b"\x35\x02\x04\x06")]])
def test_a_header_that_is_cut_off_is_damage_whatever_follows_it(last: list[tuple[int, int, bytes]]) -> None:
    octets = b"\xff" * 9 + struct(i32(1, 0), i32(2, 3), i32(3, 3), CONTENT, *last)
    for stop in range(9, len(octets) + 3):
        with pytest.raises(PageError) as caught:
            page_header(memoryview(octets + bytes(40)), 9, stop)
        with pytest.raises(PageError):
            page_header(memoryview(octets + bytes(3))[:stop], 9, stop)
        assert caught.value.at == 9
        assert str(caught.value).startswith("page header: ")
    assert page_header(memoryview(octets + bytes(40)), 9, len(octets) + 3).body == len(octets)


@pytest.mark.parametrize("field", [2, 3, 4])
def test_sizes_and_checksums_have_at_most_32_bits(field: int) -> None:
    fields = {number: i32(number, 0) for number in (1, 2, 3, 4)}
    for bits, fits in ((2**32 - 2, True), (2**32 + 1, False), (2**33, False)):
        octets = struct(*(fields | {field: (field, I32, varint(bits))}).values(), CONTENT)
        memory, stop = memoryview(octets), len(octets)
        if fits and field != 3:
            assert page_header(memory, 0, stop)[4 if field == 4 else 3] == 2**31 - 1
        else:
            with pytest.raises(PageError, match="are left" if fits else "more than 32 bits"):
                page_header(memory, 0, stop)


def test_the_number_of_a_field_has_at_most_16_bits() -> None:
    for number, fits in ((2**16 - 2, True), (2**16, False)):
        octets = struct(i32(1, 0), i32(2, 0), i32(3, 0), CONTENT)[:-1] + bytes([I32]) + varint(number) + b"\x02\x00"
        if fits:
            assert page_header(memoryview(octets), 0, len(octets)).body == len(octets)
        else:
            with pytest.raises(PageError, match="more than 16 bits"):
                page_header(memoryview(octets), 0, len(octets))


def test_a_header_has_at_most_a_mebibyte() -> None:
    def long(size: int) -> bytes:
        return struct(i32(1, 0), i32(2, 0), i32(3, 0), CONTENT, (20, BINARY, varint(size) + bytes(size)))

    rest = len(long(1 << 20)) - (1 << 20)
    octets = long((1 << 20) - rest)
    assert page_header(memoryview(octets), 0, len(octets)).body == len(octets) == 1 << 20
    octets = long((1 << 20) - rest + 1)
    with pytest.raises(PageError, match="in the middle of a field"):
        page_header(memoryview(octets), 0, len(octets))


def test_what_a_kind_of_page_does_not_say_is_nothing() -> None:
    index = struct(i32(1, 1), i32(2, 9), i32(3, 5), (6, STRUCT, struct()))
    header = page_header(memoryview(index + bytes(5)), 0, len(index) + 5)
    assert header == ((1, 0, 0, 3, 3, None, None, 0, 0, True), len(index), 5, 9, None)
    for more in ([], [(20, TRUE, b"")]):
        octets = struct(i32(1, 0), i32(2, 0), i32(3, 0), CONTENT, *more)
        assert page_header(memoryview(octets), 0, len(octets)).content == (0, 0, 0, 3, 3, None, None, 0, 0, True)


def test_a_checksum_stands_where_it_is_or_nowhere() -> None:
    before, unusual = b"\xff" * 7, (20, TRUE, b"")
    plain, checked = ([i32(1, 0), i32(2, 0), i32(3, 0), *more] for more in ([], [i32(4, -123456)]))
    for fields in ([*plain, CONTENT], [*plain, CONTENT, unusual], [*checked, CONTENT, unusual]):
        assert checksum_bytes(memoryview(before + struct(*fields)), len(before)) == slice(7, 7)
    octets = before + struct(*checked, CONTENT)
    found = checksum_bytes(memoryview(octets), len(before))
    assert octets[found] == i32(4, -123456)[2]
    assert octets[found.start - 1] == 0x15
