"""Work ahead by threads: in order, bounded, and over when it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.parquet.write_pipeline import JOBS_AHEAD, Job, in_order


class Gauge:
    """Counts the bytes of jobs that have begun and whose results have not been given back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begun: list[int] = []
        self.held = self.most = self.most_jobs = self.jobs = 0

    def job(self, number: int, cost: int) -> Job[int]:
        return Job(self._making(number, cost), cost)

    def _making(self, number: int, cost: int) -> Callable[[], int]:
        def make() -> int:
            with self.lock:
                self.begun.append(number)
                self.held, self.jobs = self.held + cost, self.jobs + 1
                self.most, self.most_jobs = max(self.most, self.held), max(self.most_jobs, self.jobs)
            return number

        return make

    def give_back(self, cost: int) -> None:
        with self.lock:
            self.held, self.jobs = self.held - cost, self.jobs - 1


@given(
    costs=st.lists(st.integers(0, 100), max_size=30),
    threads=st.integers(0, 4),
    budget=st.integers(0, 300),
    ahead=st.integers(1, 6),
)
def test_results_come_in_order_within_the_budget(costs: list[int], threads: int, budget: int, ahead: int) -> None:
    gauge = Gauge()
    jobs = (gauge.job(number, cost) for number, cost in enumerate(costs))
    seen = []
    for number in in_order(jobs, threads, bytes_in_flight=budget, ahead=ahead):
        seen.append(number)
        gauge.give_back(costs[number])
    assert seen == list(range(len(costs)))
    assert gauge.most <= max(budget, 2 * max(costs, default=0))
    assert gauge.most_jobs <= threads + ahead


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_an_error_is_raised_in_its_turn_and_later_jobs_are_dropped(threads: int) -> None:
    gauge = Gauge()

    def fail() -> int:
        msg = "job 5"
        raise KeyError(msg)

    jobs = [gauge.job(number, 1) if number != 5 else Job(fail, 1) for number in range(100)]
    seen = []
    with pytest.raises(KeyError, match="job 5"), closing(in_order(jobs, threads)) as results:
        for number in results:
            seen.append(number)
            gauge.give_back(1)
    assert seen == [0, 1, 2, 3, 4]
    assert max(gauge.begun) <= 5 + threads + JOBS_AHEAD


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_closing_early_leaves_no_thread_behind(threads: int) -> None:
    before = threading.active_count()
    gauge = Gauge()
    with closing(in_order((gauge.job(number, 1) for number in range(50)), threads)) as results:
        assert next(results) == 0
    assert threading.active_count() == before
    assert len(gauge.begun) <= threads + JOBS_AHEAD + 1


def test_without_threads_nothing_leaves_the_calling_thread() -> None:
    here = threading.get_ident()
    assert list(in_order([Job(threading.get_ident, 1)] * 3, 0)) == [here] * 3
