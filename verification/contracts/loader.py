"""What every loader promises, alone and on several ranks: rows, steps and bytes of an epoch.

The checks are collective: every rank of ``comm`` calls them, and what is held is held of all ranks together.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlio_benchmark.clock import FakeClock, RealClock
from dlio_benchmark.comm import Comm, Simulated, Solo
from dlio_benchmark.common.enumerations import ColumnType, DatasetType, ReadMode
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_loader.base import Loader, Source
from dlio_benchmark.data_loader.direct import DirectLoader
from dlio_benchmark.data_loader.threads import ThreadsLoader
from dlio_benchmark.engine.train import Compute, Pass, run_pass
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
from dlio_benchmark.plan.order import mixed
from dlio_benchmark.plan.world import World
from dlio_benchmark.reader.base import OpenFile, Reader
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.base import InputFile, Storage
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage
from verification import oracle
from verification.contracts.reader import FOOTER_ALLOWANCE, MakeReader
from verification.evidence import Recorder
from verification.probes import bytes_read
from verification.relations import partition

MakeLoader = Callable[[Reader], Loader]

ROWS = (17, 0, 40, 6)
COLUMNS = (Column("id", ColumnType.INT64), Column("half", ColumnType.FLOAT64))
EPOCHS = (1, 2, 3)
BATCH = 3


def direct(reader: Reader) -> Loader:
    """Return the product's reference loader."""
    return DirectLoader(Source(reader, RealClock()))


def threads(reader: Reader) -> Loader:
    """Return the product's loader for every day."""
    return ThreadsLoader(Source(reader, RealClock()), 2)


@dataclass(frozen=True, slots=True)
class Side:
    """The reading side under test: how its reader, its loader and its plans are made."""

    reader: MakeReader = ParquetRows
    loader: MakeLoader = direct
    plan: type[EpochPlan] = EpochPlan


def path_of(number: int) -> str:
    """Return the path of a file by its number."""
    return f"{number}.parquet"


@cache
def _bodies() -> tuple[bytes, ...]:
    return tuple(_numbered(number, rows) for number, rows in enumerate(ROWS))


def _numbered(number: int, rows: int) -> bytes:
    ids = np.arange(rows) + 1000 * number
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ids, "half": ids / 2}), sink, row_group_size=8, compression="none")
    return sink.getvalue()


def files_in_memory() -> MemoryStorage:
    """Return a storage of the small data set; the ids of file number n begin at 1000 n."""
    storage = MemoryStorage()
    storage.files = {path_of(number): body for number, body in enumerate(_bodies())}
    return storage


def plan_of(world: World, epoch: int, *, shuffle: bool, kind: type[EpochPlan] = EpochPlan) -> EpochPlan:
    """Return a rank's plan of an epoch of the small data set."""
    order = Shuffling(mixed(epoch, 1), mixed(epoch, 2)) if shuffle else Shuffling()
    return kind(np.array(ROWS), BATCH, world, order)


def epochs_deliver_every_row_once(evidence: Recorder, comm: Comm, side: Side, *, shuffle: bool) -> None:
    """Hold that in each epoch the ranks together deliver each row once, whole, and read the storage for it.

    Only rows that fill no step of all ranks may be left out, and how many those are is not asked of the plan.
    """
    storage = files_in_memory()
    loader = side.loader(side.reader(storage, COLUMNS, ReadMode.ROW_GROUP))
    every = [1000 * number + row for number, rows in enumerate(ROWS) for row in range(rows)]
    whole_steps, rest = divmod(len(every), BATCH * comm.world.size)
    try:
        for epoch in EPOCHS:
            plan, tally = plan_of(comm.world, epoch, shuffle=shuffle, kind=side.plan), Tally()
            storage.reads.clear()
            batches = [np.asarray(batch.column("id")).tolist() for batch in _checked(loader, plan, tally, evidence)]
            shares = comm.gather([one for batch in batches for one in batch], f"rows of epoch {epoch}")
            evidence.equal(partition(shares, every, left_out=rest), "", what="rows of an epoch, shared")
            steps = comm.gather(len(batches), f"steps of epoch {epoch}")
            evidence.equal(steps, [whole_steps] * comm.world.size, what="steps of the ranks")
            asked = sum(length for _, _, length in storage.reads)
            evidence.equal(tally.bytes_read + tally.footer_bytes, asked, what="bytes told against bytes asked for")
            evidence.cover("epochs", epoch)
    finally:
        loader.close()
    evidence.cover("shuffle", "on" if shuffle else "off")
    evidence.cover("ranks", comm.world.size)


def _checked(loader: Loader, plan: EpochPlan, tally: Tally, evidence: Recorder) -> Iterator[Any]:
    for batch in loader.batches(plan, path_of, tally):
        whole = np.array_equal(np.asarray(batch.column("id")) / 2, np.asarray(batch.column("half")))
        evidence.equal(whole, True, what="columns of a batch belong together")
        yield batch


def ranks_make_the_same_steps(evidence: Recorder, comm: Comm, side: Side) -> None:
    """Hold that a pass ends on all ranks after as many steps as planned; it raises where they differ."""
    storage = files_in_memory()
    loader = side.loader(side.reader(storage, COLUMNS, ReadMode.ROW_GROUP))
    clock = FakeClock()
    compute = Compute(Duration("constant", (0.0,)), clock, np.random.default_rng(0))
    plan = plan_of(comm.world, 1, shuffle=True, kind=side.plan)
    try:
        todo = Pass(1, DatasetType.TRAIN, plan, path_of)
        phase = run_pass(todo, loader, compute, clock=clock, comm=comm)
    finally:
        loader.close()
    made = comm.gather(len(phase.times), "steps made")
    evidence.equal(made, [sum(ROWS) // (BATCH * comm.world.size)] * comm.world.size, what="steps made by the ranks")


# -- one file ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a file: which columns in which order, in which mode, and how many rows at a time."""

    columns: Sequence[Column]
    mode: ReadMode
    batch: int


def batches_are_the_rows_of_the_file(evidence: Recorder, side: Side, body: bytes, asked: Asked) -> None:
    """Hold that all whole batches of a file hold its rows, in order, as pyarrow reads them."""
    storage = MemoryStorage()
    storage.files[path_of(0)] = body
    names = [column.name for column in asked.columns]
    wanted = pq.read_table(io.BytesIO(body), columns=names).select(names).to_pylist()
    plan = EpochPlan(np.array([len(wanted)]), asked.batch)
    loader = side.loader(side.reader(storage, asked.columns, asked.mode))
    try:
        found = [batch.to_arrow().to_pylist() for batch in loader.batches(plan, path_of, Tally())]
    finally:
        loader.close()
    whole = [wanted[start : start + asked.batch] for start in range(0, len(wanted), asked.batch)]
    whole = [rows for rows in whole if len(rows) == asked.batch]
    evidence.equal([len(rows) for rows in found], [len(rows) for rows in whole], what="rows of each batch of a file")
    evidence.equal(repr(found) == repr(whole), True, what="batches are the rows that pyarrow reads, in order")


# -- bytes ----------------------------------------------------------------------------------------------------------
class Counting:
    """A storage that counts what is asked of the one it stands before."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self._by_thread: Counter[int] = Counter()

    @property
    def bytes(self) -> int:
        """Bytes given so far, to all threads."""
        return self._by_thread.total()

    @property
    def own_bytes(self) -> int:
        """Bytes given so far to the calling thread."""
        return self._by_thread[get_ident()]

    def add(self, many: int) -> None:
        """Count bytes that were given to the calling thread."""
        self._by_thread[get_ident()] += many

    def open_input(self, path: str) -> InputFile:
        """Open a file whose reads are counted."""
        return _Counted(self._inner.open_input(path), self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Counted:
    def __init__(self, inner: InputFile, storage: Counting) -> None:
        self._inner, self._storage = inner, storage
        self.size = inner.size

    def pread(self, offset: int, *into: memoryview) -> int:
        got = self._inner.pread(offset, *into)
        self._storage.add(got)
        return got

    def close(self) -> None:
        self._inner.close()


class _Watched:
    """A reader that notes how much of the storage was read while files were opened."""

    decode = "full"

    def __init__(self, inner: Reader, storage: Counting) -> None:
        self._inner, self._storage = inner, storage
        self.opening_bytes = 0

    def open(self, path: str) -> OpenFile:
        before = self._storage.own_bytes
        file = self._inner.open(path)
        self.opening_bytes += self._storage.own_bytes - before
        return file


@dataclass(frozen=True, slots=True)
class Wide:
    """Files of equal size on a disk, and the columns that are wanted of them."""

    folder: Path
    paths: Sequence[Path]
    columns: Sequence[Column]
    rows: int = 64


def wide_files(folder: Path) -> Wide:
    """Write four files of six columns of 128 KiB each in two row groups."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(2)
    kind = pa.list_(pa.field("element", pa.float64(), nullable=False), 256)
    schema = pa.schema([pa.field(f"c{number}", kind, nullable=False) for number in range(6)])
    for number in range(4):
        arrays = [pa.FixedSizeListArray.from_arrays(dice.random(64 * 256), type=kind) for _ in schema]
        pq.write_table(pa.table(arrays, schema=schema), folder / path_of(number), row_group_size=32, compression="none")
    columns = tuple(Column(f"c{number}", ColumnType.FLOAT64, 256) for number in (4, 1))
    return Wide(folder, [folder / path_of(number) for number in range(4)], columns)


def bytes_are_those_planned(evidence: Recorder, comm: Comm, side: Side, files: Wide) -> None:
    """Hold the bytes of each epoch, by a counter below the reader and by the kernel, to the footers of the plan."""
    storage = Counting(LocalStorage(str(files.folder)))
    counted: Any = storage
    reader = _Watched(side.reader(counted, files.columns, ReadMode.ROW_GROUP), storage)
    loader = side.loader(reader)
    names = [column.name for column in files.columns]
    for epoch in (1, 2):
        plan = EpochPlan(np.full(4, files.rows), 16, comm.world, Shuffling(files=mixed(epoch)))
        visited = [files.paths[visit.file] for visit in plan.visits()]
        planned = sum(oracle.footer(path).needed(names) for path in visited)
        tally, before, opening = Tally(), storage.bytes, reader.opening_bytes

        def one_epoch(plan: EpochPlan = plan, tally: Tally = tally) -> None:
            evidence.equal(sum(map(len, loader.batches(plan, path_of, tally))), len(plan) * 16, what="rows delivered")

        by_system = bytes_read(one_epoch)
        read = storage.bytes - before
        most = FOOTER_ALLOWANCE * len(visited)
        evidence.hold(read - planned, what="bytes read beyond the plan", at_least=0, at_most=most, unit="B")
        evidence.hold(by_system, what="bytes by the system", at_least=planned, at_most=planned + 2 * most, unit="B")
        told = tally.bytes_read + tally.footer_bytes - read
        evidence.hold(told, what="bytes reported against bytes counted", at_least=0, at_most=0, unit="B")
        opened = reader.opening_bytes - opening - tally.footer_bytes
        evidence.hold(opened, what="bytes of data read while opening", at_most=0, unit="B")
        comm.barrier("epoch counted")
    loader.close()


# -- contract -------------------------------------------------------------------------------------------------------
class LoaderContract(ABC):
    """Subclass this, say `make`, and pytest runs the contract on your loader, alone and on simulated ranks."""

    @abstractmethod
    def make(self, reader: Reader) -> Loader:
        """Return the loader under test."""

    @pytest.mark.parametrize("size", [1, 2, 3])
    @pytest.mark.parametrize("shuffle", [False, True])
    def test_epochs_deliver_every_row_once(self, evidence: Recorder, size: int, shuffle: bool) -> None:
        side = Side(loader=self.make)
        Simulated.run(size, lambda comm: epochs_deliver_every_row_once(evidence, comm, side, shuffle=shuffle))

    def test_ranks_make_the_same_steps(self, evidence: Recorder) -> None:
        for size in (1, 2, 3):
            Simulated.run(size, lambda comm: ranks_make_the_same_steps(evidence, comm, Side(loader=self.make)))

    def test_bytes_are_those_planned(self, evidence: Recorder, tmp_path: Path) -> None:
        bytes_are_those_planned(evidence, Solo(), Side(loader=self.make), wide_files(tmp_path / "wide"))
