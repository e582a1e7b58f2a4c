"""Orders: keyed bijections whose slices agree, in memory proportional to the slice."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.plan.order import Order, _shared, mixed

keys = st.integers(0, 2**64 - 1)


@given(n=st.integers(0, 5000), key=st.none() | keys, kin=st.none() | keys)
def test_an_order_visits_every_id_once(n: int, key: int | None, kin: int | None) -> None:
    order = Order(n, key, kin)
    ids = order[:]
    assert ids.dtype == np.int64
    assert len(order) == len(ids) == n
    assert np.array_equal(np.sort(ids), np.arange(n))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 15, 16, 17, 255, 256, 257, 65535, 65536, 65537])
def test_an_order_visits_every_id_once_around_powers_of_two(n: int) -> None:
    assert np.array_equal(np.sort(Order(n, 42)[:]), np.arange(n))


@given(n=st.integers(0, 3000), key=st.none() | keys, kin=st.none() | keys, data=st.data())
def test_a_slice_is_that_part_of_the_whole(n: int, key: int | None, kin: int | None, data: st.DataObject) -> None:
    order, part = Order(n, key, kin), data.draw(st.slices(n))
    assert np.array_equal(order[part], order[:][part])


@given(n=st.integers(1, 2**62), key=keys, data=st.data())
def test_ids_of_a_huge_order_are_in_range_and_distinct(n: int, key: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, n - 1))
    ids = Order(n, key)[start : start + 500]
    assert len(np.unique(ids)) == len(ids) == min(500, n - start)
    assert 0 <= ids.min() <= ids.max() < n


def test_without_a_key_the_order_is_the_identity() -> None:
    assert np.array_equal(Order(10)[2:5], [2, 3, 4])
    assert np.array_equal(Order(2000, None, 7)[2:5], [2, 3, 4])


@given(n=st.integers(1025, 1 << 17), key=keys, kin=keys, data=st.data())
def test_orders_of_a_kin_are_two_shared_ones_with_a_turn_between(
    n: int, key: int, kin: int, data: st.DataObject
) -> None:
    """The shared ones have as many ids as bits allow; what is none of range(n) is walked on."""
    start, size = data.draw(st.integers(0, n - 1)), 1 << (n - 1).bit_length()
    before, after = Order(size, mixed(kin, 0))[:].tolist(), Order(size, mixed(kin, 1))[:].tolist()

    def walked(place: int) -> int:
        while (place := after[(before[place] + key) % size]) >= n:
            pass
        return place

    assert Order(n, key, kin)[start : start + 9].tolist() == [
        walked(place) for place in range(start, min(n, start + 9))
    ]


@pytest.mark.parametrize("n", [1025, 2047, 2048, 2049, 4096, 65_536, 1 << 17])
def test_orders_of_a_kin_have_the_bits_of_their_ids(n: int) -> None:
    """Where n is a power of two, a turn by so many is none."""
    size = 1 << (n - 1).bit_length()
    assert np.array_equal(Order(n, 5, 6)[:], Order(n, 5 + size, 6)[:])
    assert not np.array_equal(Order(n, 5, 6)[:], Order(n, 5 + size // 2, 6)[:])


@pytest.mark.parametrize(("n", "kin"), [(10, None), (10, 3), (2000, None), (2000, 3)])
def test_slices_that_end_at_the_start_are_taken(n: int, kin: int | None) -> None:
    order, whole = Order(n, 1, kin), Order(n, 1, kin)[:]
    for part in (slice(0, 0), slice(5, 0, -1), slice(5, None, -1), slice(0, None, -1), slice(0, 1), slice(3, 3)):
        assert np.array_equal(order[part], whole[part])


@pytest.mark.parametrize(("n", "shared"), [(1024, False), (1025, True), (1 << 17, True), ((1 << 17) + 1, False)])
def test_few_ids_and_many_are_put_in_order_each_time_on_their_own(n: int, shared: bool) -> None:
    alone, kin = Order(n, 5)[:100], Order(n, 5, 6)[:100]
    assert np.array_equal(alone, kin) == (not shared)
    first, second = kin[:50].copy(), kin[50:]
    kin[:50] = 0
    assert np.array_equal(Order(n, 5, 6)[:100], [*first, *second])


def test_blocks_of_a_kin_are_in_other_orders() -> None:
    """Two random permutations agree in one place on average."""
    n = 5000
    orders = [Order(n, mixed(3, block), 3)[:] for block in range(20)]
    agree = [int((one == other).sum()) for one, other in itertools.combinations(orders, 2)]
    assert np.mean(agree) < 3


@given(n=st.integers(30, 3000), key=keys, other=keys)
def test_the_key_alone_decides_the_order(n: int, key: int, other: int) -> None:
    assert np.array_equal(Order(n, key)[:], Order(n, key)[:])
    if key != other:
        assert not np.array_equal(Order(n, key)[:], Order(n, other)[:])


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_all_permutations_of_a_few_ids_are_about_equally_frequent(n: int) -> None:
    counts = dict.fromkeys(itertools.permutations(range(n)), 0)
    for key in range(60 * len(counts)):
        counts[tuple(Order(n, mixed(key))[:].tolist())] += 1
    spread = sum((count - 60) ** 2 / 60 for count in counts.values()) / (len(counts) - 1)
    assert min(counts.values()) >= 30
    assert max(counts.values()) <= 100
    assert spread < 2.5  # about 1 if all are equally likely


@pytest.mark.parametrize(
    ("n", "kin"), [(100, None), (1000, None), (4097, None), (20_000, None), (4097, 3), (20_000, 4)]
)
def test_an_id_lands_anywhere(n: int, kin: int | None) -> None:
    """The mean displacement of a random permutation is n / 3, with a standard deviation below n / sqrt(n)."""
    moved = [np.abs(Order(n, mixed(key), kin)[:] - np.arange(n)).mean() for key in range(20)]
    assert np.mean(moved) == pytest.approx(n / 3, abs=2 * np.sqrt(n / 20) + 1)


def test_a_slice_of_a_billion_ids_takes_the_memory_of_the_slice() -> None:
    tracemalloc.start()
    try:
        ids = Order(10**9, 7)[500_000_000:500_065_536]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(np.unique(ids)) == 65_536
    assert peak < 20 * ids.nbytes


@given(words=st.lists(st.integers(-(2**70), 2**70), max_size=4), other=st.lists(st.integers(0, 2**64 - 1), max_size=4))
def test_a_mixed_key_has_64_bits_and_depends_on_every_word(words: list[int], other: list[int]) -> None:
    assert 0 <= mixed(*words) < 2**64
    if [word % 2**64 for word in words] != other:
        assert mixed(*words) != mixed(*other)


def test_a_mixed_key_depends_on_the_order_of_the_words() -> None:
    assert len({mixed(*words) for words in itertools.permutations([1, 2, 3])}) == 6


def test_the_shared_orders_of_all_numbers_of_bits_take_six_mebibytes() -> None:
    each = [sum(ids.nbytes for ids in _shared(bits, 7)) for bits in range(11, 18)]
    assert sum(each) == 3 * 8 * sum(1 << bits for bits in range(11, 18)) < 6.1 * (1 << 20)
