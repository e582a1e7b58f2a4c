"""Small wrongs of the threads loader: what is counted against its budget, and what an epoch leaves behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from lending import Lending

from dlio_benchmark.clock import RealClock
from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.data_loader.base import Source
from dlio_benchmark.data_loader.threads import Budget, ThreadsLoader, _Feeder
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.reader.parquet_reader import ParquetRows
from verification.strategies import Layout, numbered

ROWS, FILES = 40, 5


class WaitsError(Exception):
    """Somebody would have to wait."""


class Impatient(threading.Condition):
    """A condition on which nobody waits."""

    def wait(self, timeout: float | None = None) -> bool:
        raise WaitsError


def feeder(budget: Budget) -> _Feeder:
    with ThreadPoolExecutor(1) as pool:
        nothing: Any = None
        made = _Feeder(nothing, pool, 1, budget)
    made._changed = Impatient()
    return made


def test_loads_count_against_the_budget_by_their_bytes() -> None:
    one = feeder(Budget(bytes=150, loads=9))
    assert one._admit((100, 1))
    assert one._admit((50, 1000))
    with pytest.raises(WaitsError):
        one._admit((1, 1))
    one._release((50, 1000))
    assert one._admit((49, 1))


def test_a_load_beyond_the_budget_is_admitted_alone() -> None:
    one = feeder(Budget(bytes=150, loads=9))
    assert one._admit((1000, 1))
    with pytest.raises(WaitsError):
        one._admit((0, 0))


def test_more_loads_than_the_budget_are_admitted_while_they_hold_few_rows() -> None:
    one = feeder(Budget(bytes=10**9, loads=1, rows=10))
    assert one._admit((1, 6))
    assert one._admit((1, 4))
    with pytest.raises(WaitsError):
        one._admit((1, 1))


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


def test_files_that_were_opened_ahead_are_closed_when_an_epoch_is_left(lending: Lending) -> None:
    loader, plan = reading(lending, Budget(loads=1, load_bytes=1))
    batches = loader.batches(plan, "{}.parquet".format, Tally())
    next(batches)
    assert lending.open > 0
    batches.close()  # type: ignore[attr-defined]
    loader.close()
    assert lending.open == 0
    assert loader._epochs == []
