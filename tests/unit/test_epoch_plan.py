"""Epoch plans: equal steps on all ranks, every row once, nothing but a rest smaller than a step left out."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ShuffleScope
from dlio_benchmark.plan.epoch import EpochPlan, Piece, Shuffling, Visit
from dlio_benchmark.plan.order import Ids, Order, mixed
from dlio_benchmark.plan.world import World

Row = tuple[int, int]

file_sizes = st.lists(st.integers(0, 60), max_size=20)
shufflings = st.builds(
    Shuffling,
    files=st.none() | st.integers(0, 2**64 - 1),
    samples=st.none() | st.integers(0, 2**64 - 1),
    scope=st.sampled_from(ShuffleScope),
)


def plan_of(rows: Sequence[int], batch: int, size: int, **how: object) -> list[EpochPlan]:
    """Return the plan of every rank."""
    counts = np.array(rows, dtype=np.int64)
    return [EpochPlan(counts, batch, World(rank, size), **how) for rank in range(size)]  # type: ignore[arg-type]


def blocks_of(rows: int, cuts: Sequence[int]) -> list[int]:
    """Return the sizes of the blocks that ``cuts`` makes of a file."""
    edges = sorted({0, rows, *(cut % rows for cut in cuts)}) if rows else [0]
    return np.diff(edges).tolist()


def rows_of(plan: EpochPlan, blocks: Sequence[Sequence[int]]) -> Iterator[Row]:
    """Yield (file, row) of everything that a rank reads, in the order of reading."""
    for visit in plan.visits():
        begins = np.cumsum([0, *blocks[visit.file]])
        for piece in plan.visited(visit, blocks[visit.file]):
            keyed = Order(blocks[visit.file][piece.block], piece.key, piece.kin)[piece.start : piece.stop]
            inside = keyed if piece.rows is None else piece.rows
            yield from ((visit.file, int(begins[piece.block] + row)) for row in inside)


@st.composite
def epochs(draw: st.DrawFn) -> tuple[list[EpochPlan], list[list[int]]]:
    rows = draw(file_sizes)
    plans = plan_of(
        rows,
        draw(st.integers(1, 12)),
        draw(st.integers(1, 8)),
        shuffling=draw(shufflings),
        most_steps=draw(st.none() | st.integers(0, 5)),
    )
    cuts = draw(st.lists(st.integers(0, 59), max_size=6))
    return plans, [blocks_of(count, cuts) for count in rows]


@given(epoch=epochs())
def test_all_ranks_have_equal_steps_and_read_exactly_that_many_rows(
    epoch: tuple[list[EpochPlan], list[list[int]]],
) -> None:
    plans, blocks = epoch
    assert len({len(plan) for plan in plans}) == 1
    for plan in plans:
        assert len(list(rows_of(plan, blocks))) == len(plan) * plan.batch
        assert sum(visit.stop - visit.start for visit in plan.visits()) == len(plan) * plan.batch


@given(epoch=epochs())
def test_no_row_is_read_twice_and_only_less_than_a_step_is_left_out(
    epoch: tuple[list[EpochPlan], list[list[int]]],
) -> None:
    plans, blocks = epoch
    seen = [row for plan in plans for row in rows_of(plan, blocks)]
    every = {(file, row) for file, sizes in enumerate(blocks) for row in range(sum(sizes))}
    assert len(seen) == len(set(seen))
    assert set(seen) <= every
    assert len(every) - len(seen) == plans[0].rows_left_out
    if plans[0].most_steps is None:
        assert plans[0].rows_left_out < plans[0].batch * len(plans)


@given(epoch=epochs(), cuts=st.lists(st.integers(0, 59), max_size=6))
def test_how_files_are_cut_into_blocks_does_not_change_who_reads_how_much_of_which_file(
    epoch: tuple[list[EpochPlan], list[list[int]]], cuts: list[int]
) -> None:
    plans, blocks = epoch
    other = [blocks_of(sum(sizes), cuts) for sizes in blocks]
    for plan in plans:
        assert [file for file, _ in rows_of(plan, blocks)] == [file for file, _ in rows_of(plan, other)]


@given(rows=file_sizes, batch=st.integers(1, 12), size=st.integers(1, 8), shuffling=shufflings)
def test_the_sequence_of_the_epoch_does_not_depend_on_the_ranks(
    rows: list[int], batch: int, size: int, shuffling: Shuffling
) -> None:
    blocks = [blocks_of(count, [7, 20]) for count in rows]
    (alone,) = plan_of(rows, 1, 1, shuffling=shuffling)
    together = plan_of(rows, batch, size, shuffling=shuffling)
    sequence = [row for plan in together for row in rows_of(plan, blocks)]
    expected = list(rows_of(alone, blocks))[: len(sequence)]
    if shuffling.scope is ShuffleScope.GLOBAL:  # the rows of one batch stand in the order of the files
        assert sorted(sequence) == sorted(expected)
    else:
        assert sequence == expected


@given(rows=file_sizes, batch=st.integers(1, 9), size=st.integers(1, 5), cap=st.integers(0, 9))
def test_a_cap_keeps_the_first_steps(rows: list[int], batch: int, size: int, cap: int) -> None:
    free = plan_of(rows, batch, size)[0]
    capped = dataclasses.replace(free, most_steps=cap)
    assert len(capped) == min(len(free), cap)
    blocks = [[count] if count else [] for count in rows]
    assert list(rows_of(capped, blocks)) == list(rows_of(free, blocks))[: len(capped) * batch]


def test_without_keys_rows_are_read_as_they_lie() -> None:
    first, second = plan_of([4, 0, 3, 5], 2, 2)
    assert list(first.visits()) == [Visit(0, 0, 4), Visit(2, 0, 2)]
    assert list(second.visits()) == [Visit(2, 2, 3), Visit(3, 0, 5)]
    assert list(second.visited(Visit(3, 1, 5), [2, 2, 1])) == [Piece(0, 1, 2), Piece(1, 0, 2), Piece(2, 0, 1)]


def shuffled(seed: int, epoch: int, scope: ShuffleScope = ShuffleScope.WINDOW) -> list[Row]:
    key = mixed(seed, epoch)
    plans = plan_of([50] * 6, 5, 3, shuffling=Shuffling(key, key, scope))
    return [row for plan in plans for row in rows_of(plan, [[10] * 5] * 6)]


@given(seed=st.integers(0, 2**63), epoch=st.integers(1, 1000), scope=st.sampled_from(ShuffleScope))
def test_a_seed_repeats_its_order_and_another_epoch_has_another(seed: int, epoch: int, scope: ShuffleScope) -> None:
    assert shuffled(seed, epoch, scope) == shuffled(seed, epoch, scope)
    assert shuffled(seed, epoch, scope) != shuffled(seed, epoch + 1, scope)
    assert sorted(shuffled(seed, epoch, scope)) == sorted(shuffled(seed, epoch + 1, scope))


def test_a_shuffle_of_row_groups_keeps_the_rows_of_a_group_in_file_order() -> None:
    (plan,) = plan_of([40], 1, 1, shuffling=Shuffling(samples=5, scope=ShuffleScope.ROW_GROUP))
    rows = [row for _, row in rows_of(plan, [[10] * 4])]
    groups = [rows[at : at + 10] for at in range(0, 40, 10)]
    assert all(group == list(range(group[0], group[0] + 10)) for group in groups)
    assert [group[0] for group in groups] != [0, 10, 20, 30]


def test_a_shuffle_in_a_window_permutes_the_rows_of_each_group() -> None:
    (plan,) = plan_of([40], 1, 1, shuffling=Shuffling(samples=5, scope=ShuffleScope.WINDOW))
    rows = [row for _, row in rows_of(plan, [[10] * 4])]
    groups = [rows[at : at + 10] for at in range(0, 40, 10)]
    orders = {tuple(row % 10 for row in group) for group in groups}
    assert all(len({row // 10 for row in group}) == 1 for group in groups)
    assert len(orders) == 4


def test_equal_files_are_shuffled_differently() -> None:
    (plan,) = plan_of([40, 40], 1, 1, shuffling=Shuffling(samples=5))
    rows = list(rows_of(plan, [[10] * 4] * 2))
    assert [row for file, row in rows if file == 0] != [row for file, row in rows if file == 1]


@pytest.mark.parametrize(("rows", "batch", "size"), [([], 1, 1), ([0, 0], 1, 2), ([3], 4, 1), ([7], 2, 4)])
def test_fewer_rows_than_a_step_of_all_ranks_make_no_step(rows: list[int], batch: int, size: int) -> None:
    for plan in plan_of(rows, batch, size, shuffling=Shuffling(1, 2)):
        assert (len(plan), list(plan.visits()), plan.rows_left_out) == (0, [], sum(rows))


def traced(rows: Ids, ranks: Sequence[int], size: int) -> tuple[list[list[Visit]], int]:
    """Return the visits of some ranks, and the most memory that planning them took, in bytes."""
    tracemalloc.start()
    try:
        plans = [EpochPlan(rows, 4, World(rank, size), Shuffling(11, 12)) for rank in ranks]
        visits = [list(plan.visits()) for plan in plans]
        for plan, first in zip(plans, (visit[0] for visit in visits), strict=True):
            sum(1 for _ in plan.visited(first, [1024] * (int(rows[first.file]) // 1024 + 1)))
        return visits, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_billion_samples_are_planned_without_memory_per_sample() -> None:
    visits, peak = traced(np.full(1000, 10**6, dtype=np.int64), range(8), 8)
    assert sum(visit.stop - visit.start for rank in visits for visit in rank) == 10**9
    assert peak < 10 * 2**20


def test_a_million_files_and_ten_thousand_ranks_are_planned_in_memory_per_file() -> None:
    rows = np.full(10**6, 1000, dtype=np.int64)
    visits, peak = traced(rows, [0, 1, 4999, 9999], 10_000)
    assert [sum(visit.stop - visit.start for visit in rank) for rank in visits] == [100_000] * 4
    assert len({visit.file for rank in visits for visit in rank}) == 400
    assert peak < 200 * 2**20


@pytest.mark.parametrize("scope", [ShuffleScope.WINDOW, ShuffleScope.ROW_GROUP])
def test_windows_of_an_epoch_are_kin_with_orders_of_their_own(scope: ShuffleScope) -> None:
    plan = EpochPlan(np.array([20, 20]), 5, shuffling=Shuffling(samples=9, scope=scope))
    pieces = [piece for visit in plan.visits() for piece in plan.visited(visit, [5] * 4)]
    keys = {piece.key for piece in pieces}
    if scope is ShuffleScope.WINDOW:
        assert {piece.kin for piece in pieces} == {9}
        assert len(keys) == 8
    else:
        assert keys == {None}
