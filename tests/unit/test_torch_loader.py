"""Workers of PyTorch's DataLoader give what the reference loader gives, count the same, and do not die in silence."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fateful_reader import Fateful
from hypothesis import given, settings
from hypothesis import strategies as st

from dlio_benchmark.batch import Batch, Block
from dlio_benchmark.clock import RealClock
from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType, ReadMode, ShuffleScope
from dlio_benchmark.config.model import Column
from dlio_benchmark.config.rules import CONTEXTS
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.data_loader.base import Loader, Source
from dlio_benchmark.data_loader.direct import DirectLoader
from dlio_benchmark.data_loader.tasks import tasks
from dlio_benchmark.errors import StorageError, WorkerLostError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.plan.world import World
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.local import LocalStorage

torch = pytest.importorskip("torch", reason="the extra pytorch is not installed")
from dlio_benchmark.data_loader.torch import TorchLoader, tensors  # noqa: E402 - after the check

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # fewer processors than workers
]

COLUMNS = (
    Column("n", ColumnType.INT64),
    Column("v", ColumnType.FLOAT32, 3),
    Column("b", ColumnType.BOOL),
    Column("s", ColumnType.STRING, 9),
)
ROWS = (17, 0, 40, 5)
COUNTED = ("rows", "row_groups", "blocks", "requests", "bytes_promised", "bytes_requested", "bytes_read")
SHARED_OUT = 1e6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("files")
    writer = ParquetFiles(COLUMNS, Compression.SNAPPY, row_group_size=6)
    for index, rows in enumerate(ROWS):
        writer.write(PlannedFile(DatasetType.TRAIN, index, path_of(index), rows), LocalStorage(str(out)))
    return out


def path_of(number: int) -> str:
    return f"{number}.parquet"


def source(folder: Path) -> Source:
    return Source(ParquetRows(LocalStorage(str(folder)), COLUMNS, ReadMode.ROW_GROUP), RealClock())


@pytest.fixture(scope="module", params=[0, 1, 2], ids="{} workers".format)
def loader(folder: Path, request: pytest.FixtureRequest) -> Iterator[TorchLoader]:
    """One loader for all examples, as its workers outlive an epoch; its rows are said to be huge."""
    made = TorchLoader([source(folder)] * 2, request.param, row_bytes=SHARED_OUT)
    yield made
    made.close()


def taken(loader: Loader, plan: EpochPlan) -> tuple[list[pa.Table], Tally]:
    tally = Tally()
    return [batch.to_arrow() for batch in loader.batches(plan, path_of, tally)], tally


PLANS = st.builds(
    EpochPlan,
    rows=st.just(np.array(ROWS)),
    batch=st.integers(1, 20),
    world=st.sampled_from([World(0, 1), World(0, 2), World(1, 2), World(2, 3)]),
    shuffling=st.builds(
        Shuffling,
        files=st.none() | st.integers(0, 9),
        samples=st.none() | st.integers(0, 9),
        scope=st.sampled_from([ShuffleScope.ROW_GROUP, ShuffleScope.WINDOW]),
    ),
    most_steps=st.none() | st.integers(0, 3),
)


@settings(max_examples=40)
@given(plan=PLANS, row_bytes=st.sampled_from([10, SHARED_OUT, 4 * SHARED_OUT]))
def test_workers_give_the_batches_and_counts_of_the_reference(
    folder: Path, loader: TorchLoader, plan: EpochPlan, row_bytes: float
) -> None:
    expected, counted = taken(DirectLoader(source(folder)), plan)
    loader._row_bytes = row_bytes
    got, tally = taken(loader, plan)
    assert len(got) == len(plan)
    assert all(one.equals(other) for one, other in zip(got, expected, strict=True))
    assert {name: getattr(tally, name) for name in COUNTED} == {name: getattr(counted, name) for name in COUNTED}
    assert tally.files >= counted.files


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_workers_of_every_start_method_give_the_batches_of_the_reference(folder: Path, context: str) -> None:
    plan = EpochPlan(np.array(ROWS), 5, World(0, 1))
    made = TorchLoader([source(folder)], 1, row_bytes=SHARED_OUT, context=context)
    try:
        assert taken(made, plan)[0] == taken(DirectLoader(source(folder)), plan)[0]
    finally:
        made.close()


def test_an_epoch_that_is_left_early_does_not_reach_into_the_next(folder: Path, loader: TorchLoader) -> None:
    plan = EpochPlan(np.array(ROWS), 4)
    left = loader.batches(plan, path_of, Tally())
    next(left)
    del left
    gc.collect()
    got, tally = taken(loader, plan)
    assert pa.concat_tables(got).equals(pa.concat_tables(taken(DirectLoader(source(folder)), plan)[0]))
    assert tally.rows >= len(plan) * plan.batch


def test_tensors_share_the_memory_of_a_batch() -> None:
    columns = {"x": np.arange(6.0), "v": np.ones((6, 2), np.float32), "s": pa.array(["a"] * 6)}
    got = tensors(Batch(((Block(6, columns), 1, 5),)))
    assert isinstance(got["s"], pa.Array)
    assert torch.equal(got["v"], torch.ones(4, 2))
    got["x"][0] = 7
    assert columns["x"][1] == 7
    columns["x"].flags.writeable = False
    assert torch.equal(tensors(Batch(((Block(6, columns), 1, 3),)))["x"], torch.tensor([7.0, 2.0], dtype=torch.float64))


@pytest.fixture
def fateful(request: pytest.FixtureRequest) -> Iterator[TorchLoader]:
    loader = TorchLoader([Source(Fateful(), RealClock())], request.param, row_bytes=200)
    yield loader
    loader.close()


@pytest.mark.parametrize("fateful", [0], indirect=True)
def test_an_error_of_the_reader_ends_the_epoch_as_it_is(fateful: TorchLoader) -> None:
    with pytest.raises(StorageError, match=r"^1\.parquet: "):
        taken(fateful, EpochPlan(np.full(5, 100_000), 700))


@pytest.mark.parametrize("fateful", [1], indirect=True)
def test_a_worker_tells_its_errors_loads_only_what_it_needs_and_does_not_die_in_silence(fateful: TorchLoader) -> None:
    with pytest.raises(StorageError, match=r"^1\.parquet: ") as caught:
        taken(fateful, EpochPlan(np.full(2, 100_000), 700))
    loaded = set(str(caught.value).split())
    assert "dlio_benchmark.data_loader.tasks" in loaded
    assert loaded.isdisjoint({"mpi4py", "hydra", "omegaconf", "rich", "dlio_benchmark.engine", "dlio_benchmark.job"})
    said = r"loader worker 0 \(pid \d+\) .* signal 9 \(SIGKILL\), probably out of memory; .* \d+ MiB"
    alone = EpochPlan(np.array([0, 0, 100_000]), 700)
    with pytest.raises(WorkerLostError, match=said):
        taken(fateful, alone)
    with pytest.raises(WorkerLostError, match=said):
        taken(fateful, alone)


def test_closing_ends_the_workers_and_leaves_the_batches(folder: Path) -> None:
    before = set(multiprocessing.active_children())
    loader = TorchLoader([source(folder)], 1, row_bytes=10)
    plan = EpochPlan(np.array(ROWS), 10)
    batches = list(loader.batches(plan, path_of, Tally()))
    assert len(set(multiprocessing.active_children()) - before) == 1
    loader.close()
    gc.collect()
    assert not set(multiprocessing.active_children()) - before
    expected = DirectLoader(source(folder)).batches(plan, path_of, Tally())
    assert [batch.to_arrow() for batch in batches] == [batch.to_arrow() for batch in expected]


def test_the_plan_that_travels_with_a_task_has_no_list_of_files() -> None:
    plan = EpochPlan(np.full(100_000, 10), 7)
    first = next(tasks(plan, path_of, row_bytes=1))
    assert len(first.plan.rows) == 0
    assert replace(first.plan, rows=plan.rows).shuffling == plan.shuffling
