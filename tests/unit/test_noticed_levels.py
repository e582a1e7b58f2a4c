"""Small wrongs of levels and of codecs, at the counts and sizes where they show."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from test_decode_levels import packed, varint

from dlio_benchmark.parquet.decode_codec import UnknownLayout, decompressed
from dlio_benchmark.parquet.decode_headers import PageError
from dlio_benchmark.parquet.decode_levels import are_all, are_lists, one_run


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 127, 128, 8191, 8192, 8193, 1 << 20, 1 << 27])
def test_one_run_is_written_as_the_format_says(count: int) -> None:
    assert one_run(count, 2) == varint(count << 1) + b"\x02"


@pytest.mark.parametrize("highest", [1, 3, 7])
def test_a_single_level_that_is_lower_is_seen_wherever_it_is(highest: int) -> None:
    width = highest.bit_length()
    for count in range(1, 26):
        full = [highest] * count
        tail = varint(8 << 1) + bytes([highest])
        assert are_all(packed(full, width), count, highest)
        assert are_all(packed([highest] * 8, width) + tail, 16, highest)
        assert not are_all(packed(full, width)[: 1 + (count * width - 1) // 8], count, highest)
        for place in range(count):
            for lower in {0, highest >> 1, highest - 1}:
                spoiled = [*full[:place], lower, *full[place + 1 :]]
                assert not are_all(packed(spoiled, width), count, highest)
                runs = b"".join(varint(2) + bytes([level]) for level in spoiled)
                assert not are_all(runs, count, highest)


def test_levels_that_are_no_runs_are_news() -> None:
    assert are_all(b"\x90\x80\x80\x80\x00\x01", 8, 1)  # a number of five bytes
    assert not are_all(b"\x90\x80\x80\x80\x80\x00\x01", 8, 1)  # one of six
    assert not are_all(b"\x00\x01" + one_run(8, 1), 8, 1)  # a run of nothing
    assert not are_lists(b"\x00\x00" + b"\x02\x00", 1, 1, 0)
    assert not are_lists(b"\x01" + b"\x02\x00", 1, 1, 0)
    assert are_all(b"", 0, 1)
    assert are_lists(b"", 0, 3, 1)


def runs_of(levels: Sequence[int]) -> bytes:
    """Return levels as repeated runs, each as long as it can be."""
    out, begin = b"", 0
    for place in range(1, len(levels) + 1):
        if place == len(levels) or levels[place] != levels[begin]:
            out += varint(place - begin << 1) + bytes([levels[begin]])
            begin = place
    return out


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 9])
def test_a_list_of_another_length_is_seen_wherever_it_is(size: int) -> None:
    for phase in range(size):
        for count in (1, 2, 7, 8, 9, 17, 30):
            right = [int((phase + place) % size != 0) for place in range(count)]
            for octets in (packed(right, 1), runs_of(right), packed(right[:8], 1) + runs_of(right[8:])):
                assert are_lists(octets, count, size, phase)
            assert not are_lists(packed(right, 1)[:-1], count, size, phase)
            for place in range(count):
                wrong = [*right[:place], 1 - right[place], *right[place + 1 :]]
                for octets in (packed(wrong, 1), runs_of(wrong), packed(wrong[:8], 1) + runs_of(wrong[8:])):
                    assert not are_lists(octets, count, size, phase)


@pytest.mark.parametrize("phase", [0, 1, 999])
def test_lists_are_compared_in_steps_that_go_on_where_the_last_one_ended(phase: int) -> None:
    count, size = (1 << 21) + 11, 1000
    levels = np.ones(count, np.uint8)
    levels[-phase % size :: size] = 0
    for place in (None, 0, (1 << 20) - 1, 1 << 20, (1 << 21) - 1, 1 << 21, count - 1):
        changed = levels.copy()
        if place is not None:
            changed[place] ^= 1
        octets = varint(-(-count // 8) << 1 | 1) + np.packbits(changed, bitorder="little").tobytes()
        assert are_lists(octets, count, size, phase) == (place is None)


CODECS = {"SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "LZ4": "lz4_raw"}


def refused(codec: str, body: bytes, size: int) -> str:
    """Return how the page at byte 5 is refused: the words of the damage, or nothing if it is left to others."""
    with pytest.raises((PageError, UnknownLayout)) as caught:
        decompressed(codec, memoryview(body), size, 5)
    if isinstance(caught.value, UnknownLayout):
        return ""
    assert isinstance(caught.value, PageError)
    assert caught.value.at == 5
    return str(caught.value)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1, 4, 5, 6, 127, 128, 129, 300, 16383, 16384, 1 << 17])
def test_a_page_decompresses_to_its_size_and_no_other(codec: str, size: int) -> None:
    octets = bytes(size)[:-5] + b"abcde"[-size:]
    body = pa.Codec(CODECS[codec]).compress(octets, asbytes=True)
    assert bytes(decompressed(codec, memoryview(body), size, 5)) == octets
    for other in (size + 1, size + 128, size - 1):
        if other:
            assert (refused(codec, body, other) == "") == (codec == "LZ4")


@pytest.mark.parametrize("codec", CODECS)
def test_a_page_that_cannot_be_decompressed_is_damage_or_left_to_others(codec: str) -> None:
    octets = np.random.default_rng(1).bytes(500) * 2
    body = pa.Codec(CODECS[codec]).compress(octets, asbytes=True)
    words = refused(codec, body[:300] + body[303:], len(octets))
    assert words.startswith("" if codec == "LZ4" else "the page cannot be decompressed: ")
    assert (words == "") == (codec == "LZ4")


def test_codecs_that_are_not_known_here_are_left_to_others() -> None:
    for codec in ("BROTLI", "LZO", "UNCOMPRESSED"):
        with pytest.raises(UnknownLayout):
            decompressed(codec, memoryview(b"abc"), 3, 0)
    assert bytes(decompressed("SNAPPY", memoryview(b"\x00"), 0, 0)) == b""


@pytest.mark.parametrize("size", [5, 6, 40])
def test_a_block_of_lz4_that_ends_early_is_left_to_others(size: int) -> None:
    octets = bytes(range(1, size + 1))
    body = memoryview(pa.Codec("lz4_raw").compress(octets, asbytes=True))
    assert bytes(decompressed("LZ4", body, size, 0)) == octets
    shorter = memoryview(pa.Codec("lz4_raw").compress(octets[:-1], asbytes=True))
    with pytest.raises(UnknownLayout):
        decompressed("LZ4", shorter, size, 0)


def test_levels_of_a_large_page_take_little_memory() -> None:
    count = 1 << 22
    octets = varint(count >> 3 << 1 | 1) + b"\xfe" + b"\xff" * ((count >> 3) - 1)
    tracemalloc.start()
    try:
        assert are_lists(octets, count, count, 0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5 << 20
