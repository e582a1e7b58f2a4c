"""Permutations of range(n) that need no memory, or little for all of many.

`Order` is a keyed bijection: a Feistel network of four rounds over the smallest number of bits that holds n, split into
two halves that differ by one bit where it is odd, walked until the value falls below n again.  Few ids, of which a
network would make some permutations more often than others, are sorted by keyed random numbers instead.  Any run of
positions can be asked for at once; what is returned depends on n and the keys alone, so every rank computes the same
order without a message.

Orders of many blocks may be kin: two orders of as many bits that they share, with a turn by the key in between, walked
in the same way.  Each takes two calls then instead of dozens, in which threads would get into each other's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

_PAIRS, _PAIRS_OF_SMALL_HALVES, _SMALL_BITS = 2, 4, 7
_FEW, _MANY = 1024, 1 << 17
_AT_ONCE = 16_384  # ids: what is made of more in between is memory that the system takes back and gives anew
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 0xFFFFFFFFFFFFFFFF


def mixed(*words: int) -> int:
    """Return a 64-bit key that depends on every one of ``words`` and on their order."""
    state = _GOLDEN
    for word in words:
        state = (state ^ (word & _WORD)) * 0xBF58476D1CE4E5B9 & _WORD
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _WORD
        state ^= state >> 31
    return state


def _scrambled(half: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    out = half + np.uint64(key)
    out *= np.uint64(0xBF58476D1CE4E5B9)
    out ^= out >> np.uint64(29)
    out *= np.uint64(0x94D049BB133111EB)
    out ^= out >> np.uint64(32)
    return out


@dataclass(frozen=True, slots=True)
class Order:
    """A permutation of ``range(n)``; ``key`` None is the identity.

    ``order[start:stop]`` gives the ids at these positions as int64, in memory proportional to the slice.  With ``kin``,
    a second key, 1,025 to 131,072 ids have no more orders than there are numbers of as many bits as n has, and the two
    that these are made of are remembered whole.
    """

    n: int
    key: int | None = None
    kin: int | None = None

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, positions: slice) -> Ids:
        start, stop, step = positions.indices(self.n)
        if self.key is not None and self.n <= _FEW:
            return _sorted(self.n, self.key)[start : stop if stop >= 0 else None : step]
        if self.key is not None and self.kin is not None and self.n <= _MANY:
            return self._turned(slice(start, stop if stop >= 0 else None, step), self.key, self.kin)
        ids = np.arange(start, stop, step, dtype=np.int64)
        return ids if self.key is None else self._walked(ids)

    def _turned(self, positions: slice, key: int, kin: int) -> Ids:
        before, after = _shared((self.n - 1).bit_length(), kin)
        turned = after[key % len(before) :]
        ids = np.take(turned, before[positions], mode="wrap")
        outside = np.flatnonzero(ids >= self.n) if self.n < len(before) else before[:0]
        while outside.size:
            ids[outside] = np.take(turned, before[ids[outside]], mode="wrap")
            outside = outside[ids[outside] >= self.n]
        return ids

    def _walked(self, ids: Ids) -> Ids:
        rounds = _rounds(self.n, self.key or 0, len(ids))
        rooms = [np.empty(min(len(ids), _AT_ONCE), np.int64) for _ in range(3)]
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            _change(part, rounds, rooms)
            outside = np.flatnonzero(part >= self.n)
            while outside.size:
                again = part[outside]
                _change(again, rounds, rooms)
                part[outside] = again
                outside = outside[again >= self.n]
        return ids


@lru_cache(maxsize=7)
def _shared(bits: int, kin: int) -> tuple[Ids, Ids]:
    """Return the two orders that all orders of a kin of so many bits are made of, the second one twice in a row.

    Those of 11 to 17 bits take 6 MiB.
    """
    before, after = Order(1 << bits, mixed(kin, 0))[:], np.tile(Order(1 << bits, mixed(kin, 1))[:], 2)
    before.flags.writeable = after.flags.writeable = False
    return before, after


def _sorted(n: int, key: int) -> Ids:
    numbers = _scrambled(np.arange(n, dtype=np.uint64) * np.uint64(_GOLDEN), mixed(key, n))
    return np.argsort(numbers, kind="stable").astype(np.int64)


class _Round:
    """One round's function of ``bits`` bits to ``most + 1`` values; where its values repeat often, a table of them."""

    __slots__ = ("_key", "_most", "_table")

    def __init__(self, key: int, bits: int, most: int, uses: int) -> None:
        self._key, self._most = key, np.uint64(most)
        self._table = self._of(np.arange(1 << bits, dtype=np.int64)) if 1 << bits <= uses else None

    def change(self, halves: Ids, others: Ids, room: Ids) -> None:
        """Change ``halves`` by what ``others`` make of this round; ``room`` is as large as they are."""
        if self._table is None:
            halves ^= self._of(others)
        else:
            halves ^= np.take(self._table, others, mode="wrap", out=room)

    def _of(self, halves: Ids) -> Ids:
        return (_scrambled(halves.astype(np.uint64), self._key) & self._most).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Rounds:
    """Rounds that change the upper bits by the ``low`` lower ones and the lower by the upper ones in turn."""

    low: int
    each: Sequence[tuple[_Round, _Round]]


def _rounds(n: int, key: int, uses: int) -> _Rounds:
    bits = (n - 1).bit_length()
    low = bits // 2
    high = bits - low
    pairs = _PAIRS_OF_SMALL_HALVES if low < _SMALL_BITS else _PAIRS
    keys = [mixed(key, turn) for turn in range(2 * pairs)]
    return _Rounds(
        low,
        [
            (
                _Round(keys[2 * pair], low, (1 << high) - 1, uses),
                _Round(keys[2 * pair + 1], high, (1 << low) - 1, uses),
            )
            for pair in range(pairs)
        ],
    )


def _change(ids: Ids, rounds: _Rounds, rooms: Sequence[Ids]) -> None:
    """Put in the place of each id what the network makes of it; the three ``rooms`` are at least as large."""
    upper, lower, room = (one[: len(ids)] for one in rooms)
    np.right_shift(ids, rounds.low, out=upper)
    np.bitwise_and(ids, (1 << rounds.low) - 1, out=lower)
    for of_lower, of_upper in rounds.each:
        of_lower.change(upper, lower, room)
        of_upper.change(lower, upper, room)
    np.left_shift(upper, rounds.low, out=ids)
    np.bitwise_or(ids, lower, out=ids)
