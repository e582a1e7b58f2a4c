"""Two machines: the life of a reader over files that come to harm, and that of a benchmark over its data set."""

from __future__ import annotations

import functools
import gc
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dlio_benchmark.clock import FakeClock
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import DataSetMismatchError, DlioError, InterruptedRunError, ParquetFileError, StorageError
from dlio_benchmark.job import Job
from dlio_benchmark.reader.parquet_blocks import ParquetBlocks
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.report.log import Log
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.values import as_arrow
from verification import oracle
from verification.faults import BY_KIND
from verification.probes import open_files, snapshot
from verification.strategies import Layout, numbered

COLUMNS = (
    *(Column("row", ColumnType.INT64), Column("c0", ColumnType.FLOAT64), Column("c1", ColumnType.STRING)),
    *(Column("c2", ColumnType.FLOAT32, 4), Column("c3", ColumnType.INT32)),
)
ROWS, FILES = 23, 3
HARM = ("empty", "truncated", "magic gone", "not parquet", "flipped bit", "missing")
T = TypeVar("T")
numbers = st.integers(0, FILES - 1)


@functools.cache
def whole_file(number: int) -> bytes:
    """Return a file by its number; its rows follow those of the file before it."""
    return Layout(5, codec="zstd", checksums=True).written(numbered(ROWS, first=number * ROWS, columns=4))


def tried(call: Callable[[], T]) -> T | DlioError:
    """Return what ``call`` returns, or the error that it raises on purpose."""
    try:
        return call()
    except DlioError as error:
        return error


class ReaderLife(RuleBasedStateMachine):
    """Opens, reads and closes files of which some are damaged; the model is the rows that were written."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.base = pa.total_allocated_bytes()
        self.open: dict[int, tuple[ParquetBlocks, tuple[Column, ...], bool]] = {}
        self.closed: list[ParquetBlocks] = []
        self.harmed: set[int] = set()
        self.columns: tuple[Column, ...] = COLUMNS
        self.epoch: Counter[int] = Counter()
        for number in range(FILES):
            self.restore(number)

    def teardown(self) -> None:
        """Close everything; nothing may stay behind."""
        self.finalize()
        del self.reader
        if pa.total_allocated_bytes() > self.base:
            gc.collect()
        assert pa.total_allocated_bytes() <= self.base
        shutil.rmtree(self.folder)

    @initialize(window=st.integers(1, 3))
    def begin(self, window: int) -> None:
        self.window = window
        self.change_columns([column.name for column in COLUMNS])

    @rule(number=numbers)
    def restore(self, number: int) -> None:
        """Put the whole file in the place of whatever is there; open ones keep what they opened."""
        aside = self.folder / "aside"
        aside.write_bytes(whole_file(number))
        aside.replace(self.folder / f"{number}.parquet")
        self.harmed.discard(number)

    @rule(number=numbers, kind=st.sampled_from(HARM), seed=st.integers(0, 99))
    def harm(self, number: int, kind: str, seed: int) -> None:
        """Put a damaged file in its place, or take it away."""
        self.restore(number)
        path = self.folder / f"{number}.parquet"
        if kind == "missing":
            path.unlink()
        else:
            aside = self.folder / "aside"
            aside.write_bytes(BY_KIND[kind].apply(path.read_bytes(), Random(seed)))
            aside.replace(path)
        self.harmed.add(number)

    @rule(names=st.lists(st.sampled_from([column.name for column in COLUMNS]), min_size=1, unique=True))
    def change_columns(self, names: list[str]) -> None:
        """From now on another reader opens files, with other columns."""
        self.columns = tuple(column for name in names for column in COLUMNS if column.name == name)
        storage = LocalStorage(str(self.folder))
        self.reader = ParquetRows(storage, self.columns, verify_checksums=True, block_bytes=self.window * 200)

    @rule(number=numbers)
    def open_file(self, number: int) -> None:
        """Open or reopen a file."""
        self.close_file(number)
        file = tried(lambda: self.reader.open(f"{number}.parquet"))
        if isinstance(file, DlioError):
            assert number in self.harmed
            assert f"{number}.parquet" in str(file)
        else:
            self.open[number] = file, self.columns, number in self.harmed

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """Read a block; its rows are right, or its file was damaged when it was opened."""
        number = data.draw(st.sampled_from(sorted(self.open)))
        file, columns, harmed = self.open[number]
        index = data.draw(st.integers(0, len(file.shapes) - 1))
        got = tried(lambda: file.read(index).block)
        if isinstance(got, DlioError):
            assert harmed
            assert isinstance(got, ParquetFileError)
            assert f"{number}.parquet" in str(got)
            return
        first = sum(shape.rows for shape in file.shapes[:index])
        wanted = numbered(got.rows, first=number * ROWS + first, columns=4)
        assert list(got.columns) == [column.name for column in columns]
        for name, values in got.columns.items():
            assert oracle.plain(as_arrow(values)) == wanted[name].to_pylist()

    @rule()
    def next_epoch(self) -> None:
        """Read every file that is whole from its first row to its last, whatever became of the others."""
        seen: Counter[int] = Counter()
        reader = ParquetRows(LocalStorage(str(self.folder)), COLUMNS[:1])
        for number in set(range(FILES)) - self.harmed:
            file = reader.open(f"{number}.parquet")
            for index in range(len(file.shapes)):
                seen.update(file.read(index).block.columns["row"].tolist())
            file.close()
        whole = [row for number in set(range(FILES)) - self.harmed for row in range(number * ROWS, (number + 1) * ROWS)]
        assert seen == Counter(whole)

    @rule(number=numbers)
    def close_file(self, number: int) -> None:
        """Close a file; closing it again does nothing."""
        if number in self.open:
            file = self.open.pop(number)[0]
            file.close()
            file.close()
            self.closed.append(file)

    @precondition(lambda self: self.closed)
    @rule()
    def read_after_close(self) -> None:
        """Nothing can be read of a file that was closed."""
        with pytest.raises((StorageError, ParquetFileError, IndexError, ValueError)):
            self.closed[-1].read(0)

    @rule()
    def finalize(self) -> None:
        """Close all files."""
        for number in list(self.open):
            self.close_file(number)
        self.closed.clear()

    @invariant()
    def only_what_is_open_is_open(self) -> None:
        assert len(open_files(self.folder)) == len(self.open)


class BenchmarkLife(RuleBasedStateMachine):
    """Generates, trains, interrupts and regenerates; the model is the codec and the seed of the data set, if any."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.made: tuple[str, int] | None = None
        self.files: dict[str, Any] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def job(self, codec: str, seed: int, clock: FakeClock | None = None, **flow: bool) -> None:
        work = {
            "workflow": {"generate_data": False, "train": False} | flow,
            "dataset": {
                "format": "parquet",
                "data_folder": str(self.folder / "data"),
                "num_files_train": 2,
                "num_samples_per_file": 8,
                "compression": codec,
                "seed": seed,
                "parquet": {"columns": [{"name": "x", "dtype": "float32", "size": 4}], "row_group_size": 3},
            },
            "reader": {"batch_size": 4, "read_threads": 1, "evict_cache": False},
            "train": {"epochs": 2, "computation_time": 0.5},
        }
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        Job(work, Solo(), str(out), Log(quiet=True), strict=True, clock=clock or FakeClock()).run()

    codecs = st.sampled_from(["none", "zstd"])
    seeds = st.sampled_from([1, 2])

    @rule(codec=codecs, seed=seeds)
    def generate(self, codec: str, seed: int) -> None:
        """Generate; the same again changes nothing, another data set is refused and changes nothing."""
        before = self.data()
        if self.made in (None, (codec, seed)):
            self.job(codec, seed, generate_data=True)
            assert self.made is None or self.data() == before
            self.made = codec, seed
            paths = sorted((self.folder / "data").rglob("*.parquet"))
            assert [oracle.footer(path).row_groups for path in paths] == [(3, 3, 2)] * 2
            assert oracle.codecs(paths).keys() == {codec}
        else:
            with pytest.raises(DataSetMismatchError):
                self.job(codec, seed, generate_data=True)
            assert self.data() == before

    @rule(codec=codecs, seed=seeds)
    def train(self, codec: str, seed: int) -> None:
        """Train on what is there; without it, or with another, that is an error."""
        before = self.data()
        if self.made == (codec, seed):
            self.job(codec, seed, train=True)
        else:
            with pytest.raises(DlioError):
                self.job(codec, seed, train=True)
        assert self.data() == before

    @precondition(lambda self: self.made)
    @rule(step=st.integers(1, 7))
    def interrupt(self, step: int) -> None:
        """Interrupt training; nothing of the data changes, and training runs whole again."""
        before = self.data()
        assert self.made is not None
        with pytest.raises(InterruptedRunError):
            self.job(*self.made, clock=_Interrupting(step), train=True)
        assert self.data() == before
        assert open_files(self.folder) == []
        self.job(*self.made, train=True)

    @precondition(lambda self: self.made)
    @rule(number=st.integers(0, 1), keep=st.booleans())
    def lose_a_file(self, number: int, keep: bool) -> None:
        """Lose a file, or the end of it: generation makes exactly that one again."""
        before = self.data()
        assert self.made is not None
        path = sorted((self.folder / "data").rglob("*.parquet"))[number]
        path.write_bytes(path.read_bytes()[:-20]) if keep else path.unlink()
        with pytest.raises(DlioError):
            self.job(*self.made, train=True)
        self.job(*self.made, generate_data=True)
        assert self.data() == before

    @precondition(lambda self: self.made)
    @rule()
    def remove(self) -> None:
        """Remove the data set, so that another may take its place."""
        shutil.rmtree(self.folder / "data")
        self.made = None

    @invariant()
    def no_file_is_left_open(self) -> None:
        assert open_files(self.folder) == []

    def data(self) -> dict[str, Any]:
        """Return all files of the data set by their digests."""
        found = snapshot(self.folder / "data")
        return {path: seen for path, seen in found.items() if path.endswith(".parquet")}


class _Interrupting(FakeClock):
    """A clock at whose n-th sleep the run is asked to end."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def sleep(self, seconds: float) -> None:
        """Sleep, or ask the run to end."""
        self.left -= 1
        if not self.left:
            raise InterruptedRunError("asked to end")
        super().sleep(seconds)


TestReaderLife = ReaderLife.TestCase
TestReaderLife.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestBenchmarkLife = BenchmarkLife.TestCase
TestBenchmarkLife.settings = settings(max_examples=6, stateful_step_count=8, deadline=None)
