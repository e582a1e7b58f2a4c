"""Small wrongs of turning pages into values: limits, and layouts that differ from the usual in one thing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from test_decode import PLAIN, RLE_DICTIONARY, indices, leaf_of, page, varint

from dlio_benchmark.parquet.decode import Chunk, Leaf, check_sizes, chunk_values, pages, viewed
from dlio_benchmark.parquet.decode_headers import Content, PageError, PageHeader

MIB = 1 << 20
RLE, PLAIN_DICTIONARY, DATA, DICTIONARY, DATA_2 = 3, 2, 0, 2, 3
INT = leaf_of("<i4", "<i4")
NARROW = leaf_of("<i4", "i1")
OCTETS = leaf_of("V0", "V0")


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
