"""What must hold between keys of a valid workload, as a list of rules that each name what breaks them."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
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
from dlio_benchmark.config.model import Workload
from dlio_benchmark.errors import Issue, shown

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
# What a value must be, where not all of a vocabulary is offered.
OFFERED: Mapping[type[Enum], tuple[Enum, ...]] = {
    FormatType: tuple(CODECS),
    Compression: CODECS[FormatType.PARQUET],
    DataLoaderType: LOADERS,
    StorageType: (StorageType.LOCAL_FS,),
    ReadType: (ReadType.ON_DEMAND,),
}
CONTEXTS = ("spawn", "forkserver", "fork")
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
MOST_ELEMENTS = 2**31 - 1  # lists of a fixed size count their elements in 32 bits
_MOST_BYTES_OF_A_NAME = 200
_COLUMNS = "dataset.parquet.columns"
_NAMED = "storage.storage_options.columns"


def _words(members: tuple[object, ...]) -> str:
    return ", ".join(str(member) for member in members)


def _format(workload: Workload) -> Iterator[Issue]:
    if workload.dataset.format not in CODECS:
        offered = _words(tuple(CODECS))
        yield Issue("dataset.format", f"{workload.dataset.format} is not offered here; use one of {offered}")


def _codec(workload: Workload) -> Iterator[Issue]:
    kind, codec = workload.dataset.format, workload.dataset.compression
    if kind in CODECS and codec not in CODECS[kind]:
        yield Issue("dataset.compression", f"{codec} is no codec of {kind}; use one of {_words(CODECS[kind])}")


def _storage(workload: Workload) -> Iterator[Issue]:
    if workload.storage.storage_type is not StorageType.LOCAL_FS:
        yield Issue("storage.storage_type", f"{workload.storage.storage_type} is not offered here; use local_fs")


def _loader(workload: Workload) -> Iterator[Issue]:
    loader = workload.reader.data_loader
    if loader is not None and loader not in LOADERS:
        yield Issue("reader.data_loader", f"{loader} is not offered here; use one of {_words(LOADERS)}")
    if loader is DataLoaderType.CUSTOM and not workload.reader.data_loader_classname:
        yield Issue("reader.data_loader_classname", "must name an entry point when reader.data_loader is custom")
    if loader is not DataLoaderType.CUSTOM and workload.reader.data_loader_classname:
        yield Issue("reader.data_loader_classname", "is used when reader.data_loader is custom; set that, too")


def _reader(workload: Workload) -> Iterator[Issue]:
    if workload.reader.reader_classname:
        what = f"a reader of your own is not offered; leave the key out, got {shown(workload.reader.reader_classname)}"
        yield Issue("reader.reader_classname", what)


def _context(workload: Workload) -> Iterator[Issue]:
    context = workload.reader.multiprocessing_context
    if context is not None and context not in CONTEXTS:
        yield Issue("reader.multiprocessing_context", f"must be one of {', '.join(CONTEXTS)}, got {shown(context)}")


def _direct_io(workload: Workload) -> Iterator[Issue]:
    if workload.reader.odirect:
        yield Issue("reader.odirect", "direct I/O is not offered for Parquet; set it to false")


def _read_type(workload: Workload) -> Iterator[Issue]:
    if workload.reader.read_type is ReadType.IN_MEMORY:
        yield Issue("reader.read_type", "keeping samples in memory would hide the storage; use on_demand")


def _levels(workload: Workload) -> Iterator[Issue]:
    level, codec = workload.dataset.compression_level, workload.dataset.compression
    if level is None:
        return
    if codec not in LEVELS:
        yield Issue("dataset.compression_level", f"{codec} has no levels; leave the key out, got {level}")
    elif not LEVELS[codec][0] <= level <= LEVELS[codec][1]:
        low, high = LEVELS[codec]
        yield Issue("dataset.compression_level", f"must be from {low} to {high} for {codec}, got {level}")


def _column_names(workload: Workload) -> Iterator[Issue]:
    names = [column.name for column in workload.dataset.parquet.columns]
    for number, name in enumerate(names):
        if not name:
            yield Issue(f"{_COLUMNS}[{number}].name", "must not be empty")
        elif not name.isprintable():
            yield Issue(f"{_COLUMNS}[{number}].name", f"must be printable, got {name!r}")
    for name, count in Counter(names).items():
        if count > 1:
            yield Issue(_COLUMNS, f"the name {name!r} stands {count} times; names must differ")


def _columns_read(workload: Workload) -> Iterator[Issue]:
    columns = workload.dataset.parquet.columns
    if columns and not any(column.read for column in columns):
        yield Issue(_COLUMNS, "no column is read; set read: true for at least one")


def _columns_named(workload: Workload) -> Iterator[Issue]:
    named = (workload.storage.storage_options or {}).get("columns")
    known = [column.name for column in workload.dataset.parquet.columns if column.read]
    if named is None:
        return
    if not isinstance(named, list | tuple) or not named or not all(isinstance(name, str) for name in named):
        yield Issue(_NAMED, "must be a list of column names")
        return
    if len(set(named)) < len(named):
        yield Issue(_NAMED, "names must differ")
    for name in (name for name in named if known and name not in known):
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"those are {', '.join(known)}"
        yield Issue(_NAMED, f"{name!r} is none of the columns of dataset.parquet.columns that are read; {hint}")


def _column_sizes(workload: Workload) -> Iterator[Issue]:
    for number, column in enumerate(workload.dataset.parquet.columns):
        if column.size > MOST_ELEMENTS:
            yield Issue(f"{_COLUMNS}[{number}].size", f"must be at most {MOST_ELEMENTS}, got {column.size}")


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
    where = "dataset.record_dims" if dataset.record_dims else "dataset.record_length_bytes"
    elements = math.prod(dataset.record_dims) if dataset.record_dims else dataset.record_length_bytes
    if elements > MOST_ELEMENTS:
        yield Issue(where, f"a sample has at most {MOST_ELEMENTS} elements, got {elements:.4g}")


def _files(workload: Workload) -> Iterator[Issue]:
    dataset, flow = workload.dataset, workload.workflow
    if flow.train and dataset.num_files_train < 1:
        yield Issue("dataset.num_files_train", "must be at least 1 to train")
    elif flow.generate_data and dataset.num_files_train + dataset.num_files_eval < 1:
        yield Issue("dataset.num_files_train", "must be at least 1 to generate data")
    if flow.train and flow.evaluation and dataset.num_files_eval < 1:
        yield Issue("dataset.num_files_eval", "must be at least 1 to evaluate")


def _rows(workload: Workload) -> Iterator[Issue]:
    if workload.workflow.train and workload.dataset.num_samples_per_file < 1:
        yield Issue("dataset.num_samples_per_file", "must be at least 1 to train")


def _steps(workload: Workload) -> Iterator[Issue]:
    train = workload.train
    if workload.workflow.train and train.epochs < 1:
        yield Issue("train.epochs", "must be at least 1 to train")
    if workload.workflow.train and train.total_training_steps == 0:
        yield Issue("train.total_training_steps", "must be at least 1 to train, or -1 for all steps of an epoch")


def _generated(workload: Workload) -> Iterator[Issue]:
    generated = workload.dataset.num_files_generated
    if generated is not None and generated < workload.dataset.num_files_train:
        yield Issue("dataset.num_files_generated", f"must be at least num_files_train, got {generated}")


def _checkpoints(workload: Workload) -> Iterator[Issue]:
    if workload.workflow.checkpoint:
        yield Issue("workflow.checkpoint", "checkpoints are not offered yet; set it to false")


def _prefix(workload: Workload) -> Iterator[Issue]:
    prefix = workload.dataset.file_prefix
    if not prefix or "/" in prefix or not prefix.isprintable() or prefix.startswith("."):
        yield Issue("dataset.file_prefix", f"must be a plain file name without '/', got {prefix!r}")
    elif len(prefix.encode()) > _MOST_BYTES_OF_A_NAME:
        yield Issue("dataset.file_prefix", f"must be at most {_MOST_BYTES_OF_A_NAME} bytes long")


def _folder(workload: Workload) -> Iterator[Issue]:
    folder = workload.dataset.data_folder
    yield from _path("dataset.data_folder", folder)
    if ".." in PurePosixPath(folder).parts:
        yield Issue("dataset.data_folder", f"must not leave its root by '..', got {folder!r}")


def _root(workload: Workload) -> Iterator[Issue]:
    yield from _path("storage.storage_root", workload.storage.storage_root)


def _output(workload: Workload) -> Iterator[Issue]:
    if workload.output.folder is not None:
        yield from _path("output.folder", workload.output.folder)


def _log(workload: Workload) -> Iterator[Issue]:
    name = workload.output.log_file
    if "/" in name or name in ("", ".", "..") or not name.isprintable():
        yield Issue("output.log_file", f"must be a file name in the output folder, got {name!r}")


def _path(where: str, path: str) -> Iterator[Issue]:
    if not path or not path.isprintable():
        yield Issue(where, f"must be a path of printable characters, got {path!r}")


def _checksums(workload: Workload) -> Iterator[Issue]:
    parquet = workload.dataset.parquet
    if parquet.read_mode is ReadMode.BYTES and parquet.verify_checksums:
        yield Issue("dataset.parquet.verify_checksums", "nothing is decoded in read_mode bytes; set it to false")


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition between keys: what yields its violations, and the keys that it reads."""

    violations: Callable[[Workload], Iterator[Issue]]
    reads: tuple[str, ...]


RULES = (
    Rule(_format, ("dataset.format",)),
    Rule(_codec, ("dataset.format", "dataset.compression")),
    Rule(_levels, ("dataset.compression", "dataset.compression_level")),
    Rule(_storage, ("storage.storage_type",)),
    Rule(_loader, ("reader.data_loader", "reader.data_loader_classname")),
    Rule(_reader, ("reader.reader_classname",)),
    Rule(_context, ("reader.multiprocessing_context",)),
    Rule(_direct_io, ("reader.odirect",)),
    Rule(_read_type, ("reader.read_type",)),
    Rule(_column_names, (f"{_COLUMNS}.name",)),
    Rule(_columns_read, (f"{_COLUMNS}.read",)),
    Rule(_columns_named, (_COLUMNS, "storage.storage_options")),
    Rule(_column_sizes, (f"{_COLUMNS}.size",)),
    Rule(_partition, ("dataset.parquet.partition_by", _COLUMNS)),
    Rule(
        _sample,
        (
            _COLUMNS,
            "dataset.record_element_type",
            "dataset.record_dims",
            "dataset.record_length_bytes",
            "dataset.record_length_bytes_stdev",
        ),
    ),
    Rule(_files, ("workflow", "dataset.num_files_train", "dataset.num_files_eval")),
    Rule(_rows, ("workflow.train", "dataset.num_samples_per_file")),
    Rule(_steps, ("workflow.train", "train.epochs", "train.total_training_steps")),
    Rule(_generated, ("dataset.num_files_generated", "dataset.num_files_train")),
    Rule(_checkpoints, ("workflow.checkpoint",)),
    Rule(_prefix, ("dataset.file_prefix",)),
    Rule(_folder, ("dataset.data_folder",)),
    Rule(_root, ("storage.storage_root",)),
    Rule(_output, ("output.folder",)),
    Rule(_log, ("output.log_file",)),
    Rule(_checksums, ("dataset.parquet.read_mode", "dataset.parquet.verify_checksums")),
)


def broken_rules(workload: Workload, invalid: Collection[str] = ()) -> list[Issue]:
    """Return every violation of the rules; a rule that reads a key named in ``invalid`` is left out."""
    bad = {re.sub(r"\[\d+\]", "", path) for path in invalid}
    rules = (rule for rule in RULES if not any(overlap(read, path) for read in rule.reads for path in bad))
    return [issue for rule in rules for issue in rule.violations(workload)]


def overlap(one: str, other: str) -> bool:
    """Return whether two dotted paths are equal, or one of them lies below the other."""
    shorter, longer = sorted((one, other), key=len)
    return longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))
