"""The reading side in three types: a reader opens files, an open file gives blocks, a block says its cost.

A block is the unit of reading: one row group, or a run of consecutive row groups.  All numbers are those of
the columns that the reader wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dlio_benchmark.batch import Block
from dlio_benchmark.gather import Rows


@dataclass(frozen=True, slots=True)
class BlockShape:
    """What the footer promises of one block: its rows, row groups, stored bytes and decoded bytes (an estimate)."""

    rows: int
    row_groups: int
    stored_bytes: int
    decoded_bytes: int


@dataclass(frozen=True, slots=True)
class BlockRead:
    """A block with what it took: bytes asked of the storage, bytes it gave, and the time of all stages."""

    block: Block
    row_groups: int
    bytes_requested: int
    bytes_read: int
    requests: int
    io_ns: int
    decode_ns: int
    shuffle_ns: int = 0


class OpenFile(Protocol):
    """An open file; `read` may be called by several threads at once."""

    path: str
    footer_bytes: int
    shapes: Sequence[BlockShape]

    def read(self, index: int) -> BlockRead:
        """Read and decode block ``index``; its rows are in file order.

        Raises:
            ParquetFileError: if the block is damaged or shorter than the footer says.
            StorageError: if the storage fails.
        """

    def close(self) -> None:
        """Release the file; calling it again does nothing."""


class ReadRows(Protocol):
    """What an open file may have as ``read_rows``, if it can take rows of a block while it reads it."""

    def __call__(self, index: int, rows: Rows, /) -> BlockRead:
        """Read and decode block ``index``, and return the given rows of it in the given order, as `Block.take` does.

        Rows are not negative and exist.

        Raises:
            ParquetFileError: as `read` does.
            StorageError: if the storage fails.
        """


class Reader(Protocol):
    """Opens files of one data set with one set of wanted columns; safe to use from several threads."""

    decode: str

    def open(self, path: str) -> OpenFile:
        """Open ``path`` and check it against the configured columns.

        Raises:
            SchemaMismatchError: if configured columns are absent or have other types; all of them are named.
            ParquetFileError: if the footer is damaged.
            DataMissingError: if there is no such file.
        """
