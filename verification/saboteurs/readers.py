"""Wrong readers: each does one thing wrong and everything else as the product's reader does."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dlio_benchmark.batch import Block, as_arrow
from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.memory import Pieces
from dlio_benchmark.reader.base import BlockRead, BlockShape, OpenFile, Reader
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.base import InputFile, Storage

Columns = Sequence[Column] | None


class WrongFile:
    """An open file that passes everything on; wrong ones change `read` or `close`."""

    def __init__(self, inner: OpenFile) -> None:
        self.inner = inner
        self.path, self.footer_bytes = inner.path, inner.footer_bytes
        self.shapes: Sequence[BlockShape] = inner.shapes

    def read(self, index: int) -> BlockRead:
        """Read a block."""
        return self.inner.read(index)

    def close(self) -> None:
        """Release the file."""
        self.inner.close()


class WrongReader:
    """A reader that passes everything on; wrong ones change `open`."""

    def __init__(self, storage: Storage, columns: Columns, mode: ReadMode = ReadMode.DEFAULT) -> None:
        self.storage, self.columns, self.mode = storage, columns, mode
        self.inner = ParquetRows(storage, columns, mode)
        self.decode = self.inner.decode

    def open(self, path: str) -> OpenFile:
        """Open a file."""
        return self.inner.open(path)


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

    def pread(self, offset: int, into: memoryview) -> int:
        piece = memoryview(self._body)[offset : offset + len(into)]
        into[: len(piece)] = piece
        return len(piece)

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


# -- rows -----------------------------------------------------------------------------------------------------------
Alter = Callable[["_Altered", int], BlockRead]


class _Altered(WrongFile):
    def __init__(self, inner: OpenFile, alter: Alter) -> None:
        super().__init__(inner)
        self._alter = alter

    def read(self, index: int) -> BlockRead:
        return self._alter(self, index)


def _taken(got: BlockRead, rows: Sequence[int] | np.ndarray[Any, Any]) -> BlockRead:
    return replace(got, block=got.block.take(np.asarray(rows, dtype=np.int64), Pieces()))


def _one_late(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    return _taken(got, np.minimum(np.arange(got.block.rows) + 1, max(0, got.block.rows - 1)))


def _last_row_lost(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    last = index == len(file.shapes) - 1
    return _taken(got, np.arange(got.block.rows - (1 if last and got.block.rows else 0)))


def _first_row_again(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    rows = np.arange(got.block.rows)
    rows[-1:] = 0
    return _taken(got, rows)


def _block_before(file: _Altered, index: int) -> BlockRead:
    return file.inner.read(max(0, index - 1))


def _renamed(got: BlockRead, columns: Mapping[str, Any]) -> BlockRead:
    return replace(got, block=Block(got.block.rows, columns))


def _sorted_columns(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    return _renamed(got, dict(sorted(got.block.columns.items())))


def _swapped_columns(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    names, values = list(got.block.columns), list(got.block.columns.values())
    return _renamed(got, dict(zip(names, values[1:] + values[:1], strict=True)))


def _without_nulls(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    return _renamed(got, {name: _filled(values) for name, values in got.block.columns.items()})


def _filled(values: Any) -> Any:
    if isinstance(values, np.ndarray) or not values.null_count or pa.types.is_nested(values.type):
        return values
    return pc.fill_null(values, pa.scalar(0).cast(values.type))


def _without_errors(file: _Altered, index: int) -> BlockRead:
    try:
        return file.inner.read(index)
    except ParquetFileError:
        shape = file.shapes[index]
        return BlockRead(Block(0), shape.row_groups, shape.stored_bytes, shape.stored_bytes, 1, 0, 0)


def _zeros_for_errors(file: _Altered, index: int) -> BlockRead:
    try:
        return file.inner.read(index)
    except ParquetFileError:
        shape = file.shapes[index]
        names = getattr(file.inner, "_names", ())
        columns = {name: pa.nulls(shape.rows, pa.int64()) for name in names}
        return BlockRead(Block(shape.rows, columns), shape.row_groups, shape.stored_bytes, shape.stored_bytes, 1, 0, 0)


class _AltersBlocks(WrongReader):
    alter: Alter

    def open(self, path: str) -> OpenFile:
        return _Altered(self.inner.open(path), type(self).alter)


def _altering(name: str, alter: Alter) -> type[_AltersBlocks]:
    return type(name, (_AltersBlocks,), {"alter": staticmethod(alter), "__module__": __name__})


class _Unclosed(WrongFile):
    def close(self) -> None:
        """Do nothing."""


class LeaksOpenFiles(WrongReader):
    """Never closes a file."""

    leaked: list[OpenFile] = []

    def open(self, path: str) -> OpenFile:
        file = self.inner.open(path)
        self.leaked.append(file)
        return _Unclosed(file)


class VerifiesNoChecksums(WrongReader):
    """Reads pages without looking at their checksum."""


# -- schema ---------------------------------------------------------------------------------------------------------
class SkipsTheSchemaCheck(WrongReader):
    """Lets a missing or different column pass, and gives those that are there."""

    def open(self, path: str) -> OpenFile:
        try:
            return self.inner.open(path)
        except SchemaMismatchError:
            return ParquetRows(self.storage, None, self.mode).open(path)


class ChecksOnlyTheFirstFile(SkipsTheSchemaCheck):
    """Compares the schema of the first file only."""

    opened = False

    def open(self, path: str) -> OpenFile:
        if self.opened:
            return super().open(path)
        self.opened = True
        return self.inner.open(path)


class VagueSchemaError(WrongReader):
    """Says that the schema differs, not in which column of which file."""

    def open(self, path: str) -> OpenFile:
        try:
            return self.inner.open(path)
        except SchemaMismatchError:
            raise SchemaMismatchError("the schema of a file differs") from None


class NamesOnlyTheFirst(WrongReader):
    """Names one of several missing columns."""

    def open(self, path: str) -> OpenFile:
        try:
            return self.inner.open(path)
        except SchemaMismatchError as error:
            raise SchemaMismatchError("\n".join(str(error).splitlines()[:2])) from None


READERS: Mapping[str, Callable[[Storage, Columns, ReadMode], Reader]] = {
    "reads-all-columns-then-selects": ReadsAllColumns,
    "counts-unread-bytes": CountsUnreadBytes,
    "caches-from-epoch-2": CachesFromEpoch2,
    "reads-before-the-clock-starts": ReadsBeforeTheClock,
    "reports-planned-for-read": ReportsPlannedForRead,
    "pre-buffers-the-file": PreBuffers,
    "joins-all-row-groups": JoinsAllRowGroups,
    "reads-whole-file-in-row-group-mode": ReadsWholeFile,
    "off-by-one-row": _altering("OffByOneRow", _one_late),
    "drops-the-last-rows": _altering("DropsTheLastRows", _last_row_lost),
    "reads-a-row-twice": _altering("ReadsARowTwice", _first_row_again),
    "stale-buffer": _altering("StaleBuffer", _block_before),
    "ignores-the-column-order": _altering("IgnoresTheColumnOrder", _sorted_columns),
    "swaps-two-columns": _altering("SwapsTwoColumns", _swapped_columns),
    "drops-nulls": _altering("DropsNulls", _without_nulls),
    "swallows-read-errors": _altering("SwallowsReadErrors", _without_errors),
    "serves-nulls-for-damage": _altering("ServesNullsForDamage", _zeros_for_errors),
    "checksums-not-verified": VerifiesNoChecksums,
    "leaks-open-files": LeaksOpenFiles,
    "skips-the-schema-check": SkipsTheSchemaCheck,
    "checks-only-the-first-file": ChecksOnlyTheFirstFile,
    "vague-schema-error": VagueSchemaError,
    "names-only-the-first-missing-column": NamesOnlyTheFirst,
}
