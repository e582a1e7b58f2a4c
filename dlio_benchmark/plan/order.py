"""Permutations of range(n) that need no memory.

`Order` is a keyed bijection: a Feistel network of four rounds over the smallest even number of bits that holds n,
walked until the value falls below n again.  Halves of few bits take eight rounds: with four, some permutations of
a handful of files come up three times as often as others.  Any run of positions can be asked for at once; what is
returned depends on (n, key) alone, so every rank computes the same order without a message.
"""

from __future__ import annotations

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
        return ids if self.key is None or self.n < 2 else self._walked(ids.astype(np.uint64))

    def _walked(self, ids: NDArray[np.uint64]) -> Ids:
        half = max(1, ((self.n - 1).bit_length() + 1) // 2)
        ids = self._once(ids, half)
        outside = np.flatnonzero(ids >= self.n)
        while outside.size:
            ids[outside] = self._once(ids[outside], half)
            outside = outside[ids[outside] >= self.n]
        return ids.astype(np.int64)

    def _once(self, ids: NDArray[np.uint64], half: int) -> NDArray[np.uint64]:
        mask, bits = np.uint64((1 << half) - 1), np.uint64(half)
        left, right = ids >> bits, ids & mask
        for turn in range(_ROUNDS_OF_SMALL_HALVES if half < _SMALL_BITS else _ROUNDS):
            left, right = right, left ^ (_scrambled(right, mixed(self.key or 0, turn)) & mask)
        return left << bits | right
