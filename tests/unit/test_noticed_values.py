"""Small wrongs of turning pages into values: limits, and layouts that differ from the usual in one thing."""

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

from dlio_benchmark.parquet.decode import Chunk, Leaf, check_sizes, chunk_values, pages, viewed
from dlio_benchmark.parquet.decode_headers import Content, PageError, PageHeader

MIB = 1 << 20
RLE, PLAIN_DICTIONARY, DATA, DICTIONARY, DATA_2 = 3, 2, 0, 2, 3
INT = leaf_of("<i4", "<i4")
NARROW = leaf_of("<i4", "i1")
OCTETS = leaf_of("V0", "V0")
CONTENT = (5, STRUCT, struct(i32(1, 10), i32(2, PLAIN), i32(3, RLE), i32(4, RLE)))


def chunk_of(octets: bytes, values: int, **others: Any) -> Chunk:
    return Chunk(0, 0, len(octets), values, values, "UNCOMPRESSED", len(octets))._replace(**others)


def found_in(octets: bytes, leaf: Leaf, values: int, **others: Any) -> Any:
    """Return the values of a chunk, None if it is left to others."""
    body, chunk = memoryview(bytearray(octets)), chunk_of(octets, values, **others)
    at_once = viewed(memoryview(octets), chunk, leaf)
    found = chunk_values(body, chunk, leaf, pages(body, chunk, verify=False))
    assert at_once is None or (found is not None and np.array_equal(at_once, found))
    return found


def header(kind: int, values: int, stored: int, decoded: int, encoding: int = PLAIN, body: int = 0) -> PageHeader:
    return PageHeader(Content(kind, values, encoding), body, stored, decoded, None)


def words(octets: bytes, chunk: Chunk, leaf: Leaf, *headers: PageHeader) -> str:
    with pytest.raises(PageError) as caught:
        chunk_values(memoryview(bytearray(octets)), chunk, leaf, headers)
    return str(caught.value)


def test_pages_may_claim_sixteen_mebibytes_more_than_the_footer_and_no_byte_above() -> None:
    chunk = chunk_of(b"", 10, decoded_bytes=1000)
    allowed = [header(DATA, 5, 1, 600), header(DATA, 5, 1, 400 + 16 * MIB)]
    check_sizes(chunk, allowed)
    with pytest.raises(PageError, match=f"decode to {1001 + 16 * MIB} bytes; the footer promises 1000"):
        check_sizes(chunk, [*allowed, header(DATA, 0, 1, 1)])


@pytest.mark.parametrize(
    ("leaf", "width"), [(INT, 4), (NARROW, 4), (leaf_of("<f8", "<f8"), 8), (Leaf(None, np.dtype("?")), 0)]
)
def test_a_page_may_claim_a_mebibyte_more_than_its_values_need(leaf: Leaf, width: int) -> None:
    values, octets = 10, b"\x01\x02"
    most = (width + 8) * values + MIB
    chunk = chunk_of(octets, values, codec="ZSTD", decoded_bytes=1 << 40)
    assert "decompress" in words(octets, chunk, leaf, header(DATA, values, 2, most))
    assert (
        words(octets, chunk, leaf, header(DATA, values, 2, most + 1)) == f"10 values cannot decode to {most + 1} bytes"
    )


def test_a_dictionary_may_claim_what_the_values_of_its_chunk_need() -> None:
    octets, entries, values = b"\x01\x02", 3, 500
    most = 12 * values + MIB
    chunk = chunk_of(octets, values, codec="ZSTD", decoded_bytes=1 << 40)
    assert "decompress" in words(octets, chunk, INT, header(DICTIONARY, entries, 2, most))
    assert f"{values} values cannot" in words(octets, chunk, INT, header(DICTIONARY, entries, 2, most + 1))


def test_a_page_may_claim_a_mebibyte_more_than_the_footer_promises() -> None:
    octets, values = b"\x01\x02", 1000
    chunk = chunk_of(octets, values, codec="ZSTD", decoded_bytes=100)
    for leaf in (INT, OCTETS):
        assert "decompress" in words(octets, chunk, leaf, header(DATA, 10**5, 2, MIB + 100))
        found = words(octets, chunk, leaf, header(DATA, 10**5, 2, MIB + 101))
        assert found == f"{MIB + 101} bytes, where the footer promises 100"
    text = chunk._replace(decoded_bytes=1 << 40)  # values of any length have no limit but the footer's
    assert "decompress" in words(octets, text, OCTETS, header(DATA, 1, 2, 1 << 33))


@pytest.mark.parametrize("version_2", [False, True])
def test_a_page_that_is_not_compressed_has_the_size_that_it_says(version_2: bool) -> None:
    octets = np.arange(10, dtype="<i4").tobytes()
    kind, codec = (DATA_2, "ZSTD") if version_2 else (DATA, "UNCOMPRESSED")
    chunk = chunk_of(octets, 10, codec=codec)
    content = Content(kind, 10, PLAIN, nulls=0, compressed=not version_2)
    right = chunk_values(memoryview(octets), chunk, INT, [PageHeader(content, 0, 40, 40, None)])
    assert right is not None
    assert right.tolist() == list(range(10))
    for decoded in (41, 44):
        assert "40 bytes that are not compressed cannot decode" in words(
            octets, chunk, INT, PageHeader(content, 0, 40, decoded, None)
        )


@pytest.mark.parametrize("many", [1, 2, 3])
def test_several_compressed_pages_are_put_together_only_if_they_are_large(many: int) -> None:
    each = 64 << 10  # values of four bytes
    numbers = np.arange(each * many, dtype="<i4")
    for short, expected in ((0, True), (1, many == 1)):
        parts = np.split(numbers[: len(numbers) - short], [each * number for number in range(1, many)])
        packed = [pa.Codec("zstd").compress(part.tobytes(), asbytes=True) for part in parts]
        octets, headers, at = b"".join(packed), [], 0
        for part, body in zip(parts, packed, strict=True):
            headers.append(header(DATA, len(part), len(body), part.nbytes, body=at))
            at += len(body)
        chunk = chunk_of(octets, len(numbers) - short, codec="ZSTD", decoded_bytes=numbers.nbytes)
        found = chunk_values(memoryview(octets), chunk, INT, headers)
        assert (found is not None) == expected
        assert found is None or np.array_equal(found, numbers[: len(numbers) - short])


def behind_length(values: list[bytes]) -> bytes:
    return b"".join(len(one).to_bytes(4, "little") + one for one in values)


def test_text_is_cut_out_only_while_offsets_of_32_bits_reach_it() -> None:
    octets = behind_length([b"x"])
    for values, fits in ((2**31 - 1, True), (2**31, False)):
        chunk = chunk_of(octets, values)
        found = chunk_values(memoryview(octets), chunk, OCTETS, [header(DATA, 1, 5, 5)])
        assert (found is not None) == fits


@pytest.mark.parametrize(
    "texts",
    [[b"", b""], [b"ab", b"c", b"def"], [b"abc", b"de", b"fghi"], [b"ab", b"cd", b"e"], [b"ab", b"cd", b"efg"]],
)
def test_text_of_other_lengths_is_left_to_others(texts: list[bytes]) -> None:
    assert found_in(page(0, behind_length(texts), values=len(texts), encoding=PLAIN), OCTETS, len(texts)) is None


@pytest.mark.parametrize("many", [7, 8, 9])
def test_truths_have_a_byte_for_eight_of_them(many: int) -> None:
    truths = [place % 3 == 0 for place in range(many)]
    leaf, body = Leaf(None, np.dtype("?")), np.packbits(truths, bitorder="little").tobytes()
    assert found_in(page(0, body, values=many, encoding=PLAIN), leaf, many).tolist() == truths
    with pytest.raises(PageError, match=f"{many} values in {len(body) + 1} bytes; they need {len(body)}"):
        found_in(page(0, body + b"\0", values=many, encoding=PLAIN), leaf, many)


@pytest.mark.parametrize("encoding", [PLAIN, PLAIN_DICTIONARY])
def test_dictionaries_of_both_formats_are_looked_up(encoding: int) -> None:
    dictionary = np.array([5, 3, 9], "<i4")
    head = page(2, dictionary.tobytes(), values=3, encoding=encoding)
    body = indices([2, 0, 1, 1], 8)
    for index_encoding in (RLE_DICTIONARY, PLAIN_DICTIONARY):
        data = body.replace(b"\x15\x10", b"\x15" + bytes([2 * index_encoding]), 1)
        assert found_in(head + data, INT, 4).tolist() == [9, 5, 3, 3]
    assert found_in(body, INT, 4) is None
    assert found_in(page(2, dictionary.tobytes(), values=3, encoding=5) + body, INT, 4) is None


@pytest.mark.parametrize("wide", [1, 2, 5, 6])
def test_the_length_of_a_run_of_indices_has_at_most_five_bytes(wide: int) -> None:
    dictionary = np.arange(10, 20, dtype="<i4")
    head = page(2, dictionary.tobytes(), values=10, encoding=PLAIN)
    run = bytes([3 | 0x80, *[0x80] * (wide - 2), 0]) if wide > 1 else b"\x03"
    octets = head + page(0, b"\x08" + run + bytes(range(8)), values=8, encoding=RLE_DICTIONARY)
    found = found_in(octets, INT, 8)
    assert (found is None) == (wide > 5)
    assert found is None or found.tolist() == list(range(10, 18))


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 16, 17, 1000, 1024, 1025])
def test_indices_fill_their_run_or_less(rows: int) -> None:
    chosen = np.arange(rows) % 200
    dictionary = np.arange(200, dtype="<i4") * 3
    head = page(2, dictionary.tobytes(), values=200, encoding=PLAIN)
    for bits in (8, 16, 32):
        assert found_in(head + indices(chosen, bits), INT, rows).tolist() == (chosen * 3).tolist()
    groups = -(-rows // 8)
    if groups > 1:
        body = b"\x08" + varint(groups - 1 << 1 | 1) + bytes(groups * 8)
        assert found_in(head + page(0, body, values=rows, encoding=RLE_DICTIONARY), INT, rows) is None


def with_levels(
    kind: int, rep: bytes, def_: bytes, values: bytes, many: int, nulls: int = 0
) -> tuple[bytes, PageHeader]:
    """Return a page with levels, and its header."""
    if kind == DATA:
        body = b"".join(len(one).to_bytes(4, "little") + one for one in (rep, def_) if one) + values
        return body, PageHeader(Content(DATA, many, PLAIN), 0, len(body), len(body), None)
    body = rep + def_ + values
    content = Content(DATA_2, many, PLAIN, nulls=nulls, rows=many, def_bytes=len(def_), rep_bytes=len(rep))
    return body, PageHeader(content, 0, len(body), len(body), None)


PAIRS = Leaf(np.dtype("<i4"), np.dtype("<i4"), 2, 2, 1)
NULLABLE = Leaf(np.dtype("<i4"), np.dtype("<i4"), 0, 1, 0)
FULL, PAIR = b"\x10\x02", b"\x03\xaa"  # eight times 2, and 0 and 1 in turn


@pytest.mark.parametrize("kind", [DATA, DATA_2])
def test_levels_that_carry_no_news_are_stepped_over(kind: int) -> None:
    numbers = np.arange(8, dtype="<i4")
    for leaf, rep, def_ in ((PAIRS, PAIR, FULL), (NULLABLE, b"", b"\x10\x01")):
        body, said = with_levels(kind, rep, def_, numbers.tobytes(), 8)
        chunk = chunk_of(body, 8, rows=8 // (leaf.size or 1))
        found = chunk_values(memoryview(body), chunk, leaf, [said])
        assert found is not None
        assert found.tolist() == (numbers.reshape(4, 2) if leaf.size else numbers).tolist()
    for rep, def_ in ((b"\x03\xab", FULL), (PAIR, b"\x0e\x02\x02\x01"), (b"\x03\x55", FULL)):
        body, said = with_levels(kind, rep, def_, numbers.tobytes(), 8)
        assert chunk_values(memoryview(body), chunk_of(body, 8, rows=4), PAIRS, [said]) is None


def test_levels_of_other_encodings_and_pages_with_nulls_are_left_to_others() -> None:
    numbers = np.arange(8, dtype="<i4").tobytes()
    body, said = with_levels(DATA, PAIR, FULL, numbers, 8)
    chunk = chunk_of(body, 8, rows=4)
    for content in (said.content._replace(rep_encoding=4), said.content._replace(def_encoding=4)):
        changed = said._replace(content=content)
        assert chunk_values(memoryview(body), chunk, PAIRS, [changed]) is None
    body, said = with_levels(DATA_2, b"", b"\x10\x01", numbers, 8, nulls=1)
    assert chunk_values(memoryview(body), chunk_of(body, 8), NULLABLE, [said]) is None
    flat = Leaf(np.dtype("<i4"), np.dtype("<i4"))
    plain = PageHeader(Content(DATA, 8, PLAIN, 4, 4), 0, 32, 32, None)
    assert chunk_values(memoryview(numbers), chunk_of(numbers, 8), flat, [plain]) is not None


@pytest.mark.parametrize("kind", [DATA, DATA_2])
def test_levels_fit_into_their_page_to_the_byte(kind: int) -> None:
    body, said = with_levels(kind, b"", b"\x10\x01", b"", 0)
    chunk = chunk_of(body, 0)
    empty = chunk_values(memoryview(body), chunk, NULLABLE, [said])
    assert empty is not None
    assert empty.shape == (0,)
    for cut in ({"stored": 1, "decoded": 1}, {"decoded": 1}, {"stored": 1}):
        if kind == DATA_2 or len(cut) == 2:
            shorter = {name: getattr(said, name) - by for name, by in cut.items()}
            assert "the levels are longer than" in words(body, chunk, NULLABLE, said._replace(**shorter))


def test_a_chunk_has_as_many_values_as_its_rows_and_lists_say() -> None:
    numbers = np.arange(8, dtype="<i4")
    octets = page(0, numbers.tobytes(), values=8, encoding=PLAIN)
    for rows in (7, 9, 4):
        assert found_in(octets, INT, 8, rows=rows) is None
    lists = Leaf(np.dtype("<i4"), np.dtype("<i4"), 2)
    body, said = with_levels(DATA, PAIR, FULL, numbers.tobytes(), 8)
    for rows in (3, 5, 8):
        assert chunk_values(memoryview(body), chunk_of(body, 8, rows=rows), PAIRS, [said]) is None
    assert found_in(octets, lists, 8, rows=4).tolist() == numbers.reshape(4, 2).tolist()


LEAVES: dict[str, tuple[tuple[Any, ...], tuple[int, bool, bool, bool]]] = {
    "integers": (("<i4", "<i4"), (4, True, True, False)),
    "narrow integers": (("<i4", "i1"), (4, False, True, True)),
    "narrow natural numbers": (("<i4", "u1"), (4, False, True, True)),
    "short integers": (("<i4", "<i2"), (4, False, False, False)),
    "bytes of one length": (("V3", "V3"), (3, True, True, False)),
    "single bytes": (("V1", "V1"), (1, True, True, False)),
    "truths": ((None, "?"), (0, False, False, False)),
    "text": (("V0", "V0"), (4, False, False, False)),
    "long numbers as octets": (("<i8", "i1"), (8, False, False, False)),
    "with nulls": (("<i4", "<i4", 0, 1, 0), (4, True, False, False)),
    "narrow with nulls": (("<i4", "i1", 0, 1, 0), (4, False, False, True)),
    "lists": (("<i4", "<i4", 2, 0, 1), (4, True, False, False)),
}


@pytest.mark.parametrize(("told", "known"), LEAVES.values(), ids=LEAVES)
def test_a_leaf_knows_what_it_needs(told: tuple[Any, ...], known: tuple[int, bool, bool, bool]) -> None:
    stored, dtype, *levels = told
    leaf = Leaf(None if stored is None else np.dtype(stored), np.dtype(dtype), *levels)
    assert (leaf.width, leaf.is_array, leaf.is_usual, leaf.identity != b"") == known
    if leaf.identity:
        assert leaf.identity == np.arange(256, dtype="u1").view(leaf.dtype).astype("<i4").tobytes()


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
