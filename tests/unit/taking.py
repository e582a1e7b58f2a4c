"""Files of the same shape, and readers that take rows of their blocks, for tests of how they do it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.parquet import decode_outline
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage

Rows = NDArray[np.int64]


@contextmanager
def small(portion_bytes: int) -> Iterator[None]:
    """Let portions of columns be of about so many bytes, and chunks however small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode_outline, "_TAKEN_BYTES", portion_bytes)
        patch.setattr(decode_outline, "_REQUEST_BYTES", 1)
        patch.setattr(decode_outline, "_PIECE_BYTES", 1)
        yield


KINDS = [
    ColumnType.FLOAT32,
    ColumnType.INT8,
    ColumnType.FLOAT16,
    ColumnType.INT64,
    ColumnType.UINT8,
    ColumnType.FLOAT32,
]
COLUMNS = tuple(Column(f"c{number}", kind) for number, kind in enumerate(KINDS))
NAMES = [column.name for column in COLUMNS]
WIDE = tuple(column for column in COLUMNS if column.dtype not in (ColumnType.INT8, ColumnType.UINT8))
"""The columns that pyarrow stores as they are, too."""
BITS = tuple(Column(f"c{number}", ColumnType.INT64) for number in range(3))
CODECS = [Compression.NONE, Compression.NONE, Compression.SNAPPY, Compression.ZSTD]
GROUP = 500
"""Rows of row groups in which even the smallest integers are laid out so that they may be viewed."""


@dataclass(frozen=True, slots=True)
class Case:
    """Files of the same shape, and how they are read."""

    bodies: Sequence[bytes]
    columns: tuple[Column, ...]
    window: int
    portion_bytes: int

    def reader(self, storage: MemoryStorage) -> ParquetRows:
        return ParquetRows(storage, self.columns, ReadMode.ROW_GROUP, group_window=self.window)

    def storage(self) -> MemoryStorage:
        storage = MemoryStorage()
        storage.files.update({f"{number}": body for number, body in enumerate(self.bodies)})
        return storage


def our_files(columns: tuple[Column, ...], rows: int, group: int, codec: Compression = Compression.NONE) -> list[bytes]:
    storage = MemoryStorage()
    for number in range(3):
        ParquetFiles(columns, codec, row_group_size=group).write(
            PlannedFile(DatasetType.TRAIN, number, f"{number}", rows), storage
        )
    return list(storage.files.values())


def other_files(columns: Sequence[Column], rows: int, group: int, **options: Any) -> list[bytes]:
    """Return files as pyarrow writes them, of columns without nulls."""
    bodies = []
    schema = pa.schema([pa.field(one.name, pa.from_numpy_dtype(str(one.dtype)), nullable=False) for one in columns])
    for number in range(3):
        dice = np.random.default_rng(number)
        arrays = [dice.integers(0, 1 << 14, rows).astype(str(one.dtype)) for one in columns]
        sink = io.BytesIO()
        pq.write_table(pa.table(arrays, schema), sink, row_group_size=group, compression="NONE", **options)
        bodies.append(sink.getvalue())
    return bodies


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, len(COLUMNS)))
    columns = tuple(draw(st.permutations(COLUMNS[:count])))
    group = draw(st.integers(1, 20) | st.just(GROUP))
    rows = group * draw(st.integers(0, 6)) + draw(st.integers(1, group))
    if draw(st.booleans()):
        bodies = our_files(COLUMNS[:count], rows, group, draw(st.sampled_from(CODECS)))
    else:
        bodies = other_files(
            COLUMNS[:count],
            rows,
            group,
            use_dictionary=draw(st.booleans()),
            write_statistics=draw(st.booleans()),
            write_page_checksum=draw(st.booleans()),
            data_page_version=draw(st.sampled_from(["1.0", "2.0"])),
            data_page_size=draw(st.sampled_from([16, 1 << 20])),
        )
    wanted = columns[: draw(st.integers(1, count))]
    return Case(bodies, wanted, draw(st.integers(1, 4)), draw(st.sampled_from([1, 200, 5000, 1 << 20])))


def rows_by_pyarrow(body: bytes, names: Sequence[str]) -> dict[str, Any]:
    table = pq.read_table(io.BytesIO(body), columns=list(names))
    return {name: table.column(name).to_numpy() for name in names}


def same(found: Any, wanted: Any) -> bool:
    return bool(found.dtype == wanted.dtype and found.tobytes() == wanted.tobytes())


def learned(reader: ParquetRows, path: str) -> None:
    """Let ``reader`` see two blocks of the make, so that it knows the next one."""
    for _ in range(2):
        file = reader.open(path)
        file.read_rows(0, np.arange(file.shapes[0].rows))
        file.close()
