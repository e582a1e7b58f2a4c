"""What must hold between keys of a valid workload, as a list of rules that each name what breaks them."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from dlio_benchmark.common.enumerations import (
    ColumnType,
    Compression,
    DataLoaderType,
    FormatType,
    ReadMode,
    ReadType,
    StorageType,
)
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.errors import Issue

CODECS: Mapping[FormatType, tuple[Compression, ...]] = {
    FormatType.PARQUET: (
        Compression.NONE,
        Compression.SNAPPY,
        Compression.GZIP,
        Compression.ZSTD,
        Compression.LZ4,
    ),
    FormatType.SYNTHETIC: (Compression.NONE,),
}
LEVELS: Mapping[Compression, tuple[int, int]] = {Compression.GZIP: (1, 9), Compression.ZSTD: (1, 22)}
LOADERS = (
    DataLoaderType.THREADS,
    DataLoaderType.DIRECT,
    DataLoaderType.PYTORCH,
    DataLoaderType.NONE,
    DataLoaderType.SYNTHETIC,
    DataLoaderType.CUSTOM,
)
PARTITION_TYPES = (
    ColumnType.BOOL,
    ColumnType.STRING,
    ColumnType.INT8,
    ColumnType.INT16,
    ColumnType.INT32,
    ColumnType.INT64,
    ColumnType.UINT8,
    ColumnType.UINT16,
    ColumnType.UINT32,
    ColumnType.UINT64,
)
ELEMENT_TYPES = tuple(
    kind.value for kind in ColumnType if kind not in (ColumnType.STRING, ColumnType.BINARY, ColumnType.LIST)
)
_MOST_BYTES_OF_A_NAME = 200


def _words(members: tuple[object, ...]) -> str:
    return ", ".join(str(member) for member in members)


def _offered(workload: Workload) -> Iterator[Issue]:
    dataset, reader = workload.dataset, workload.reader
    if dataset.format not in CODECS:
        yield Issue("dataset.format", f"{dataset.format} is not offered here; use one of {_words(tuple(CODECS))}")
    elif dataset.compression not in CODECS[dataset.format]:
        allowed = _words(CODECS[dataset.format])
        yield Issue("dataset.compression", f"{dataset.compression} is no codec of {dataset.format}; one of {allowed}")
    if workload.storage.storage_type is not StorageType.LOCAL_FS:
        yield Issue("storage.storage_type", f"{workload.storage.storage_type} is not offered here; use local_fs")
    if reader.data_loader is not None and reader.data_loader not in LOADERS:
        yield Issue("reader.data_loader", f"{reader.data_loader} is not offered here; one of {_words(LOADERS)}")
    if reader.odirect:
        yield Issue("reader.odirect", "direct I/O is not offered for Parquet; set it to false")
    if reader.read_type is ReadType.IN_MEMORY:
        yield Issue("reader.read_type", "keeping samples in memory would hide the storage; use on_demand")
    if reader.data_loader is DataLoaderType.CUSTOM and not reader.data_loader_classname:
        yield Issue("reader.data_loader_classname", "must name an entry point when reader.data_loader is custom")


def _levels(workload: Workload) -> Iterator[Issue]:
    level, codec = workload.dataset.compression_level, workload.dataset.compression
    if level is None:
        return
    if codec not in LEVELS:
        yield Issue("dataset.compression_level", f"{codec} has no levels; leave the key out, got {level}")
    elif not LEVELS[codec][0] <= level <= LEVELS[codec][1]:
        low, high = LEVELS[codec]
        yield Issue("dataset.compression_level", f"must be from {low} to {high} for {codec}, got {level}")


def _columns(workload: Workload) -> Iterator[Issue]:
    columns, path = workload.dataset.parquet.columns, "dataset.parquet.columns"
    for number, column in enumerate(columns):
        yield from _column(column, f"{path}[{number}]")
    for name, count in Counter(column.name for column in columns).items():
        if count > 1:
            yield Issue(path, f"the name {name!r} stands {count} times; names must differ")
    if columns and not any(column.read for column in columns):
        yield Issue(path, "no column is read; set read: true for at least one")


def _column(column: Column, path: str) -> Iterator[Issue]:
    if not column.name:
        yield Issue(f"{path}.name", "must not be empty")
    if "\0" in column.name or not column.name.isprintable():
        yield Issue(f"{path}.name", f"must be printable, got {column.name!r}")


def _partition(workload: Workload) -> Iterator[Issue]:
    parquet = workload.dataset.parquet
    name, path = parquet.partition_by, "dataset.parquet.partition_by"
    if name is None:
        return
    names = [column.name for column in parquet.columns]
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(names) or 'none are configured'}"
        yield Issue(path, f"{name!r} is no column of dataset.parquet.columns; {hint}")
        return
    column = next(column for column in parquet.columns if column.name == name)
    if column.dtype not in PARTITION_TYPES or (column.size != 1 and column.dtype is not ColumnType.STRING):
        yield Issue(path, f"a partition column is a scalar of {_words(PARTITION_TYPES)}; {name!r} is {column.dtype}")
    if "/" in name or name in (".", ".."):
        yield Issue(path, f"{name!r} cannot be part of a folder name")
    if not any(column.read for column in parquet.columns if column.name != name):
        yield Issue(path, "besides the partition column at least one column must be read")


def _sample(workload: Workload) -> Iterator[Issue]:
    dataset = workload.dataset
    if dataset.parquet.columns:
        return
    if dataset.record_element_type not in ELEMENT_TYPES:
        allowed = ", ".join(ELEMENT_TYPES)
        yield Issue("dataset.record_element_type", f"must be one of {allowed}, got {dataset.record_element_type!r}")
    if dataset.record_dims and dataset.record_length_bytes_stdev:
        yield Issue("dataset.record_dims", "cannot be given together with record_length_bytes_stdev")
    if any(dim < 1 for dim in dataset.record_dims):
        yield Issue("dataset.record_dims", f"every dimension must be at least 1, got {list(dataset.record_dims)}")


def _counts(workload: Workload) -> Iterator[Issue]:
    dataset, flow = workload.dataset, workload.workflow
    if (flow.train or flow.generate_data) and dataset.num_files_train + dataset.num_files_eval < 1:
        yield Issue("dataset.num_files_train", "must be at least 1")
    elif flow.train and dataset.num_files_train < 1:
        yield Issue("dataset.num_files_train", "must be at least 1 to train")
    if flow.train and dataset.num_samples_per_file < 1:
        yield Issue("dataset.num_samples_per_file", "must be at least 1 to train")
    if flow.train and flow.evaluation and dataset.num_files_eval < 1:
        yield Issue("dataset.num_files_eval", "must be at least 1 to evaluate")
    generated = dataset.num_files_generated
    if generated is not None and generated < dataset.num_files_train:
        yield Issue("dataset.num_files_generated", f"must be at least num_files_train, got {generated}")
    if flow.checkpoint:
        yield Issue("workflow.checkpoint", "checkpoints are not offered yet; set it to false")


def _names(workload: Workload) -> Iterator[Issue]:
    prefix = workload.dataset.file_prefix
    if not prefix or "/" in prefix or not prefix.isprintable() or prefix.startswith("."):
        yield Issue("dataset.file_prefix", f"must be a plain file name without '/', got {prefix!r}")
    if len(prefix.encode()) > _MOST_BYTES_OF_A_NAME:
        yield Issue("dataset.file_prefix", f"must be at most {_MOST_BYTES_OF_A_NAME} bytes long")
    for where, path in (
        ("dataset.data_folder", workload.dataset.data_folder),
        ("output.log_file", workload.output.log_file),
    ):
        if "\0" in path or not path:
            yield Issue(where, f"must be a path, got {path!r}")
    if "/" in workload.output.log_file or workload.output.log_file in ("", ".", ".."):
        yield Issue("output.log_file", f"must be a file name in the output folder, got {workload.output.log_file!r}")
    if ".." in PurePosixPath(workload.dataset.data_folder).parts:
        yield Issue("dataset.data_folder", f"must not leave its root by '..', got {workload.dataset.data_folder!r}")


def _modes(workload: Workload) -> Iterator[Issue]:
    bytes_mode = workload.dataset.parquet.read_mode is ReadMode.BYTES
    if bytes_mode and workload.dataset.parquet.verify_checksums:
        yield Issue("dataset.parquet.verify_checksums", "nothing is decoded in read_mode bytes; set it to false")


RULES: tuple[Callable[[Workload], Iterator[Issue]], ...] = (
    _offered,
    _levels,
    _columns,
    _partition,
    _sample,
    _counts,
    _names,
    _modes,
)


def broken_rules(workload: Workload) -> list[Issue]:
    """Return every violation of the rules between keys."""
    return [issue for rule in RULES for issue in rule(workload)]
