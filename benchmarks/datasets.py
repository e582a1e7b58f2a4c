"""The data sets that are measured on: made once per folder, by this package or by pyarrow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import dlio_benchmark
from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType
from dlio_benchmark.config.columns import WIDTHS
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.schema import field as arrow_field
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.synth import Series, to_arrow

BATCH = 12_288
_AT_ONCE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class DataSet:
    """Files that differ in their values only."""

    name: str
    columns: tuple[Column, ...]
    files: int
    rows: int
    group_rows: int
    codec: Compression = Compression.NONE
    by_pyarrow: bool = False

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the columns that are read."""
        return tuple(column.name for column in self.columns if column.read)

    @property
    def payload_bytes(self) -> int:
        """Bytes of the values of all columns of all files."""
        return self.files * self.rows * sum(column.size * WIDTHS[column.dtype] for column in self.columns)

    def paths(self, root: str) -> list[str]:
        """Return the paths of the files below ``root``."""
        return [f"{root}/{self.name}/{number}.parquet" for number in range(self.files)]

    def make(self, root: str) -> None:
        """Write the files below ``root``, unless they are there."""
        folder = Path(root, self.name)
        done = folder / "done"
        if done.exists() and done.read_text() == repr(self):
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, path in enumerate(self.paths(root)):
            if self.by_pyarrow:
                write_table(self, self.table(number), path)
            else:
                self.files_of().write(
                    PlannedFile(DatasetType.TRAIN, number, Path(path).name, self.rows), LocalStorage(str(folder))
                )
        done.write_text(repr(self))

    def warm(self, root: str) -> None:
        """Read the files from the disk in order, so that they lie in the large pages of the page cache.

        What was read back in small pieces lies in pages of 4 KiB, and takes up to four times as long to copy.
        """
        for path in self.paths(root):
            with open(path, "rb", buffering=0) as file:
                if hasattr(os, "posix_fadvise"):
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while file.read(_AT_ONCE_BYTES):
                    pass

    def files_of(self, threads: int = 0) -> ParquetFiles:
        """Return what writes the files here."""
        return ParquetFiles(self.columns, self.codec, row_group_size=self.group_rows, threads=threads)

    def table(self, number: int = 0) -> pa.Table:
        """Return the values of a file as a table of columns without nulls."""
        arrays = [
            to_arrow(column, Series(1, DatasetType.TRAIN, number, column).values(0, self.rows))
            for column in self.columns
        ]
        return pa.Table.from_arrays(arrays, schema=pa.schema([arrow_field(column) for column in self.columns]))


def write_table(data: DataSet, table: pa.Table, sink: Any, **more: Any) -> None:
    """Write a table with pyarrow in the settings that the generator here uses: no dictionary, no statistics."""
    settings = {
        "row_group_size": data.group_rows,
        "compression": data.codec.value.upper(),
        "use_dictionary": False,
        "write_statistics": False,
        "write_page_checksum": True,
    }
    pq.write_table(table, sink, **(settings | more))


def _numbers(prefix: str, dtype: ColumnType, many: int) -> list[Column]:
    return [Column(f"{prefix}{number:02d}", dtype) for number in range(many)]


def _official(name: str) -> tuple[Column, ...]:
    """Return the columns of a workload that is shipped."""
    path = Path(dlio_benchmark.__file__).parent / "configs" / "workload" / f"{name}.yaml"
    columns: Sequence[Mapping[str, Any]] = yaml.safe_load(path.read_text())["dataset"]["parquet"]["columns"]
    return tuple(
        Column(one["name"], ColumnType(one["dtype"]), int(one["size"]), bool(one.get("read", True))) for one in columns
    )


DLRM = (
    *_numbers("label", ColumnType.FLOAT32, 1),
    *_numbers("dense", ColumnType.FLOAT32, 13),
    *_numbers("sparse", ColumnType.INT32, 26),
)
_LISTS = tuple(Column(f"list{n}", ColumnType.LIST, 8) for n in range(4))
_TEXTS = tuple(Column(f"text{n}", ColumnType.STRING, 16) for n in range(7))
_RECORD = (Column("data", ColumnType.UINT8, 32 << 20),)


def datasets(*, quick: bool) -> Mapping[str, DataSet]:
    """Return the data sets by name; quick ones are a fraction of the size."""
    size: Callable[[int], int] = (lambda rows: rows // 4) if quick else (lambda rows: rows)
    count = 2 if quick else 4
    coded = [
        DataSet(f"dlrm-{codec}", DLRM, count, size(131_072), 65_536, codec)
        for codec in (Compression.SNAPPY, Compression.LZ4, Compression.ZSTD, Compression.GZIP)
    ]
    sets = [
        DataSet("dlrm", DLRM, count, size(262_144) * (2 if quick else 1), 65_536),
        DataSet("dlrm-windows", DLRM, count, size(262_144), 8_192),
        DataSet("dlrm200", _official("dlrm_h100"), count, 98_304, 6_144),
        DataSet("lists", (Column("x", ColumnType.FLOAT32, 1_024),), count, 16_384, 2_048),
        DataSet("flux", _official("flux_h100"), count, size(32), 8),
        *coded,
        DataSet("texts", _TEXTS, count, size(131_072), 65_536),
        DataSet("nested", _LISTS, count, size(65_536), 16_384, by_pyarrow=True),
        DataSet("one-column", (Column("x", ColumnType.FLOAT32),), 4, 50_000, 10_000),
        DataSet("groups-8", DLRM, 1, 8 * 65_536, 65_536),
        DataSet("groups-64", DLRM, 1, (16 if quick else 64) * 65_536, 65_536),
        DataSet("tiny", DLRM, 1, BATCH, BATCH),
        DataSet("record", _RECORD, 1, 1 if quick else 2, 1),
    ]
    return {one.name: one for one in sets}


def random_bytes(many: int) -> memoryview:
    """Return ``many`` random bytes."""
    return np.random.default_rng(0).integers(0, 256, many, np.uint8).data
