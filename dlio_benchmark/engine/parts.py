"""From a workload to the parts that do the work; each choice is a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points

import numpy as np

from dlio_benchmark.clock import Clock
from dlio_benchmark.common.enumerations import DataLoaderType, FormatType, ReadMode, Shuffle
from dlio_benchmark.config.columns import row_bytes, wanted_columns
from dlio_benchmark.config.model import Workload
from dlio_benchmark.cores import read_threads
from dlio_benchmark.data_generator.parquet_generator import ParquetWriter
from dlio_benchmark.data_loader.ahead import Budget
from dlio_benchmark.data_loader.base import Loader, Preprocessing, Source
from dlio_benchmark.data_loader.direct import DirectLoader
from dlio_benchmark.data_loader.synthetic import SyntheticLoader
from dlio_benchmark.data_loader.threads import ThreadsLoader
from dlio_benchmark.errors import ConfigError, Issue
from dlio_benchmark.reader.base import Reader
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.base import Storage

LOADER_GROUP = "dlio_benchmark.loaders"


WRITERS: Mapping[FormatType, Callable[[Workload, int, Callable[[int], None]], ParquetWriter]] = {
    FormatType.PARQUET: ParquetWriter,
}


def reader_of(workload: Workload, storage: Storage, clock: Clock) -> Reader:
    """Return the reader of a workload's training files."""
    parquet, reader = workload.dataset.parquet, workload.reader
    windowed = reader.sample_shuffle is not Shuffle.OFF and reader.shuffle_window > 1
    return ParquetRows(
        storage,
        wanted_columns(workload),
        ReadMode.ROW_GROUP if windowed and parquet.read_mode is ReadMode.DEFAULT else parquet.read_mode,
        partitions=() if parquet.partition_by is None else (parquet.partition_by,),
        verify_checksums=parquet.verify_checksums,
        group_window=reader.shuffle_window if windowed else 1,
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class LoaderChoice:
    """The loader of a run, and why it is this one."""

    loader: Loader
    note: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a loader is made from; ``threads`` are the threads or workers that read, ``rank`` that of this process."""

    workload: Workload
    source: Source
    threads: int
    rank: int = 0

    def sources(self) -> list[Source]:
        """Return a source for each worker, with dice of its own."""
        work = self.source.preprocessing
        if work is None:
            return [self.source] * max(1, self.threads)
        dice = [_dice(self.workload, self.rank, worker) for worker in range(max(1, self.threads))]
        return [replace(self.source, preprocessing=replace(work, dice=one)) for one in dice]


def _dice(workload: Workload, rank: int, worker: int) -> np.random.Generator:
    return np.random.default_rng([workload.train.seed, rank, worker, 7])


def _threads(wanted: Wanted) -> Loader:
    if wanted.threads == 0:
        return DirectLoader(wanted.source)
    reader = wanted.workload.reader
    blocks = max(2, wanted.threads)
    ahead = reader.prefetch_size * reader.batch_size
    return ThreadsLoader(wanted.source, wanted.threads, Budget(reader.prefetch_bytes, blocks, ahead))


def _direct(wanted: Wanted) -> Loader:
    return DirectLoader(wanted.source)


def _synthetic(_wanted: Wanted) -> Loader:
    return SyntheticLoader()


def _pytorch(wanted: Wanted) -> Loader:
    try:
        from dlio_benchmark.data_loader.torch import TorchLoader  # noqa: PLC0415 - an extra that takes seconds
    except ImportError as error:
        remedy = "install it with: pip install 'dlio_benchmark[pytorch]', or set reader.data_loader=threads"
        raise ConfigError([Issue("reader.data_loader", f"pytorch cannot be used: {error}; {remedy}")]) from error
    reader = wanted.workload.reader
    return TorchLoader(
        wanted.sources(),
        wanted.threads,
        row_bytes=row_bytes(wanted_columns(wanted.workload)) or wanted.workload.dataset.record_length_bytes,
        prefetch=reader.prefetch_size,
        prefetch_bytes=reader.prefetch_bytes,
        context=reader.multiprocessing_context,
    )


def _custom(wanted: Wanted) -> Loader:
    name = wanted.workload.reader.data_loader_classname
    offered = {point.name: point for point in entry_points(group=LOADER_GROUP)}
    if name not in offered:
        known = ", ".join(sorted(offered)) or "none is installed"
        what = f"there is no entry point {name!r} in the group {LOADER_GROUP!r}; there are: {known}"
        raise ConfigError([Issue("reader.data_loader_classname", what)])
    loader: Loader = offered[name].load()(wanted)
    return loader


LOADERS: Mapping[DataLoaderType, Callable[[Wanted], Loader]] = {
    DataLoaderType.THREADS: _threads,
    DataLoaderType.NONE: _threads,
    DataLoaderType.DIRECT: _direct,
    DataLoaderType.PYTORCH: _pytorch,
    DataLoaderType.CUSTOM: _custom,
    DataLoaderType.SYNTHETIC: _synthetic,
}


def loader_of(workload: Workload, reader: Reader, *, clock: Clock, rank: int, ranks_on_host: int) -> LoaderChoice:
    """Return the loader that a workload asks for; without a word the threads loader."""
    per_sample = workload.reader.preprocess_time
    work = None if per_sample.is_zero else Preprocessing(per_sample, clock, _dice(workload, rank, 0))
    wanted = Wanted(workload, Source(reader, clock, work), read_threads(workload, ranks_on_host), rank)
    asked = workload.reader.data_loader
    if workload.dataset.format is FormatType.SYNTHETIC:
        return LoaderChoice(SyntheticLoader(), "no data is read: dataset.format is synthetic")
    if asked is None:
        return LoaderChoice(_threads(wanted), f"framework {workload.framework} is emulated by the threads loader")
    note = "no data is read: reader.data_loader is synthetic" if asked is DataLoaderType.SYNTHETIC else ""
    return LoaderChoice(LOADERS[asked](wanted), note)
