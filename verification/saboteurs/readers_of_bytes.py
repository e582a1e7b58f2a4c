"""Wrong readers that read more, or less, or at another time than they say, or keep it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dlio_benchmark.batch import Block
from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.reader.base import BlockRead, OpenFile
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.base import InputFile, Storage
from dlio_benchmark.values import as_arrow
from verification.saboteurs.wrong_reader import Columns, WrongFile, WrongReader


# -- bytes ----------------------------------------------------------------------------------------------------------
class _Selected(WrongFile):
    def __init__(self, inner: OpenFile, whole: OpenFile, names: Sequence[str]) -> None:
        super().__init__(inner)
        self._whole, self._names = whole, names

    def read(self, index: int) -> BlockRead:
        got, shape = self._whole.read(index), self.shapes[index]
        block = Block(got.block.rows, {name: got.block.columns[name] for name in self._names})
        return replace(got, block=block, bytes_read=shape.stored_bytes, bytes_requested=shape.stored_bytes)


class ReadsAllColumns(WrongReader):
    """Reads the whole file and selects afterwards; reports what it should have read."""

    def open(self, path: str) -> OpenFile:
        if self.columns is None:
            return self.inner.open(path)
        whole = ParquetRows(self.storage, None, ReadMode.ROW_GROUP).open(path)
        narrow = ParquetRows(self.storage, self.columns, ReadMode.ROW_GROUP).open(path)
        return _Selected(narrow, whole, [column.name for column in self.columns])


class _Overcounted(WrongFile):
    def __init__(self, inner: OpenFile, all_bytes: int) -> None:
        super().__init__(inner)
        self._bytes = all_bytes // max(1, len(inner.shapes))

    def read(self, index: int) -> BlockRead:
        return replace(self.inner.read(index), bytes_read=self._bytes, bytes_requested=self._bytes)


class CountsUnreadBytes(WrongReader):
    """Counts the bytes of all columns, whichever are read."""

    def open(self, path: str) -> OpenFile:
        whole = ParquetRows(self.storage, None).open(path)
        all_bytes = sum(shape.stored_bytes for shape in whole.shapes)
        whole.close()
        return _Overcounted(self.inner.open(path), all_bytes)


class _Kept(WrongFile):
    def __init__(self, inner: OpenFile, kept: dict[tuple[str, int], BlockRead]) -> None:
        super().__init__(inner)
        self._kept = kept

    def read(self, index: int) -> BlockRead:
        key = (self.path, index)
        if key not in self._kept:
            self._kept[key] = self.inner.read(index)
        return self._kept[key]


class CachesFromEpoch2(WrongReader):
    """Serves a block that was read before from memory, and reports its bytes again."""

    def __init__(self, storage: Storage, columns: Columns, mode: ReadMode = ReadMode.DEFAULT) -> None:
        super().__init__(storage, columns, mode)
        self._kept: dict[tuple[str, int], BlockRead] = {}

    def open(self, path: str) -> OpenFile:
        return _Kept(self.inner.open(path), self._kept)


class ReadsBeforeTheClock(WrongReader):
    """Reads the first block when the file is opened."""

    def open(self, path: str) -> OpenFile:
        file = self.inner.open(path)
        kept = {(path, 0): file.read(0)} if len(file.shapes) else {}
        return _Kept(file, kept)


class _Claimed(WrongFile):
    def read(self, index: int) -> BlockRead:
        shape = self.shapes[index]
        return BlockRead(Block(shape.rows), shape.row_groups, shape.stored_bytes, shape.stored_bytes, 1, 0, 0)


class ReportsPlannedForRead(WrongReader):
    """Reads nothing and reports the bytes that the footer promises."""

    def open(self, path: str) -> OpenFile:
        return _Claimed(self.inner.open(path))


# -- memory ---------------------------------------------------------------------------------------------------------
class _AsPythonFile(io.RawIOBase):
    """An input file as pyarrow wants it."""

    def __init__(self, file: InputFile) -> None:
        super().__init__()
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + {0: 0, 1: self._at, 2: self._file.size}[whence]
        return self._at

    def readinto(self, into: Any) -> int:
        got = self._file.pread(self._at, memoryview(into))
        self._at += got
        return got


class _Iterated(WrongFile):
    def __init__(self, inner: OpenFile, batches: Any) -> None:
        super().__init__(inner)
        self._batches = iter(batches)

    def read(self, index: int) -> BlockRead:
        batch, shape = next(self._batches), self.shapes[index]
        block = Block(batch.num_rows, dict(zip(batch.schema.names, batch.columns, strict=True)))
        return BlockRead(block, 1, shape.stored_bytes, shape.stored_bytes, 1, 0, 0)


class PreBuffers(WrongReader):
    """Iterates batches with pyarrow's ``pre_buffer``, which keeps the chunks of the whole file."""

    def open(self, path: str) -> OpenFile:
        inner = ParquetRows(self.storage, self.columns, ReadMode.ROW_GROUP).open(path)
        names = None if self.columns is None else [column.name for column in self.columns]
        file = pq.ParquetFile(_AsPythonFile(self.storage.open_input(path)), pre_buffer=True)
        rows = max((shape.rows for shape in inner.shapes), default=1)
        return _Iterated(inner, file.iter_batches(batch_size=rows, columns=names))


class JoinsAllRowGroups(WrongReader):
    """Reads every row group when the file is opened, and joins them."""

    def open(self, path: str) -> OpenFile:
        file = ParquetRows(self.storage, self.columns, ReadMode.ROW_GROUP).open(path)
        reads = [file.read(index) for index in range(len(file.shapes))]
        tables = [pa.table({name: as_arrow(v) for name, v in read.block.columns.items()}) for read in reads]
        joined = pa.concat_tables(tables).combine_chunks() if tables else None
        batches = joined.to_batches(max(shape.rows for shape in file.shapes)) if joined is not None else []
        return _Iterated(file, batches)


class _InMemory:
    """An input file that was read whole."""

    def __init__(self, file: InputFile) -> None:
        self.size = file.size
        self._body = bytearray(file.size)
        file.pread(0, memoryview(self._body))
        file.close()

    def pread(self, offset: int, *into: memoryview) -> int:
        at = offset
        for room in into:
            piece = memoryview(self._body)[at : at + len(room)]
            room[: len(piece)] = piece
            at += len(piece)
        return at - offset

    def close(self) -> None:
        """Do nothing."""


class _WholeFiles:
    """A storage that reads a file when it is opened."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open_input(self, path: str) -> InputFile:
        return _InMemory(self._storage.open_input(path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class ReadsWholeFile(WrongReader):
    """Serves the row-group mode from a full read."""

    def __init__(self, storage: Storage, columns: Columns, mode: ReadMode = ReadMode.DEFAULT) -> None:
        whole: Any = _WholeFiles(storage)
        super().__init__(whole, columns, mode)
