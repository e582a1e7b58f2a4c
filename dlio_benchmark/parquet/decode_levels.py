"""Levels of a page: is every value there, and does every list have the same length?

Levels are stored as runs, of one repeated value or of bit-packed ones.  Where nothing is null and all lists are
equally long, levels carry no news, and it is enough to see that.  Both questions are answered with the bytes
of the levels; an answer is remembered by those bytes, because a writer repeats them page after page.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_STEP_BITS = 1 << 20  # so that a large page takes little memory


def _varint(text: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` and the position after it; IndexError at the end, ValueError if it is too long."""
    number = place = 0
    while True:
        byte = text[at]
        at += 1
        number |= (byte & 0x7F) << place
        if byte < 0x80:
            return number, at
        place += 7
        if place > 28:
            raise ValueError(text)


@lru_cache(maxsize=256)
def one_run(count: int, value: int) -> bytes:
    """Return the level bytes of ``count`` times ``value`` (below 256) as one repeated run."""
    number, text = count << 1, bytearray()
    while number > 0x7F:
        text.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*text, number, value))


@lru_cache(maxsize=64)
def are_all(text: bytes, count: int, highest: int) -> bool:
    """Return whether the first ``count`` levels in ``text`` all are ``highest``, which no level may exceed."""
    width = highest.bit_length()
    if highest != (1 << width) - 1:
        return text == one_run(count, highest)
    at = 0
    try:
        while count > 0:
            head, at = _varint(text, at)
            if head & 1:
                bits = min(count, (head >> 1) * 8) * width
                whole, rest = divmod(bits, 8)
                packed = text[at : at + (head >> 1) * width]
                if packed[:whole] != b"\xff" * whole or (rest and ~packed[whole] & ((1 << rest) - 1)):
                    return False
                at += len(packed)
                count -= (head >> 1) * 8
            else:
                if text[at] != highest or head == 0:
                    return False
                at += 1
                count -= head >> 1
    except (IndexError, ValueError):
        return False
    return True


@lru_cache(maxsize=64)
def are_lists(text: bytes, count: int, size: int, phase: int) -> bool:
    """Return whether ``count`` repetition levels make lists of ``size`` values, and of no other length.

    ``phase`` is how many values of the first list stand on an earlier page.
    """
    at = seen = 0
    try:
        while seen < count:
            head, at = _varint(text, at)
            run = min(count - seen, (head >> 1) * 8 if head & 1 else head >> 1)
            first = -(phase + seen) % size
            if head & 1:
                fits = _are_packed_lists(text[at : at + (head >> 1)], run, size, first)
                at += head >> 1
            else:
                fits = first >= run if text[at] == 1 else text[at] == 0 and first == 0 and 1 in (run, size)
                at += 1
            if not (run and fits):
                return False
            seen += run
    except (IndexError, ValueError):
        return False
    return True


def _are_packed_lists(packed: bytes, count: int, size: int, first: int) -> bool:
    """Return the same of ``count`` levels of one bit each; ``first`` levels stand before the next list begins."""
    if len(packed) * 8 < count:
        return False
    octets = np.frombuffer(packed, np.uint8)
    for done in range(0, count, _STEP_BITS):
        many = min(_STEP_BITS, count - done)
        bits = np.unpackbits(octets[done // 8 :][: -(-many // 8)], count=many, bitorder="little")
        expected = np.ones(many, np.uint8)
        expected[(first - done) % size :: size] = 0
        if not np.array_equal(bits, expected):
            return False
    return True
