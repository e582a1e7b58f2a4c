"""The numbers of a run follow from its events by the published formulas."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.metrics.events import Phase, RankRecord, StepSums, StepTimes, Tally
from dlio_benchmark.metrics.summary import (
    MIB,
    Window,
    au_percent,
    condensed,
    overlong,
    problems,
    shares,
    skew,
    split_metrics,
    throughput,
    unmeasured,
    window_ns,
)

STEP = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**7))


def phase(steps: list[tuple[int, int, int]], *, epoch: int = 1, batch: int = 4, rest: int = 0) -> Phase:
    times = StepTimes(*([list(column) for column in zip(*steps, strict=True)] if steps else [[], [], []]))
    end = sum(map(sum, steps)) + rest
    tally = Tally(rows=batch * len(steps), bytes_promised=100, bytes_requested=100, bytes_read=100)
    return Phase(epoch, DatasetType.TRAIN, batch, len(steps), 0, 0, end, "", "", times, tally)


def record(*phases: Phase, rank: int = 0) -> RankRecord:
    return RankRecord(rank, "host", phases)


def test_a_loop_that_only_computes_reaches_100_percent() -> None:
    done = phase([(0, 10**9, 0)] * 5)
    assert au_percent(done, Window()) == 100.0
    assert throughput(done, Window()) == 4.0


def test_the_first_step_is_left_out_with_its_times() -> None:
    done = phase([(9 * 10**9, 10**9, 0), (0, 10**9, 0), (10**9, 10**9, 0)])
    assert window_ns(done, Window(1, 0)) == 3 * 10**9
    assert au_percent(done, Window(1, 0)) == pytest.approx(200 / 3)
    assert throughput(done, Window(1, 0)) == pytest.approx(2 * 4 / 3)


@given(steps=st.lists(STEP, max_size=20), start=st.integers(0, 25), end=st.integers(0, 25))
def test_metrics_are_finite_and_au_stays_between_0_and_100(
    steps: list[tuple[int, int, int]], start: int, end: int
) -> None:
    done = phase(steps)
    assert 0.0 <= au_percent(done, Window(start, end)) <= 100.0 + 1e-9
    assert math.isfinite(throughput(done, Window(start, end)))


@given(steps=st.lists(STEP, min_size=2, max_size=20), start=st.integers(0, 3), end=st.integers(0, 3))
def test_au_is_the_share_of_computing_in_the_window(steps: list[tuple[int, int, int]], start: int, end: int) -> None:
    """The model: lay the block out in time and cut the left-out steps away."""
    first, last = min(start, len(steps)), max(min(start, len(steps)), len(steps) - end)
    inside = steps[first:last]
    outside_barriers = sum(waited for _, _, waited in steps[:first] + steps[last:])
    spent = sum(map(sum, inside)) + outside_barriers
    got = au_percent(phase(steps), Window(start, end))
    computed = sum(compute for _, compute, _ in inside)
    assert got == pytest.approx(100 * computed / spent if inside and spent > 0 else 0.0)


@given(
    steps=st.lists(st.lists(STEP, max_size=9), min_size=1, max_size=3), start=st.integers(0, 9), end=st.integers(0, 9)
)
def test_ranks_tell_each_other_sums_that_give_the_same_metrics(
    steps: list[list[tuple[int, int, int]]], start: int, end: int
) -> None:
    window = Window(start, end)
    whole = record(*(phase(part, epoch=number, rest=7) for number, part in enumerate(steps)))
    told = condensed(whole, window)

    def numbers(rank: RankRecord) -> object:
        split = split_metrics([rank], DatasetType.TRAIN, window, record_bytes=1, target=0.5)
        return split, problems([rank], decoded=True), shares([rank], window)

    assert numbers(told) == numbers(whole)
    assert all(isinstance(one.times, StepSums) for one in told.phases)


def test_sums_are_not_mistaken_for_those_of_another_window() -> None:
    told = condensed(record(phase([(1, 2, 3)] * 5)), Window(1, 0)).phases[0]
    with pytest.raises(ValueError, match=r"window \(1, 5\), not of \(0, 5\)"):
        au_percent(told, Window(0, 0))
    with pytest.raises(ValueError, match="stay with their rank"):
        assert told.step_times


def test_a_told_record_has_the_same_size_for_any_number_of_steps() -> None:
    sizes = {
        len(ForkingPickler.dumps(condensed(record(phase([(10**6, 10**6, 10**3)] * many)), Window()))) // 64
        for many in (10, 10_000)
    }
    assert len(sizes) == 1


def test_a_job_takes_the_mean_of_au_and_the_sum_of_throughput_over_ranks() -> None:
    fast, slow = phase([(0, 10**9, 0)] * 3), phase([(10**9, 10**9, 0)] * 3)
    got = split_metrics(
        [record(fast), record(slow, rank=1)], DatasetType.TRAIN, Window(), record_bytes=MIB, target=0.75
    )
    assert got is not None
    assert got.au_percent.values == (75.0,)
    assert got.throughput.values == pytest.approx((4 + 2,))
    assert got.nominal_mib_per_s == pytest.approx(6)
    assert got.met


@given(values=st.lists(st.floats(0.01, 10), min_size=1, max_size=6))
def test_the_summary_is_mean_and_population_deviation_over_epochs(values: list[float]) -> None:
    phases = [phase([(0, 10**9, 0), (round(v * 1e9), 10**9, 0)], epoch=n + 1) for n, v in enumerate(values)]
    got = split_metrics([record(*phases)], DatasetType.TRAIN, Window(), record_bytes=1, target=0)
    assert got is not None
    expected = [au_percent(one, Window()) for one in phases]
    assert got.au_percent.mean == pytest.approx(statistics.fmean(expected))
    assert got.au_percent.stdev == pytest.approx(statistics.pstdev(expected))


def test_a_split_that_was_not_run_has_no_metrics() -> None:
    done = record(phase([(0, 1, 0)]))
    assert split_metrics([done], DatasetType.VALID, Window(), record_bytes=1, target=0) is None


def test_a_whole_run_has_no_problems() -> None:
    assert problems([record(phase([(1, 1, 1)] * 3))], decoded=True) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 11}, "rows delivered 11, planned 12"),
        ({"bytes_read": 99}, "bytes read 99, promised by the footers 100"),
        ({"bytes_requested": 101}, "bytes requested 101, promised by the footers 100"),
        ({"bytes_read": 0, "bytes_requested": 0, "bytes_promised": 0}, "no byte was read"),
    ],
)
def test_every_gap_in_the_proof_is_named_with_its_rank_and_epoch(change: dict[str, int], said: str) -> None:
    whole = phase([(1, 1, 1)] * 3, epoch=2)
    broken = replace(whole, tally=replace(whole.tally, **change))
    found = problems([record(whole), record(broken, rank=1)], decoded=True)
    assert found == [f"rank 1, epoch 2 (train): {said}"]


@given(steps=st.integers(0, 8), start=st.integers(0, 5), end=st.integers(0, 5))
def test_a_split_of_which_nothing_is_measured_is_named(steps: int, start: int, end: int) -> None:
    done, window = phase([(1, 1, 1)] * steps), Window(start, end)
    said = unmeasured([record(done), record(done, rank=1)], window)
    assert len(said) == (steps <= start + end)
    assert all(f"of train: {steps} steps" in line for line in said)


@pytest.mark.parametrize(("took_ns", "lines"), [(10**9, 0), (1_200_000_000, 0), (1_300_000_000, 1)])
def test_a_computation_that_takes_much_longer_than_asked_is_said_to_raise_the_utilization(
    took_ns: int, lines: int
) -> None:
    ranks = [record(phase([(1, took_ns, 1)] * 3), rank=rank) for rank in range(2)]
    said = overlong(ranks, Window(), {DatasetType.TRAIN: 1.0, DatasetType.VALID: 0.1})
    assert len(said) == lines
    assert all("train: a step computed for 1.3 s on average, 1 s were asked for" in line for line in said)
    assert overlong(ranks, Window(), {DatasetType.TRAIN: 0.0}) == []


def test_fewer_steps_than_planned_are_a_problem() -> None:
    short = replace(phase([(1, 1, 1)] * 3), steps_planned=4)
    assert any("steps made 3, planned 4" in text for text in problems([record(short)], decoded=True))


def test_a_run_without_a_step_is_a_problem() -> None:
    assert any("no step was executed" in text for text in problems([record(phase([]))], decoded=True))


def test_a_loop_that_neither_waits_nor_computes_is_bound_by_the_client() -> None:
    idle = replace(phase([(1, 1, 1)] * 5, rest=1000), tally=Tally(io_ns=90))
    assert shares([record(idle)]).verdict == "client-bound"


@pytest.mark.parametrize(
    ("step", "tally", "verdict"),
    [
        ((0, 100, 0), Tally(), "accelerator-bound"),
        ((100, 10, 0), Tally(io_ns=90, decode_ns=10), "storage-bound"),
        ((100, 10, 0), Tally(io_ns=10, decode_ns=90), "client-bound"),
        ((100, 10, 0), Tally(io_ns=40, decode_ns=30, shuffle_ns=30), "client-bound"),
        ((100, 10, 0), Tally(io_ns=40, decode_ns=30, preprocess_ns=30), "client-bound"),
        ((100, 10, 0), Tally(), "client-bound"),
        ((10, 10, 100), Tally(io_ns=90), "barrier-bound"),
    ],
)
def test_the_verdict_names_what_bounds_the_run(step: tuple[int, int, int], tally: Tally, verdict: str) -> None:
    assert shares([record(replace(phase([step] * 5), tally=tally))]).verdict == verdict


@given(st.lists(STEP, min_size=2, max_size=8), st.integers(0, 3))
def test_the_verdict_and_the_utilization_speak_of_the_same_steps(steps: list[tuple[int, int, int]], left: int) -> None:
    made, window = phase(steps), Window(min(left, len(steps) - 1))
    assume(window_ns(made, window) > 0)
    busy = au_percent(made, window) >= 95
    assert (shares([record(made)], window).verdict == "accelerator-bound") == busy


def test_a_first_step_that_is_left_out_does_not_decide_the_verdict() -> None:
    made = replace(phase([(1000, 100, 0), *[(0, 100, 0)] * 4]), tally=Tally(io_ns=1000))
    assert shares([record(made)], Window(1)).verdict == "accelerator-bound"
    assert shares([record(made)], Window(0)).verdict == "storage-bound"


@given(st.lists(st.lists(STEP, min_size=3, max_size=3), min_size=2, max_size=6))
def test_the_busiest_rank_is_the_one_that_waits_least_for_others(ranks: list[list[tuple[int, int, int]]]) -> None:
    busy = [sum(load + compute for load, compute, _ in steps) for steps in ranks]
    found = skew([record(phase(steps), rank=rank) for rank, steps in enumerate(ranks)])
    assert found is not None
    assert busy[found.rank] == max(busy)
    assert found.busy_s == max(busy) / 1e9
    others = sorted([*busy[: found.rank], *busy[found.rank + 1 :]])
    assert others[0] / 1e9 <= found.others_s <= others[-1] / 1e9


@pytest.mark.parametrize(("slow", "is_straggler"), [(100, False), (120, False), (300, True)])
def test_a_rank_that_holds_up_the_others_is_a_straggler(slow: int, is_straggler: bool) -> None:
    quick = [(50 * 10**6, 50 * 10**6, (slow - 100) * 10**6)] * 10
    held = [(50 * 10**6, (slow - 50) * 10**6, 0)] * 10
    found = skew([record(phase(quick)), record(phase(held), rank=1), record(phase(quick), rank=2)])
    assert found is not None
    assert found.is_straggler is is_straggler
    assert found.ratio == pytest.approx(slow / 100)
    assert not is_straggler or found.rank == 1


def test_a_rank_alone_and_ranks_that_did_nothing_have_no_straggler() -> None:
    assert skew([record(phase([(1, 1, 0)]))]) is None
    idle = skew([record(phase([])), record(phase([]), rank=1)])
    assert idle is not None
    assert (idle.ratio, idle.is_straggler) == (1.0, False)
