"""A reader that does everything right: what wrong ones are made of."""

from __future__ import annotations

from collections.abc import Sequence

from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.reader.base import BlockRead, BlockShape, OpenFile
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.base import Storage

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
