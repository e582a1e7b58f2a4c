"""Permutations of range(n) that need no memory.

`Order` is a keyed bijection: a Feistel network of four rounds over the smallest even number of bits that holds n,
walked until the value falls below n again.  Halves of few bits take eight rounds: with four, some permutations of
a handful of files come up three times as often as others.  Any run of positions can be asked for at once; what is
returned depends on (n, key) alone, so every rank computes the same order without a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

_ROUNDS, _ROUNDS_OF_SMALL_HALVES, _SMALL_BITS = 4, 8, 8
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

    ``order[start:stop]`` gives the ids at these positions as int64, in memory proportional to the slice.
    """

    n: int
    key: int | None = None

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, positions: slice) -> Ids:
        start, stop, step = positions.indices(self.n)
        ids = np.arange(start, stop, step, dtype=np.int64)
        return ids if self.key is None or self.n < 2 else self._walked(ids)

    def _walked(self, ids: Ids) -> Ids:
        half = max(1, ((self.n - 1).bit_length() + 1) // 2)
        rounds = [_Round(mixed(self.key or 0, turn), half, len(ids)) for turn in range(_rounds(half))]
        ids = _once(ids, half, rounds)
        outside = np.flatnonzero(ids >= self.n)
        while outside.size:
            ids[outside] = _once(ids[outside], half, rounds)
            outside = outside[ids[outside] >= self.n]
        return ids


class _Round:
    """One round's function of a half; where halves repeat often, a table of its values."""

    __slots__ = ("_key", "_mask", "_table")

    def __init__(self, key: int, half: int, uses: int) -> None:
        self._key, self._mask = key, (1 << half) - 1
        self._table = self._of(np.arange(1 << half, dtype=np.int64)) if 1 << half <= uses else None

    def __call__(self, halves: Ids) -> Ids:
        return self._of(halves) if self._table is None else np.take(self._table, halves)

    def _of(self, halves: Ids) -> Ids:
        scrambled = _scrambled(halves.astype(np.uint64), self._key)
        return (scrambled & np.uint64(self._mask)).astype(np.int64)


def _rounds(half: int) -> int:
    return _ROUNDS_OF_SMALL_HALVES if half < _SMALL_BITS else _ROUNDS


def _once(ids: Ids, half: int, rounds: Sequence[_Round]) -> Ids:
    left, right = ids >> half, ids & ((1 << half) - 1)
    for of in rounds:
        left, right = right, left ^ of(right)
    return left << half | right
