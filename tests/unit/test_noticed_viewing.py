"""Small wrongs of viewing whole chunks: the usual makes share their memory, all others are left to others."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from test_decode import PLAIN, RLE_DICTIONARY, indices, leaf_of, page, varint
from test_decode_headers import STRUCT, i32, struct
from test_decode_levels import packed
from test_noticed_values import (
    DATA,
    INT,
    NARROW,
    RLE,
    chunk_of,
    found_in,
    with_levels,
)

from dlio_benchmark.parquet.decode import Leaf, chunk_values, pages, viewed
from dlio_benchmark.parquet.decode_headers import PageError

CONTENT = (5, STRUCT, struct(i32(1, 10), i32(2, PLAIN), i32(3, RLE), i32(4, RLE)))
IDENTITY = np.arange(256, dtype="u1").view("i1").astype("<i4")
CHOSEN = [3, 200, 255, 0, 128, 127, 7, 9, 11]


def dictionary_page(entries: Any = IDENTITY, encoding: int = PLAIN) -> bytes:
    return page(2, np.asarray(entries, "<i4").tobytes(), values=len(entries), encoding=encoding)


def test_usual_chunks_are_viewed_at_once_and_share_their_memory() -> None:
    numbers = np.arange(9, dtype="<i4")
    plain = page(0, numbers.tobytes(), values=9, encoding=PLAIN)
    by_index = dictionary_page() + indices(CHOSEN, 8)
    for octets, leaf, wanted in ((plain, INT, numbers), (by_index, NARROW, np.array(CHOSEN, "u1").view("i1"))):
        body = memoryview(bytearray(octets))
        found = viewed(body, chunk_of(octets, 9), leaf)
        assert found is not None
        assert np.array_equal(found, wanted)
        assert found.dtype == leaf.dtype
        assert np.shares_memory(found, np.frombuffer(body, np.uint8))
        right = chunk_of(octets, 9)
        others = (right._replace(codec="SNAPPY"), right._replace(rows=8), chunk_of(octets, 8), chunk_of(octets, 10))
        assert [viewed(body, other, leaf) for other in others] == [None] * 4


def resized(octets: bytes, decoded: int) -> bytes:
    """Return a page whose header says another size after decompression."""
    assert octets[2:3] == b"\x15"
    end = next(at for at in range(3, 9) if octets[at] < 0x80) + 1
    return octets[:3] + varint(decoded * 2) + octets[end:]


RUN = np.array(CHOSEN, "u1").tobytes() + bytes(7)
UNUSUAL = {
    "no dictionary": indices(CHOSEN, 8),
    "no page behind it": dictionary_page(),
    "another dictionary": dictionary_page(IDENTITY[::-1]) + indices(CHOSEN, 8),
    "a longer dictionary": dictionary_page([*IDENTITY, 0]) + indices(CHOSEN, 8),
    "a shorter dictionary": dictionary_page(IDENTITY[:255]) + indices(CHOSEN, 8),
    "two pages": dictionary_page() + indices(CHOSEN[:4], 8) + indices(CHOSEN[4:], 8),
    "bytes behind the page": dictionary_page() + indices(CHOSEN, 8) + b"\0",
    "another size": dictionary_page() + resized(indices(CHOSEN, 8), 19),
    "fewer values": dictionary_page() + indices(CHOSEN[:8], 8),
    "a dictionary of other kinds": page(0, IDENTITY.tobytes(), values=256, encoding=PLAIN) + indices(CHOSEN, 8),
    "plain values": dictionary_page() + page(0, np.array(CHOSEN, "<i4").tobytes(), values=9, encoding=PLAIN),
    "another encoding": dictionary_page() + page(0, b"\x08\x05" + RUN, values=9, encoding=5),
    "indices of two bytes": dictionary_page() + indices(CHOSEN, 16),
    "a repeated index": dictionary_page() + page(0, b"\x08\x12\x07", values=9, encoding=RLE_DICTIONARY),
    "a run that is cut off": dictionary_page() + page(0, b"\x08\x05" + RUN[:8], values=9, encoding=RLE_DICTIONARY),
}


@pytest.mark.parametrize("octets", UNUSUAL.values(), ids=UNUSUAL)
def test_indices_are_viewed_at_once_only_if_all_is_as_usual(octets: bytes) -> None:
    assert viewed(memoryview(octets), chunk_of(octets, 9), NARROW) is None


def test_a_run_may_end_with_its_last_index() -> None:
    octets = dictionary_page() + page(0, b"\x08\x05" + RUN[:9], values=9, encoding=RLE_DICTIONARY)
    found = viewed(memoryview(octets), chunk_of(octets, 9), NARROW)
    assert found is not None
    assert found.view("u1").tolist() == CHOSEN


def test_a_checksum_of_too_many_bits_is_no_matter_of_viewing() -> None:
    damaged = b"\x15\xff\xff\xff\xff\x7f"
    parts = [page(2, IDENTITY.tobytes(), values=256, encoding=PLAIN), indices(CHOSEN, 8)]
    changed = []
    for part in parts:
        at = part.index(b"\x2c" if part[1] == 0 else b"\x4c", 5)
        assert at < 9
        changed.append(part[:at] + damaged + bytes([part[at] - 0x10]) + part[at + 1 :])
    octets = b"".join(changed)
    found = viewed(memoryview(octets), chunk_of(octets, 9), NARROW)
    assert found is not None
    assert found.view("u1").tolist() == CHOSEN
    with pytest.raises(PageError, match="32 bits"):
        pages(memoryview(octets), chunk_of(octets, 9), verify=True)


def test_what_stands_behind_the_last_value_is_not_looked_at() -> None:
    octets = page(0, bytes(40), values=10, encoding=PLAIN)
    for behind in (b"", b"\xff" * 5, octets):
        found = pages(memoryview(octets + behind), chunk_of(octets + behind, 10), verify=True)
        assert len(found) == 1
    assert pages(memoryview(b"\xff\xff"), chunk_of(b"\xff\xff", 0), verify=True) == []
    for values in (9, 11):
        with pytest.raises(PageError, match=f"the pages hold 10 values; the footer says {values}"):
            pages(memoryview(octets), chunk_of(octets, values), verify=False)


@pytest.mark.parametrize("crc", [0, 1, -1, 2**31 - 1, -(2**31)])
def test_a_page_is_checked_against_its_checksum_if_that_is_asked_for(crc: int) -> None:
    body = bytes(40)
    right = zlib.crc32(body)
    for checksum in (crc, right - (right >> 31 << 32)):
        head = struct(i32(1, 0), i32(2, 40), i32(3, 40), i32(4, checksum), CONTENT)
        chunk = chunk_of(head + body, 10)
        assert len(pages(memoryview(head + body), chunk, verify=False)) == 1
        if checksum == crc:
            with pytest.raises(PageError, match="does not match its bytes") as caught:
                pages(memoryview(head + body), chunk, verify=True)
            assert caught.value.at == 0
        else:
            assert pages(memoryview(head + body), chunk, verify=True)[0].crc == checksum


def test_a_page_too_short_for_its_values_is_left_to_others_and_one_too_long_is_damage() -> None:
    for values, short, long in ((10, 36, 44), (10, 39, 41)):
        right = page(0, bytes(4 * values), values=values, encoding=PLAIN)
        for others in ((), (right,), (right, right)):
            behind, total = b"".join(others), values * (1 + len(others))
            assert found_in(page(0, bytes(short), values=values, encoding=PLAIN) + behind, INT, total) is None
            too_long = page(0, bytes(long), values=values, encoding=PLAIN)
            for octets in (too_long + behind, behind + too_long):
                with pytest.raises(PageError, match=f"10 values in {long} bytes; they need 40"):
                    found_in(octets, INT, total)
    assert found_in(page(0, b"", values=2**31 - 1, encoding=PLAIN), INT, 2**31 - 1) is None
    assert found_in(page(0, bytes(1), values=16, encoding=PLAIN), Leaf(None, np.dtype("?")), 16) is None


@pytest.mark.parametrize("name", ["no dictionary", "another encoding", "a repeated index"])
def test_indices_of_another_make_are_left_to_others(name: str) -> None:
    assert found_in(UNUSUAL[name], NARROW, 9) is None
    assert found_in(UNUSUAL[name], INT, 9) is None


@pytest.mark.parametrize("sizes", [(6, 2), (3, 5), (1, 6, 1), (2, 2, 4), (7, 1)])
def test_lists_go_on_from_page_to_page(sizes: tuple[int, ...]) -> None:
    numbers = np.arange(8, dtype="<i4")
    for size in (2, 4):
        leaf = Leaf(np.dtype("<i4"), np.dtype("<i4"), size, 1, 1)
        for spoiled in (False, True):
            octets, headers, begin = b"", [], 0
            for many in sizes:
                levels = [int((begin + place) % size != 0) for place in range(many)]
                levels[-1] ^= spoiled
                rep = packed(levels, 1)
                body, said = with_levels(DATA, rep, varint(many << 1) + b"\x01", numbers[begin:][:many].tobytes(), many)
                headers.append(said._replace(body=len(octets)))
                octets += body
                begin += many
            found = chunk_values(memoryview(bytearray(octets)), chunk_of(octets, 8, rows=8 // size), leaf, headers)
            assert (found is None) == spoiled
            assert found is None or found.tolist() == numbers.reshape(-1, size).tolist()


def test_the_identity_is_viewed_and_no_other_dictionary_is() -> None:
    for entries, shares in ((IDENTITY, True), (IDENTITY[::-1], False)):
        octets = dictionary_page(entries) + indices(CHOSEN, 8)
        body, chunk = memoryview(bytearray(octets)), chunk_of(octets, 9)
        found = chunk_values(body, chunk, NARROW, pages(body, chunk, verify=True))
        assert found is not None
        assert np.shares_memory(found, np.frombuffer(body, np.uint8)) == shares
        assert found.tolist() == entries[CHOSEN].tolist()


def test_indices_without_entries_are_damage_and_no_indices_are_left_to_others() -> None:
    for leaf in (INT, NARROW, leaf_of("<f8", "<f8")):
        with pytest.raises(PageError, match="outside the dictionary of 0 values"):
            found_in(dictionary_page([]) + indices([0] * 4, 8), leaf, 4)
    nothing = page(0, b"\x08\x03" + bytes(8), values=0, encoding=RLE_DICTIONARY)
    assert found_in(dictionary_page() + nothing + indices(CHOSEN, 8), INT, 9) is None


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_indices_of_any_width_into_the_identity_are_its_values(bits: int) -> None:
    found = found_in(dictionary_page() + indices(CHOSEN, bits), NARROW, 9)
    assert found.tolist() == IDENTITY[CHOSEN].tolist()
    two = dictionary_page() + indices(CHOSEN[:8], bits) + indices(CHOSEN[8:], bits)
    assert found_in(two, NARROW, 9).tolist() == IDENTITY[CHOSEN].tolist()


def test_pages_of_plain_values_are_moved_together_where_they_are() -> None:
    octets = b"".join(page(0, np.arange(n, n + 4, dtype="<i4").tobytes(), values=4, encoding=PLAIN) for n in (0, 4, 8))
    body, chunk = memoryview(bytearray(octets)), chunk_of(octets, 12)
    found = chunk_values(body, chunk, INT, pages(body, chunk, verify=False))
    assert found is not None
    assert found.tolist() == list(range(12))
    assert np.shares_memory(found, np.frombuffer(body, np.uint8))


def test_pages_of_indices_are_looked_up_one_by_one() -> None:
    dictionary = [40, 30, 20, 10]
    # The pages of two values have as many bytes as plain ones would.
    for chosen in ([[0, 1], [2, 3]], [[3], [2, 1], [0]]):
        octets = dictionary_page(dictionary) + b"".join(indices(one, 8) for one in chosen)
        wanted = [dictionary[one] for part in chosen for one in part]
        assert found_in(octets, INT, len(wanted)).tolist() == wanted
    mixed = dictionary_page(dictionary) + indices([3, 2], 8) + page(0, bytes([9, 0, 0, 0]), values=1, encoding=PLAIN)
    assert found_in(mixed, INT, 3).tolist() == [10, 20, 9]


def test_what_is_looked_up_takes_memory_of_arrow_alone() -> None:
    many = 1 << 18
    octets = dictionary_page(range(100)) + indices(np.arange(many) % 100, 8)
    body, chunk = memoryview(bytearray(octets)), chunk_of(octets, many)
    headers = pages(body, chunk, verify=False)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        found = chunk_values(body, chunk, INT, headers)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert pa.total_allocated_bytes() - before >= found.nbytes
    assert most < many * np.dtype(np.intp).itemsize + found.nbytes // 2  # the indices as NumPy wants them


def test_indices_that_begin_with_a_repeated_one_are_left_to_others() -> None:
    runs = b"\x10\x07" + b"\x03" + RUN[:8]  # eight times 7, and then eight of one byte each
    for values in (9, 16):
        octets = dictionary_page() + page(0, b"\x08" + runs, values=values, encoding=RLE_DICTIONARY)
        assert found_in(octets, NARROW, values) is None
        assert viewed(memoryview(octets), chunk_of(octets, values), NARROW) is None
