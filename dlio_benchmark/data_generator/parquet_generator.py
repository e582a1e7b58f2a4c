"""Parquet files of generated values."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import numpy as np
import xxhash

from dlio_benchmark import session
from dlio_benchmark.common.enumerations import Compression, DatasetType
from dlio_benchmark.config.columns import file_columns
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.config.shape import CONTENT_VERSION
from dlio_benchmark.data_generator.data_generator import DataGenerator
from dlio_benchmark.engine.generate import data_root, generate
from dlio_benchmark.errors import ConfigError, Issue
from dlio_benchmark.parquet.encode import Codec, Rows
from dlio_benchmark.parquet.encode_footer import FooterBuilder
from dlio_benchmark.parquet.write_file import PageMaker, Sink, write_pages
from dlio_benchmark.parquet.write_plan import shape_of
from dlio_benchmark.plan.generation import FileWritten, PlannedFile
from dlio_benchmark.storage.base import Outputs
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.synth import Chosen, Series, partition_codes, partition_rows, partition_texts

COMPRESSION_MAP: Mapping[Compression, str] = {
    Compression.NONE: "NONE",
    Compression.SNAPPY: "SNAPPY",
    Compression.GZIP: "GZIP",
    Compression.LZ4: "LZ4",
    Compression.ZSTD: "ZSTD",
}


def _unheard(many: int) -> None:
    """Take notice of nothing."""


@dataclass(frozen=True, slots=True)
class ParquetFiles:
    """Writes the files of a data set; what a file holds depends on neither ``threads`` nor ``rows_at_once``.

    Args:
        row_group_size: rows of every row group but the last of a file.
        rows_at_once: most rows of a page; 0 leaves them to the page's bytes.
        compressibility: share of the values that repeats, in [0, 1).
        metadata: pairs for the footer.
        threads: threads that make pages while the calling thread writes; 0 makes them in the calling thread.

    Raises:
        ConfigError: if Parquet has no such codec or level here, or a row does not fit into a page.
    """

    columns: tuple[Column, ...]
    codec: Compression = Compression.NONE
    level: int | None = None
    row_group_size: int = 1024
    rows_at_once: int = 0
    seed: int = 10
    compressibility: float = 0.0
    metadata: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0

    def __post_init__(self) -> None:
        Codec(self.codec, self.level)
        shape_of(self.columns, 0, self.row_group_size)

    def write(self, file: PlannedFile, storage: Outputs, on_bytes: Callable[[int], None] = _unheard) -> FileWritten:
        """Write ``file`` and return what was written; ``on_bytes`` is told of the bytes of each write.

        The name of the file appears only when it is whole.

        Raises:
            CannotCreateError: if it cannot be made or written; the message names the file, and the column if known.
            StorageError: if the storage fails.
        """
        columns = self.columns_of(file)
        shape = shape_of(columns, file.rows, self.row_group_size, rows_at_once=self.rows_at_once)
        rows = self.rows_of(file)
        maker = PageMaker(file.path, columns, rows, shape, codec=Codec(self.codec, self.level))
        footer = FooterBuilder(columns, self.metadata)
        with storage.open_output(file.path) as out:
            sink = Sink(out, on_bytes)
            end = write_pages(maker, shape, sink, footer, threads=self.threads)
        return FileWritten(
            path=file.path,
            rows=file.rows,
            bytes=sink.bytes,
            footer_bytes=len(end) - 8,
            row_groups=shape.groups,
            digest=sink.digest(),
            footer_digest=xxhash.xxh3_128(end).hexdigest(),
        )

    def partition_values(self, column: str) -> tuple[str, ...]:
        """Return the values of a partition column, by code, as they stand in folder names.

        Raises:
            ConfigError: if there is no such column, or it cannot be one that partitions.
        """
        return partition_texts(self._column(column))

    def parts(self, file: PlannedFile, column: str) -> list[PlannedFile]:
        """Return the files that hold the rows of ``file`` by the value of ``column``, those without rows left out.

        The folder of the file is kept; below it stands ``column=value``, percent-encoded as Hive does.

        Raises:
            ConfigError: if the column cannot partition, or is the only one.
        """
        texts = self.partition_values(column)
        self._without(column)
        codes = partition_codes(self.seed, file.split, file.index, self._column(column), file.rows)
        folder, name = posixpath.split(file.path)
        return [
            PlannedFile(
                file.split,
                file.index,
                posixpath.join(folder, f"{quote(column, safe='')}={quote(texts[code], safe='')}", name),
                rows,
                (column, code),
            )
            for code, rows in enumerate(np.bincount(codes, minlength=len(texts)).tolist())
            if rows
        ]

    def columns_of(self, file: PlannedFile) -> tuple[Column, ...]:
        """Return the columns that stand in ``file``: all but the one that it is a partition by."""
        return self.columns if file.partition is None else self._without(file.partition[0])

    def rows_of(self, file: PlannedFile) -> list[Rows]:
        """Return the values of each of the file's columns, which can be made again at any time."""
        series = [
            Series(self.seed, file.split, file.index, column, compressibility=self.compressibility)
            for column in self.columns_of(file)
        ]
        if file.partition is None:
            return [*series]
        name, code = file.partition
        chosen = partition_rows(self.seed, file.split, file.index, self._column(name), file.rows, code=code)
        return [Chosen(one, chosen) for one in series]

    def _column(self, name: str) -> Column:
        found = next((column for column in self.columns if column.name == name), None)
        if found is None:
            names = ", ".join(repr(column.name) for column in self.columns)
            what = f"there is no column {name!r}; the columns are {names}"
            raise ConfigError([Issue("dataset.parquet.partition_by", what)])
        return found

    def _without(self, name: str) -> tuple[Column, ...]:
        rest = tuple(column for column in self.columns if column.name != name)
        if not rest:
            what = f"{name!r} is the only column, and a file without columns cannot hold rows; add another column"
            raise ConfigError([Issue("dataset.parquet.partition_by", what)])
        return rest


def files_of(workload: Workload, split: DatasetType, index: int, threads: int = 0) -> ParquetFiles:
    """Return what writes file ``index`` of a split, and makes its values again."""
    dataset = workload.dataset
    return ParquetFiles(
        columns=file_columns(dataset, split, index),
        codec=dataset.compression,
        level=dataset.compression_level,
        row_group_size=dataset.parquet.row_group_size,
        rows_at_once=dataset.parquet.generation_batch_size,
        seed=dataset.seed,
        compressibility=dataset.parquet.compressibility,
        metadata={"dlio.content": str(CONTENT_VERSION)},
        threads=threads,
    )


@dataclass(frozen=True, slots=True)
class ParquetWriter:
    """Writes the Parquet files of a workload; files may differ in their columns."""

    workload: Workload
    threads: int
    on_bytes: Callable[[int], None]

    def _files(self, file: PlannedFile) -> ParquetFiles:
        return files_of(self.workload, file.split, file.index, self.threads)

    def parts(self, file: PlannedFile) -> list[PlannedFile]:
        """Return the files that a logical file consists of."""
        column = self.workload.dataset.parquet.partition_by
        return [file] if column is None else self._files(file).parts(file, column)

    def write(self, file: PlannedFile, storage: Outputs) -> FileWritten:
        """Write a file and return what was written."""
        return self._files(file).write(file, storage, self.on_bytes)


class _Silent:
    """Progress that nobody watches."""

    def advance(self, files: int, stored_bytes: int) -> None:
        """Take notice of nothing."""


class ParquetGenerator(DataGenerator):
    """Writes the Parquet files of the configuration, and their manifest."""

    def generate(self) -> None:
        """Write the data set together with the other ranks, all of which call this.

        Raises:
            ConfigError: if the configuration is not valid.
            DataSetMismatchError: if the folder holds another data set.
            CannotCreateError: if there is no space or no permission.
        """
        workload = self._args.workload()
        folders = {
            "storage": {"storage_root": workload.storage.storage_root},
            "dataset": {"data_folder": workload.dataset.data_folder},
        }
        writer = ParquetWriter(workload, self._args.write_threads, _unheard)
        storage = LocalStorage(data_root(folders))
        generate(workload, storage, session.current_comm(), writer=writer, progress=_Silent())
