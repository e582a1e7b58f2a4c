"""Small wrongs of the threads loader: what is counted against its budget, and what an epoch leaves behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lending import Lending

from dlio_benchmark.clock import RealClock
from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.data_loader.ahead import Budget
from dlio_benchmark.data_loader.base import Source
from dlio_benchmark.data_loader.threads import ThreadsLoader
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
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


def test_files_that_were_opened_ahead_are_closed_when_an_epoch_is_left(lending: Lending) -> None:
    loader, plan = reading(lending, Budget(loads=1, load_bytes=1))
    batches = loader.batches(plan, "{}.parquet".format, Tally())
    next(batches)
    assert lending.open > 0
    batches.close()  # type: ignore[attr-defined]
    loader.close()
    assert lending.open == 0
    assert loader._epochs == []
