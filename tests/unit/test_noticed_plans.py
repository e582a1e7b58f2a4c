"""Small wrongs in plans and numbers: against models in plain Python, at bounds, and at ties."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ColumnType, DatasetType, ShuffleScope
from dlio_benchmark.config.columns import LEGACY_COLUMN, WIDTHS, file_columns, schema_columns
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Workload
from dlio_benchmark.metrics.events import Phase, RankRecord, StepTimes
from dlio_benchmark.metrics.summary import (
    Shares,
    Window,
    au_percent,
    overlong,
    skew,
    split_metrics,
    throughput,
    window_ns,
)
from dlio_benchmark.metrics.summary import shares as time_shares
from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
from dlio_benchmark.plan.layout import Layout
from dlio_benchmark.plan.order import Order, mixed
from dlio_benchmark.plan.schedule import Scheduled, schedule, shuffling
from dlio_benchmark.plan.world import World

WORD = (1 << 64) - 1
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


# -- orders, by their definition ---------------------------------------------------------------------------------------
def plain_mixed(*words: int) -> int:
    """Return what `mixed` is defined to be: splitmix64's finalizer over the words, from the golden ratio on."""
    state = 0x9E3779B97F4A7C15
    for word in words:
        state = (state ^ word) * FIRST & WORD
        state = (state ^ state >> 27) * SECOND & WORD
        state ^= state >> 31
    return state


def plain_scrambled(number: int, key: int) -> int:
    out = (number + key) * FIRST & WORD
    out = (out ^ out >> 29) * SECOND & WORD
    return out ^ out >> 32


def plain_order(n: int, key: int) -> list[int]:
    """Return the permutation of ``range(n)``, id by id.

    Few ids are sorted by keyed numbers; for more it is a Feistel network over the bits of n, walked into range.
    """
    if n <= 1024:
        golden, own = 0x9E3779B97F4A7C15, plain_mixed(key, n)
        return sorted(range(n), key=lambda number: plain_scrambled(number * golden & WORD, own))
    bits = (n - 1).bit_length()
    low, high = bits // 2, bits - bits // 2
    rounds = 8 if low < 7 else 4
    keys = [plain_mixed(key, turn) for turn in range(rounds)]

    def once(number: int) -> int:
        upper, lower = number >> low, number & ((1 << low) - 1)
        for turn, round_key in enumerate(keys):
            if turn % 2 == 0:
                upper ^= plain_scrambled(lower, round_key) & ((1 << high) - 1)
            else:
                lower ^= plain_scrambled(upper, round_key) & ((1 << low) - 1)
        return upper << low | lower

    def walked(number: int) -> int:
        while (number := once(number)) >= n:
            pass
        return number

    return [walked(number) for number in range(n)]


@given(words=st.lists(st.integers(0, WORD), max_size=4))
def test_mixing_is_what_it_is_defined_to_be(words: list[int]) -> None:
    assert mixed(*words) == plain_mixed(*words)


@pytest.mark.parametrize("n", [2, 3, 5, 17, 128, 513, 1023, 1024, 1025, 2048, 2049, 5000, 20_000])
@pytest.mark.parametrize("key", [0, 1, 2**63 + 5])
def test_an_order_is_what_it_is_defined_to_be(n: int, key: int) -> None:
    assert Order(n, key)[:].tolist() == plain_order(n, key)


def test_a_large_order_is_what_it_is_defined_to_be() -> None:
    assert Order(40_000, 7)[:].tolist() == plain_order(40_000, 7)
    assert Order(40_000, 7)[::997].tolist() == plain_order(40_000, 7)[::997]
    assert Order(5, 1)[:].dtype == np.int64


# -- names, schedules, seeds -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("subfolders", "folder"), [(0, "train"), (1, "train"), (2, "train/1"), (12, "train/05")])
def test_folders_exist_from_two_on(subfolders: int, folder: str) -> None:
    assert Layout(DatasetType.TRAIN, 9, subfolders=subfolders).folder(5) == folder


def workload(**sections: dict[str, object]) -> Workload:
    return decode({"framework": "pytorch", "dataset": {"format": "parquet", "num_files_eval": 1}} | sections).workload


@pytest.mark.parametrize(
    ("first", "every", "evaluated"), [(2, 3, [2, 5, 8]), (1, 0, [*range(1, 9)]), (1, 1, [*range(1, 9)]), (9, 1, [])]
)
def test_evaluations_follow_the_epochs_that_are_configured(first: int, every: int, evaluated: list[int]) -> None:
    asked = workload(
        train={"epochs": 8},
        workflow={"evaluation": True},
        evaluation={"eval_after_epoch": first, "epochs_between_evals": every},
    )
    found = list(schedule(asked))
    assert [one.epoch for one in found if one.split is DatasetType.TRAIN] == [*range(1, 9)]
    assert [one.epoch for one in found if one.split is DatasetType.VALID] == evaluated


@pytest.mark.parametrize("changes", [True, False])
def test_keys_of_an_epoch_follow_from_seed_epoch_and_kind(changes: bool) -> None:
    asked = workload(
        train={"seed": 77, "seed_change_epoch": changes},
        reader={"file_shuffle": "seed", "sample_shuffle": "random", "shuffle_scope": "row_group"},
    )
    epoch = 3 if changes else 0
    found = shuffling(asked, Scheduled(3, DatasetType.TRAIN), chance=5)
    assert found == Shuffling(plain_mixed(77, epoch, 1), plain_mixed(5, epoch, 2), ShuffleScope.ROW_GROUP)
    assert shuffling(asked, Scheduled(3, DatasetType.VALID), chance=5) == Shuffling()


# -- visits ------------------------------------------------------------------------------------------------------------
def test_a_global_order_that_is_not_shuffled_visits_files_one_by_one() -> None:
    plan = EpochPlan(np.array([6, 6]), 2, shuffling=Shuffling(scope=ShuffleScope.GLOBAL))
    assert [(visit.file, visit.start, visit.stop) for visit in plan.visits()] == [(0, 0, 6), (1, 0, 6)]


def test_pieces_of_a_global_order_begin_at_their_first_row() -> None:
    plan = EpochPlan(np.array([6, 6]), 3, shuffling=Shuffling(samples=4, scope=ShuffleScope.GLOBAL))
    pieces = [piece for visit in plan.visits() for piece in plan.visited(visit, [2, 2, 2])]
    assert [piece.start for piece in pieces] == [0] * len(pieces)
    assert [piece.stop for piece in pieces] == [len(piece.rows) for piece in pieces if piece.rows is not None]


@pytest.mark.parametrize("rank", [0, 1])
@given(key=st.none() | st.integers(0, 99))
def test_no_piece_is_empty_where_a_visit_begins_or_ends_with_a_block(rank: int, key: int | None) -> None:
    plan = EpochPlan(np.array([10, 10, 10]), 5, World(rank, 2), shuffling=Shuffling(samples=key))
    blocks = [5, 5]
    for visit in plan.visits():
        pieces = list(plan.visited(visit, blocks))
        assert all(piece.start < piece.stop <= blocks[piece.block] for piece in pieces)
        assert sum(piece.stop - piece.start for piece in pieces) == visit.stop - visit.start


# -- sizes of samples --------------------------------------------------------------------------------------------------
def test_every_element_has_the_width_of_its_type() -> None:
    one_byte = {ColumnType.BOOL, ColumnType.STRING, ColumnType.BINARY}
    numbers = set(ColumnType) - one_byte - {ColumnType.LIST}
    wanted = {kind: np.dtype(kind.value).itemsize for kind in numbers} | dict.fromkeys(one_byte, 1)
    assert dict(WIDTHS) == wanted | {ColumnType.LIST: np.dtype("float32").itemsize}


@pytest.mark.parametrize(("length", "spread"), [(10_000, 3000), (4, 6)])
def test_samples_that_differ_have_sides_around_their_mean(length: int, spread: int) -> None:
    section = {"format": "parquet", "record_length_bytes": length, "record_length_bytes_stdev": spread, "seed": 3}
    dataset = workload(dataset=section).dataset
    for index in range(20):
        key = plain_mixed(3, list(DatasetType).index(DatasetType.TRAIN), index)
        sides = np.random.Generator(np.random.PCG64(key)).normal(math.isqrt(length), spread / 2 / math.sqrt(length), 2)
        wanted = int(max(1, sides[0])) * int(max(1, sides[1]))
        assert [column.size for column in file_columns(dataset, DatasetType.TRAIN, index)] == [wanted]
    (one,) = schema_columns(dataset)
    assert (one.name, one.size) == (LEGACY_COLUMN, 0)


# -- metrics -----------------------------------------------------------------------------------------------------------
def passed(load: list[int], compute: list[int], *, start: int = 1_000_000, more: int = 0) -> Phase:
    """Return a pass of a rank that begins at ``start``; times in nanoseconds."""
    times = StepTimes(load, compute, [0] * len(load))
    end = start + sum(load) + sum(compute) + more
    return Phase(1, DatasetType.TRAIN, 4, len(load), 0, start, end, "", "", times)


def test_the_window_is_what_the_steps_outside_leave() -> None:
    phase = passed([5, 10, 20], [7, 30, 40], more=100)
    assert window_ns(phase, Window()) == 10 + 20 + 30 + 40 + 100
    assert window_ns(phase, Window(0, 0)) == 10 + 20 + 30 + 40 + 100 + 12
    assert window_ns(phase, Window(1, 1)) == 10 + 30 + 100
    assert Window() == Window(exclude_start=1, exclude_end=0)


def test_a_window_without_time_has_no_metrics_and_one_of_a_nanosecond_has() -> None:
    nothing, least = passed([0, 0], [0, 0]), passed([0, 0], [0, 1])
    assert (au_percent(nothing, Window()), throughput(nothing, Window())) == (0.0, 0.0)
    assert au_percent(least, Window()) == 100.0
    assert throughput(least, Window()) == pytest.approx(4e9)
    alone = passed([1], [1], more=9)
    assert (au_percent(alone, Window()), throughput(alone, Window())) == (0.0, 0.0)


def test_nominal_rates_are_in_mebibytes() -> None:
    slow, fast = passed([0, 10**9], [0, 10**9]), passed([0, 10**8], [0, 10**9])
    record = RankRecord(0, "host", (slow, replace(fast, epoch=2)))
    found = split_metrics([record], DatasetType.TRAIN, Window(), record_bytes=3 * 1024 * 512, target=0.5)
    assert found is not None
    rates = [4 / 2.0, 4 / 1.1]
    mean, spread = sum(rates) / 2, abs(rates[0] - rates[1]) / 2
    assert found.nominal_mib_per_s == pytest.approx(1.5 * mean)
    assert found.nominal_mib_per_s_stdev == pytest.approx(1.5 * spread)


def shares(**seconds: float) -> Shares:
    zero = dict.fromkeys(
        ("compute_s", "wait_s", "barrier_s", "other_s", "io_s", "decode_s", "shuffle_s", "preprocess_s"), 0.0
    )
    return Shares(**{**zero, "total_s": 10.0, "au": 0.0, **seconds})


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (shares(total_s=0.0), "accelerator-bound"),
        (shares(au=0.95), "accelerator-bound"),
        (shares(au=0.9499, wait_s=1.0, io_s=1.0), "storage-bound"),
        (shares(barrier_s=2.0, wait_s=2.0, io_s=1.0), "storage-bound"),
        (shares(barrier_s=2.1, wait_s=2.0, io_s=1.0), "barrier-bound"),
        (shares(wait_s=2.0, other_s=2.0, io_s=1.0), "storage-bound"),
        (shares(wait_s=2.0, other_s=2.1, io_s=1.0), "client-bound"),
        (shares(wait_s=2.0, io_s=3.0, decode_s=1.0, shuffle_s=1.0, preprocess_s=1.0), "client-bound"),
        (shares(wait_s=2.0, io_s=3.1, decode_s=1.0, shuffle_s=1.0, preprocess_s=1.0), "storage-bound"),
    ],
)
def test_ties_have_one_verdict(told: Shares, verdict: str) -> None:
    assert told.verdict == verdict


@pytest.mark.parametrize(
    ("asked_s", "took_s", "told"), [(0.0, 1.0, 0), (0.5, 0.625, 0), (0.5, 0.626, 1), (1e-9, 1.0, 1), (1.0, 1.2, 0)]
)
def test_steps_are_overlong_from_a_quarter_more_than_was_asked_for(asked_s: float, took_s: float, told: int) -> None:
    record = RankRecord(0, "host", (passed([0, 0], [round(took_s * 1e9)] * 2),))
    assert len(overlong([record], Window(), {DatasetType.TRAIN: asked_s})) == told


def test_shares_are_parts_of_all_time_and_of_the_window() -> None:
    phase = passed([10**9, 2 * 10**9], [3 * 10**9, 4 * 10**9], more=5 * 10**9)
    found = time_shares([RankRecord(0, "host", (phase,))])
    assert (found.compute_s, found.wait_s, found.barrier_s, found.other_s, found.total_s) == (7, 3, 0, 5, 15)
    assert found.au == pytest.approx(4 / (2 + 4 + 5))
    alone = passed([10**9], [3 * 10**9])
    assert time_shares([RankRecord(0, "host", (alone,))]).au == pytest.approx(3 / 4)
    assert time_shares([RankRecord(0, "host", (passed([0], [0]),))]).au == 0
    assert time_shares([]).au == 0


def test_the_busiest_rank_is_compared_with_the_median_of_all_others() -> None:
    times = [5, 1, 2, 9]
    records = [RankRecord(rank, f"host{rank}", (passed([0], [one * 10**9]),)) for rank, one in enumerate(times)]
    found = skew(records)
    assert found is not None
    assert (found.rank, found.busy_s, found.others_s, found.total_s) == (3, 9, 2, 9)
    turned = skew(records[::-1][:3])
    assert turned is not None
    assert (turned.rank, turned.others_s) == (3, 1.5)
    assert skew(records[:1]) is None
