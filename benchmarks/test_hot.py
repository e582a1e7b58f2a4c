"""Hot functions under pytest-benchmark: ``pytest benchmarks``."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from benchmarks.contenders import generate_here, pyarrow_batches, read_here
from benchmarks.datasets import DLRM, DataSet
from dlio_benchmark.batch import Batch, Block, batches_of
from dlio_benchmark.clock import RealClock
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_loader.parcel import parcel_of, unpacked
from dlio_benchmark.data_loader.synthetic import SyntheticLoader
from dlio_benchmark.data_loader.tasks import tasks
from dlio_benchmark.engine.train import Compute, Pass, run_pass
from dlio_benchmark.memory import Pieces
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
from dlio_benchmark.plan.order import Order
from dlio_benchmark.plan.world import World
from dlio_benchmark.synth import Series

ROWS = 65_536
TYPES = (ColumnType.FLOAT32, ColumnType.FLOAT64, ColumnType.INT8, ColumnType.BOOL, ColumnType.STRING)
COLUMNS = {f"c{n}": np.arange(ROWS, dtype=np.float32) for n in range(40)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("data"))


def made(root: str, codec: Compression = Compression.NONE) -> DataSet:
    data = DataSet(f"hot-{codec}", DLRM, 1, 2 * ROWS, ROWS, codec)
    data.make(root)
    return data


def plan(files: int, *, batch: int = 512, shuffled: bool = True, ranks: int = 8) -> EpochPlan:
    return EpochPlan(np.full(files, 10_000), batch, World(3, ranks), Shuffling(1, 2) if shuffled else Shuffling())


@pytest.mark.parametrize("n", [1_000, 10**9])
def test_order(benchmark: Any, n: int) -> None:
    benchmark(lambda: Order(n, 7)[: min(n, ROWS)])


def test_visits(benchmark: Any) -> None:
    many = plan(100_000)
    assert benchmark(lambda: sum(visit.stop - visit.start for visit in many.visits())) == len(many) * many.batch


def test_tasks(benchmark: Any) -> None:
    many = plan(10_000)
    benchmark(lambda: sum(1 for _ in tasks(many, str, row_bytes=160)))


@pytest.mark.parametrize("dtype", TYPES)
def test_synth(benchmark: Any, dtype: ColumnType) -> None:
    series = Series(1, DatasetType.TRAIN, 0, Column("c", dtype, 8 if dtype is ColumnType.STRING else 1))
    benchmark(lambda: series.payload(0, ROWS))


@pytest.mark.parametrize("codec", [Compression.NONE, Compression.SNAPPY, Compression.ZSTD])
def test_generate_and_encode(benchmark: Any, root: str, codec: Compression) -> None:
    benchmark(generate_here(DataSet("made", DLRM, 1, ROWS, ROWS, codec), root, threads=0))


@pytest.mark.parametrize("codec", [Compression.NONE, Compression.SNAPPY, Compression.ZSTD])
@pytest.mark.parametrize("loader", ["direct", "threads"])
def test_read_and_decode(benchmark: Any, root: str, codec: Compression, loader: str) -> None:
    benchmark(read_here(made(root, codec), root, loader=loader, batch=4_096))


def test_read_and_decode_by_pyarrow(benchmark: Any, root: str) -> None:
    benchmark(pyarrow_batches(made(root), root))


@pytest.mark.parametrize("batch", [100, 10_000])
def test_batches_of_blocks(benchmark: Any, batch: int) -> None:
    block = Block(ROWS, COLUMNS)
    benchmark(lambda: sum(1 for _ in batches_of(itertools.repeat((block, 0, ROWS), 4), batch, Pieces())))


def test_columns_of_a_batch(benchmark: Any) -> None:
    batch = Batch(((Block(ROWS, COLUMNS), 100, 4_196),))
    benchmark(lambda: [batch.column(name) for name in batch.names])


def test_pack_and_unpack(benchmark: Any) -> None:
    def through() -> None:
        parcel = parcel_of([(Block(ROWS, COLUMNS), 0, ROWS)])
        memory = np.empty(parcel.bytes, np.uint8)
        parcel.pack(memory)
        list(unpacked(memory, parcel.layouts()))

    benchmark(through)


def test_window_shuffle(benchmark: Any) -> None:
    block, memory, keys = Block(ROWS, COLUMNS), Pieces(), itertools.count()
    benchmark(lambda: block.take(Order(ROWS, next(keys), 5)[:], memory))


def test_steps_of_the_loop(benchmark: Any) -> None:
    steps = EpochPlan(np.array([100_000]), 10)
    compute = Compute(Duration(), RealClock(), np.random.default_rng(0))
    todo = Pass(1, DatasetType.TRAIN, steps, str)
    benchmark(lambda: run_pass(todo, SyntheticLoader(), compute, clock=RealClock(), comm=Solo()))


def test_tallies(benchmark: Any) -> None:
    total, one = Tally(), Tally(rows=1, bytes_read=5)
    benchmark(lambda: total.add(one))
