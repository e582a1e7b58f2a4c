"""Small wrongs of the threads loader: what is counted against its budget, and what an epoch leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lending import Lending
from test_ahead import Files

from dlio_benchmark.batch import Run
from dlio_benchmark.clock import FakeClock, RealClock
from dlio_benchmark.common.enumerations import ReadMode, ShuffleScope
from dlio_benchmark.data_loader.ahead import Budget
from dlio_benchmark.data_loader.base import Source
from dlio_benchmark.data_loader.threads import ThreadsLoader, _Epoch
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
from dlio_benchmark.reader.parquet_reader import ParquetRows
from verification.strategies import Layout, numbered

ROWS, FILES = 40, 5


def reading(lending: Lending, budget: Budget) -> tuple[ThreadsLoader, EpochPlan]:
    storage: Any = lending
    clock = RealClock()
    source = Source(ParquetRows(storage, None, ReadMode.ROW_GROUP, clock=clock), clock)
    return ThreadsLoader(source, 2, budget), EpochPlan(np.full(FILES, ROWS), 4)


@pytest.fixture
def lending() -> Lending:
    return Lending({f"{number}.parquet": Layout(4).written(numbered(ROWS)) for number in range(FILES)})


def test_an_epoch_that_ends_leaves_nothing_behind(lending: Lending) -> None:
    loader, plan = reading(lending, Budget())
    for _ in range(2):
        assert sum(map(len, loader.batches(plan, "{}.parquet".format, Tally()))) == ROWS * FILES
        assert loader._epochs == []
        assert lending.open == 0
    loader.close()


@pytest.mark.parametrize(
    ("shuffling", "at_once"),
    [
        (Shuffling(), 1),
        (Shuffling(files=1), 1),
        (Shuffling(samples=1, scope=ShuffleScope.ROW_GROUP), 1),
        (Shuffling(samples=1, scope=ShuffleScope.WINDOW), 2),
        (Shuffling(samples=1, scope=ShuffleScope.GLOBAL), 2),
    ],
)
def test_all_threads_work_from_the_start_where_rows_are_moved(
    lending: Lending, shuffling: Shuffling, at_once: int
) -> None:
    loader, plan = reading(lending, Budget())
    batches = loader._runs(replace(plan, shuffling=shuffling), "{}.parquet".format, Tally())
    made: list[int] = []

    def runs(epoch: _Epoch, _: Tally) -> Iterator[Run]:
        made.append(epoch._at_once)
        return iter(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Epoch, "runs", runs)
        assert list(batches) == []
    assert made == [at_once]


def test_files_that_were_opened_ahead_are_closed_when_an_epoch_is_left(lending: Lending) -> None:
    loader, plan = reading(lending, Budget(loads=1, load_bytes=1))
    batches = loader.batches(plan, "{}.parquet".format, Tally())
    next(batches)
    assert lending.open > 0
    batches.close()  # type: ignore[attr-defined]
    loader.close()
    assert lending.open == 0
    assert loader._epochs == []


def test_there_is_one_thread_at_least_and_a_file_more_than_threads_is_opened_ahead() -> None:
    files = Files([1] * 3)
    for asked, threads in ((0, 1), (1, 1), (3, 3)):
        loader = ThreadsLoader(Source(files, FakeClock()), asked)
        batches = loader.batches(files.plan, str, Tally())
        next(batches)
        (epoch,) = loader._epochs
        assert (epoch._most, epoch._ahead._openings) == (threads, threads + 1)
        assert all(thread.daemon for thread in epoch.threads)
        batches.close()  # type: ignore[attr-defined]
        loader.close()


def test_closing_a_loader_ends_an_epoch_that_nobody_has_left() -> None:
    files = Files([3] * 5)
    loader = ThreadsLoader(Source(files, FakeClock()), 2, Budget(loads=1, load_bytes=0))
    batches = loader.batches(files.plan, str, Tally())
    next(batches)
    (epoch,) = loader._epochs
    loader.close()
    assert not any(thread.is_alive() for thread in epoch.threads)
    assert all(file.closed == 1 for file in files.opened)
    del batches
