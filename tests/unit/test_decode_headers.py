"""Page headers: what was written is read, and bytes that are no header end in an error, never outside the range."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from thrift_reader import ThriftReader

from dlio_benchmark.parquet.decode_headers import (
    DATA_PAGE,
    DATA_PAGE_V2,
    DICTIONARY_PAGE,
    PLAIN,
    PageError,
    bare_body,
    page_header,
)

I32, STRUCT, BINARY, I64, TRUE, FALSE, LIST, DOUBLE = 5, 12, 8, 6, 1, 2, 9, 7
sizes = st.integers(0, 2**31 - 1)
signed = st.integers(-(2**31), 2**31 - 1)


def varint(number: int, padding: int = 0) -> bytes:
    out = []
    while number > 0x7F or padding:
        out.append(number & 0x7F | 0x80)
        number >>= 7
        padding = max(0, padding - 1) if number == 0 else padding
    return bytes([*out, number])


def zigzag(number: int) -> bytes:
    return varint(number * 2 if number >= 0 else -number * 2 - 1)


def struct(*fields: tuple[int, int, bytes]) -> bytes:
    out, last = b"", 0
    for number, kind, body in fields:
        step = number - last
        out += bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + zigzag(number)
        out, last = out + body, number
    return out + b"\0"


def i32(number: int, value: int) -> tuple[int, int, bytes]:
    return number, I32, zigzag(value)


# Fields that a reader has to step over: in a newer format they may stand anywhere.
strange = st.sampled_from(
    [
        (20, BINARY, b"\3abc"),
        (21, I64, zigzag(-(2**60))),
        (40, LIST, b"\x25\2\4"),
        (41, DOUBLE, b"12345678"),
        (50, STRUCT, struct(i32(3, 9), (4, TRUE, b""))),
        (51, LIST, bytes([0xF3, 20]) + bytes(20)),
    ]
)
statistics = st.lists(
    st.sampled_from([(1, BINARY, b"\4abcd"), (3, I64, zigzag(7)), (5, BINARY, b"\0"), (7, TRUE, b"")])
)


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """Bytes of a header, and what they say."""
    kind = draw(st.sampled_from([DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2]))
    said: dict[str, Any] = {"kind": kind, "decoded": draw(sizes), "stored": draw(st.integers(0, 50))}
    said["crc"] = draw(st.none() | signed)
    counts = {"values": draw(sizes), "encoding": draw(st.integers(0, 9))}
    place, inner = 5, []
    if kind == DATA_PAGE:
        counts |= {"def_encoding": draw(st.integers(0, 9)), "rep_encoding": draw(st.integers(0, 9))}
        inner = [i32(number, value) for number, value in enumerate(counts.values(), 1)]
    elif kind == DICTIONARY_PAGE:
        place, inner = 7, [i32(number, value) for number, value in enumerate(counts.values(), 1)]
        inner += draw(st.sampled_from([[], [(3, TRUE, b"")], [(3, FALSE, b"")]]))
    else:
        counts = {"values": counts["values"], "nulls": draw(sizes), "rows": draw(sizes), **counts}
        counts = {name: counts[name] for name in ("values", "nulls", "rows", "encoding")}
        counts |= {"def_bytes": draw(sizes), "rep_bytes": draw(sizes)}
        place, inner = 8, [i32(number, value) for number, value in enumerate(counts.values(), 1)]
        said["compressed"] = draw(st.booleans())
        inner += [(7, TRUE if said["compressed"] else FALSE, b"")]
    if kind != DICTIONARY_PAGE and draw(st.booleans()):
        unique = {number: (number, wire, body) for number, wire, body in draw(statistics)}
        inner.append((5 if kind == DATA_PAGE else 8, STRUCT, struct(*(unique[key] for key in sorted(unique)))))
    outer = [i32(1, kind), i32(2, said["decoded"]), i32(3, said["stored"])]
    outer += [] if said["crc"] is None else [i32(4, said["crc"])]
    if draw(st.integers(0, 4)) == 0:
        inner.append(draw(strange))
    outer.append((place, STRUCT, struct(*inner)))
    if draw(st.integers(0, 4)) == 0:
        outer.append(draw(strange))
    return struct(*outer), said | counts


def flat(buffer: bytes, start: int, stop: int) -> dict[str, Any]:
    header = page_header(memoryview(buffer), start, stop)
    said = header._asdict()
    return {**said.pop("content")._asdict(), **said}


@given(header=headers(), before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_a_header_is_read_as_it_was_written(header: tuple[bytes, dict[str, Any]], before: bytes, after: bytes) -> None:
    octets, said = header
    stop = len(before) + len(octets) + said["stored"]
    found = flat(before + octets + bytes(said["stored"]) + after, len(before), stop)
    assert found["body"] == len(before) + len(octets)
    assert {name: found[name] for name in said} == said


@given(header=headers(), cut=st.floats(0, 1, exclude_max=True))
def test_a_header_that_is_cut_off_is_an_error(header: tuple[bytes, dict[str, Any]], cut: float) -> None:
    octets, _ = header
    with pytest.raises(PageError):
        page_header(memoryview(octets + bytes(100)), 0, int(len(octets) * cut))


@given(header=headers())
def test_a_page_longer_than_its_chunk_is_an_error(header: tuple[bytes, dict[str, Any]]) -> None:
    octets, said = header
    if said["stored"]:
        with pytest.raises(PageError, match="are left"):
            page_header(memoryview(octets + bytes(100)), 0, len(octets) + said["stored"] - 1)


@given(octets=st.binary(max_size=80) | headers().map(lambda header: header[0]), data=st.data())
def test_no_bytes_lead_outside_the_range(octets: bytes, data: st.DataObject) -> None:
    changed = bytearray(octets + bytes(20))
    for place in data.draw(st.lists(st.integers(0, len(changed) - 1), max_size=3)):
        changed[place] = data.draw(st.integers(0, 255))
    start = data.draw(st.integers(0, 3))
    stop = data.draw(st.integers(start, len(changed)))
    try:
        header = page_header(memoryview(changed), start, stop)
    except PageError:
        event("refused")
        return
    event("read")
    assert start < header.body <= stop
    assert 0 <= header.stored <= stop - header.body
    assert min(header.decoded, header.content.values, header.content.def_bytes, header.content.rep_bytes) >= 0


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (struct(i32(1, 0), i32(2, 5)), "no compressed size"),
        (struct(i32(2, 5), i32(3, 5)), "no page type"),
        (struct(i32(1, 0), i32(2, 5), i32(3, 5)), "no part for its page type"),
        (struct(i32(1, 0), i32(2, 5), i32(3, 5), (5, STRUCT, struct(i32(1, 1)))), "no encoding"),
        (struct(i32(1, 0), i32(2, -5), i32(3, 5), (5, STRUCT, struct(*(i32(n, 1) for n in range(1, 5))))), "negative"),
        (struct(i32(1, 0), i32(2, 5), i32(3, 5), (5, STRUCT, struct(*(i32(n, -1) for n in range(1, 5))))), "negative"),
        (struct(i32(1, 0), i32(2, 2**33), i32(3, 5)), "more than 32 bits"),
        (b"\x15" + b"\xff" * 20, "does not end"),
        (b"\x1c" * 100, "nested too deep"),
        (b"\x19" * 5000, "nested too deep"),
        (bytes([0x19, 0xF5]) + b"\xff\xff\xff\xff\x0f", "longer than the page"),
        (b"\x1f", "no field type 15"),
        (bytes([0x18, 100]), "middle of a field"),
    ],
)
def test_damage_is_named(octets: bytes, what: str) -> None:
    with pytest.raises(PageError, match=what):
        page_header(memoryview(octets), 0, len(octets))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("checksum", [True, False])
def test_headers_of_pyarrow_say_what_a_plain_thrift_reader_says(version: str, checksum: bool) -> None:
    sink = io.BytesIO()
    table = pa.table(
        {"a": np.arange(5000) % 100, "b": np.arange(5000) / 7, "c": [f"{n % 9}" * 40 for n in range(5000)]}
    )
    options: dict[str, Any] = {"data_page_version": version, "write_page_checksum": checksum, "data_page_size": 1000}
    pq.write_table(table, sink, write_batch_size=100, **options)
    octets, metadata = sink.getvalue(), pq.read_metadata(sink)
    pages = 0
    for leaf in range(3):
        chunk = metadata.row_group(0).column(leaf)
        at = chunk.dictionary_page_offset or chunk.data_page_offset
        stop = at + chunk.total_compressed_size
        while at < stop:
            header = page_header(memoryview(octets), at, stop)
            reader = ThriftReader(octets, at)
            said = reader.struct()
            inner = said.get(5) or said.get(7) or said.get(8) or {}
            assert (header.content.kind, header.decoded, header.stored, header.crc) == (*map(said.get, range(1, 5)),)
            assert (header.body, header.content.values) == (reader.at, inner[1])
            at, pages = header.body + header.stored, pages + 1
    assert pages > 20


@given(values=st.integers(1, 50), width=st.sampled_from([2, 4, 8]), crc=st.none() | signed, wrong=st.integers(-3, 3))
def test_a_bare_page_is_recognized_by_all_of_its_counts(values: int, width: int, crc: int | None, wrong: int) -> None:
    size = values * width
    checksum = [] if crc is None else [i32(4, crc)]
    content = struct(i32(1, values), i32(2, PLAIN), i32(3, 3), i32(4, 3))
    header = struct(i32(1, DATA_PAGE), i32(2, size), i32(3, size), *checksum, (5, STRUCT, content))
    body = memoryview(header + bytes(size))
    assert bare_body(body, values, width) == len(header)
    if wrong:
        assert bare_body(body, values + wrong, width) is None
        assert bare_body(memoryview(header + bytes(max(0, size + wrong))), values, width) is None


def test_numbers_of_too_many_bits_are_no_bare_page_and_an_error() -> None:
    content = struct(i32(1, 5), i32(2, PLAIN), i32(3, 3), i32(4, 3))
    header = struct(i32(1, DATA_PAGE), i32(2, 20), (3, I32, b"\xff\xff\xff\xff\x7f"), (5, STRUCT, content))
    body = memoryview(header + bytes(20))
    assert bare_body(body, 5, 4) is None
    with pytest.raises(PageError, match="more than 32 bits"):
        page_header(body, 0, len(body))
    negative = struct(
        i32(1, DATA_PAGE), i32(2, 20), i32(3, 20), (5, STRUCT, struct(*(i32(n, -5) for n in range(1, 5))))
    )
    assert bare_body(memoryview(negative + bytes(20)), 5, 4) is None
