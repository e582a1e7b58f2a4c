"""Chunks made by hand: indices into dictionaries, levels and lengths that disagree, and what is left to others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.parquet.decode import Chunk, Leaf, check_sizes, chunk_values, pages, viewed
from dlio_benchmark.parquet.decode_headers import PageError

PLAIN, RLE_DICTIONARY = 0, 8
INDEX_BITS = {8: "u1", 16: "<u2", 32: "<u4"}


def varint(number: int) -> bytes:
    out = []
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def page(kind: int, body: bytes, *, values: int, encoding: int) -> bytes:
    outer = b"".join(b"\x15" + varint(number * 2) for number in (kind, len(body), len(body)))
    levels = (3, 3) if kind == 0 else ()
    inner = b"".join(b"\x15" + varint(number * 2) for number in (values, encoding, *levels))
    return outer + (b"\x2c" if kind == 0 else b"\x4c") + inner + b"\0\0" + body


def indices(numbers: Any, bits: int) -> bytes:
    """Return a data page whose body is one bit-packed run."""
    octets = np.asarray(numbers, INDEX_BITS[bits]).tobytes() + bytes(-len(numbers) % 8 * bits // 8)
    run = varint(-(-len(numbers) // 8) << 1 | 1)
    return page(0, bytes([bits]) + run + octets, values=len(numbers), encoding=RLE_DICTIONARY)


def values_of(octets: bytes, leaf: Leaf, rows: int) -> Any:
    chunk = Chunk(0, 0, len(octets), rows, rows, "UNCOMPRESSED", len(octets))
    body = memoryview(bytearray(octets))
    at_once = viewed(body, chunk, leaf)
    found = chunk_values(body, chunk, leaf, pages(body, chunk, verify=False))
    assert at_once is None or (found is not None and np.array_equal(at_once, found))
    return found


def leaf_of(stored: str, dtype: str) -> Leaf:
    return Leaf(np.dtype(stored), np.dtype(dtype))


@given(
    kind=st.sampled_from([("<i4", "i1"), ("<i4", "<i4"), ("<f8", "<f8"), ("<i8", "<i8")]),
    bits=st.sampled_from(list(INDEX_BITS)),
    entries=st.integers(1, 200),
    rows=st.integers(1, 100),
    seed=st.integers(0, 99),
)
def test_indices_of_whole_bytes_are_looked_up(
    kind: tuple[str, str], bits: int, entries: int, rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    dictionary, chosen = rng.integers(-100, 100, entries).astype(kind[0]), rng.integers(0, entries, rows)
    head = page(2, dictionary.tobytes(), values=entries, encoding=PLAIN)
    found = values_of(head + indices(chosen, bits), leaf_of(*kind), rows)
    assert found.dtype == kind[1]
    assert np.array_equal(found, dictionary[chosen].astype(kind[1]))


@pytest.mark.parametrize("bits", INDEX_BITS)
def test_an_index_outside_the_dictionary_is_damage(bits: int) -> None:
    head = page(2, np.arange(5, dtype="<i4").tobytes(), values=5, encoding=PLAIN)
    with pytest.raises(PageError, match="outside the dictionary of 5 values"):
        values_of(head + indices([1, 5, 2], bits), leaf_of("<i4", "<i4"), 3)


@pytest.mark.parametrize("dtype", ["i1", "u1"])
def test_the_identity_dictionary_is_seen_only_if_it_is_whole_and_in_order(dtype: str) -> None:
    identity = np.arange(256, dtype=np.uint8).view(dtype).astype("<i4")
    chosen = np.random.default_rng(1).integers(0, 256, 1000)
    for dictionary in (identity, identity[::-1]):
        head = page(2, dictionary.tobytes(), values=256, encoding=PLAIN)
        found = values_of(head + indices(chosen, 8), leaf_of("<i4", dtype), 1000)
        assert np.array_equal(found, dictionary[chosen].astype(dtype))
    head = page(2, identity[:200].tobytes(), values=200, encoding=PLAIN)
    with pytest.raises(PageError, match="outside the dictionary of 200"):
        values_of(head + indices([255], 8), leaf_of("<i4", dtype), 1)


@pytest.mark.parametrize(
    "octets",
    [
        page(0, b"\x04\x03" + bytes(4), values=8, encoding=RLE_DICTIONARY),  # indices of four bits
        page(0, b"\x08\x10\x07", values=8, encoding=RLE_DICTIONARY),  # a repeated index
        page(0, b"\x08\x03" + bytes(8), values=9, encoding=RLE_DICTIONARY),  # a run that is too short
        page(0, b"\x08" + b"\xff" * 8, values=8, encoding=RLE_DICTIONARY),  # a run without an end
        page(0, bytes(8), values=8, encoding=5),  # another encoding
    ],
)
def test_other_layouts_of_indices_are_left_to_a_full_decoder(octets: bytes) -> None:
    head = page(2, np.arange(256, dtype="<i4").tobytes(), values=256, encoding=PLAIN)
    rows = 9 if octets == page(0, b"\x08\x03" + bytes(8), values=9, encoding=RLE_DICTIONARY) else 8
    assert values_of(head + octets, leaf_of("<i4", "u1"), rows) is None


def test_indices_that_end_early_are_damage() -> None:
    head = page(2, np.arange(256, dtype="<i4").tobytes(), values=256, encoding=PLAIN)
    short = page(0, b"\x10\x03" + bytes(8), values=8, encoding=RLE_DICTIONARY)
    with pytest.raises(PageError, match="8 indices do not fit into 8 bytes"):
        values_of(head + short, leaf_of("<i4", "<i4"), 8)


def test_a_dictionary_that_comes_late_or_is_cut_off_is_damage() -> None:
    head = page(2, np.arange(4, dtype="<i4").tobytes(), values=4, encoding=PLAIN)
    with pytest.raises(PageError, match="after another page"):
        values_of(indices([1], 8) + head + indices([1], 8), leaf_of("<i4", "<i4"), 2)
    with pytest.raises(PageError, match="4 values in 12 bytes; they need 16"):
        values_of(page(2, bytes(12), values=4, encoding=PLAIN) + indices([1], 8), leaf_of("<i4", "<i4"), 1)


def test_levels_longer_than_their_page_are_damage() -> None:
    body = (1000).to_bytes(4, "little") + bytes(40)
    leaf = Leaf(np.dtype("<i4"), np.dtype("<i4"), max_def=1)
    with pytest.raises(PageError, match="longer than their page"):
        values_of(page(0, body, values=10, encoding=PLAIN), leaf, 10)


@pytest.mark.parametrize("length", [1, 4, 9])
def test_values_behind_equal_lengths_are_cut_out(length: int) -> None:
    rows = [bytes([row] * length) for row in range(20)]
    body = b"".join(length.to_bytes(4, "little") + row for row in rows)
    leaf = leaf_of("V0", "V0")
    assert values_of(page(0, body, values=20, encoding=PLAIN), leaf, 20).tobytes() == b"".join(rows)
    two = page(0, body, values=20, encoding=PLAIN) * 2
    assert values_of(two, leaf, 40).tobytes() == b"".join(rows) * 2


def test_values_behind_other_lengths_are_left_to_a_full_decoder() -> None:
    uneven = b"".join(len(value).to_bytes(4, "little") + value for value in (b"aa", b"b", b"ccc"))
    leaf = leaf_of("V0", "V0")
    assert values_of(page(0, uneven, values=3, encoding=PLAIN), leaf, 3) is None
    one, two = (page(0, len(v).to_bytes(4, "little") + v, values=1, encoding=PLAIN) for v in (b"a", b"bb"))
    assert values_of(one + two, leaf, 2) is None


def test_pages_that_claim_more_than_the_footer_promises_are_damage() -> None:
    octets = page(0, bytes(40), values=10, encoding=PLAIN)
    chunk = Chunk(0, 0, len(octets), 10, 10, "ZSTD", 60)
    headers = pages(memoryview(octets), chunk, verify=False)
    check_sizes(chunk, headers)
    with pytest.raises(PageError, match="the footer promises 60"):
        check_sizes(chunk, [headers[0]._replace(decoded=1 << 30)])


def test_no_values_are_an_empty_array() -> None:
    chunk = Chunk(0, 0, 0, 0, 0, "UNCOMPRESSED", 0)
    found = chunk_values(memoryview(b""), chunk, leaf_of("<i4", "i1"), [])
    assert found is not None
    assert (len(found), found.dtype) == (0, np.dtype("i1"))
