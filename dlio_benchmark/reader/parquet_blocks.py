"""An open Parquet file as blocks: what each costs, and reading one.

The wanted column chunks of a block are fetched with one request per run of adjacent chunks, and decoded portion
by portion while their bytes are still in the caches.  Views keep the memory of their portion alive.  What cannot
be viewed is decoded by pyarrow from the same bytes.  Memory is that of one block, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, overload

from dlio_benchmark.batch import Block
from dlio_benchmark.clock import Clock
from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.memory import Pieces
from dlio_benchmark.parquet.decode_block import BlockDecoder, Decoded
from dlio_benchmark.parquet.decode_outline import Layout, Outline, Portion
from dlio_benchmark.parquet.decode_path import repeated
from dlio_benchmark.reader.base import BlockRead, BlockShape
from dlio_benchmark.storage.base import InputFile
from dlio_benchmark.values import Columns, Parted


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put ``where`` before the message of an error about a Parquet file, unless it stands there already."""
    try:
        yield
    except (ParquetFileError, SchemaMismatchError) as error:
        if str(error).startswith(where):
            raise
        kind = SchemaMismatchError if isinstance(error, SchemaMismatchError) else ParquetFileError
        raise kind(f"{where}: {error}") from error.__cause__
    except UnicodeDecodeError as error:
        raise ParquetFileError(f"{where}: the footer is damaged: a name in it is no text: {error}") from error


class _Shapes(Sequence[BlockShape]):
    """The shapes of a file's blocks, each worked out when it is asked for."""

    def __init__(self, blocks: ParquetBlocks, count: int) -> None:
        self._blocks, self._count = blocks, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> BlockShape: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[BlockShape]: ...
    def __getitem__(self, index: int | slice) -> BlockShape | Sequence[BlockShape]:
        numbers = range(self._count)[index]
        if isinstance(numbers, int):
            return self._blocks.shape(numbers)
        return [self._blocks.shape(number) for number in numbers]


class ParquetBlocks:
    """An open file, made by `ParquetRows.open`; several threads may read blocks of it at once.

    ``names`` are the wanted columns in order, and ``constants`` the values of those that are not in the file.
    ``decoded`` counts how the columns read so far were decoded.
    """

    def __init__(
        self,
        path: str,
        file: InputFile,
        outline: Outline,
        *,
        footer_bytes: int,
        names: Sequence[str],
        constants: Mapping[str, Any],
        decode: bool,
        verify: bool,
        clock: Clock,
        memory: Pieces,
    ) -> None:
        self.path = path
        self.footer_bytes = footer_bytes
        self.rows: int = sum(outline.footer.group_rows)
        self.shapes: Sequence[BlockShape] = _Shapes(self, len(outline.blocks))
        self.decoded = Decoded()
        self._file, self._outline = file, outline
        self._names, self._constants = names, constants
        self._decode, self._verify, self._clock, self._memory = decode, verify, clock, memory

    def shape(self, index: int) -> BlockShape:
        """Return what the footer promises of block ``index``."""
        with naming(self.path):
            return self._outline.layout(index).shape

    def close(self) -> None:
        """Release the file; calling it again does nothing."""
        self._file.close()
        self.shapes = ()  # they refer to this file, which would else wait for the garbage collector

    def read(self, index: int) -> BlockRead:
        """Read and decode block ``index``; its rows are in file order.

        Raises:
            ParquetFileError: if the block is damaged or shorter than the footer says.
            SchemaMismatchError: if a list has another length than its column.
            StorageError: if the storage fails.
        """
        now_ns, requests = self._clock.now_ns, 0
        bytes_read = io_ns = 0
        begin_ns = now_ns()
        with naming(self.path):
            layout = self._outline.layout(index)
            work = BlockDecoder(self._outline, layout, verify=self._verify)
            for portion in layout.portions:
                before_ns = now_ns()
                memory = self._memory.reserve(portion.bytes)
                bytes_read += self._fetch(layout, portion, memory)
                requests += len(portion.requests)
                io_ns += now_ns() - before_ns
                if self._decode:
                    work.take(portion, memory)
                elif self._verify:
                    work.check(portion, memory)
            found = work.columns() if self._decode else Parted({})
        shape = layout.shape
        block = Block(shape.rows, self._in_order(found, layout) if self._constants and self._decode else found)
        decode_ns = now_ns() - begin_ns - io_ns
        self.decoded = Decoded(self.decoded.viewed + work.viewed, self.decoded.by_arrow + work.by_arrow)
        return BlockRead(
            block, shape.row_groups, shape.stored_bytes, bytes_read, requests, io_ns=io_ns, decode_ns=decode_ns
        )

    def _in_order(self, found: Columns, layout: Layout) -> Columns:
        """Return the columns in the order asked for, with those that are the same in each row."""
        constants, rows = self._constants, [self._outline.footer.group_rows[group] for group in layout.groups]
        return Parted(
            {
                name: [repeated(constants[name], count) for count in rows] if name in constants else found.parts(name)
                for name in self._names
            }
        )

    def _fetch(self, layout: Layout, portion: Portion, memory: memoryview) -> int:
        """Fill ``memory`` with the bytes of ``portion`` and return how many the storage gave."""
        pread, at = self._file.pread, 0
        for start, count in portion.requests:
            got = pread(start, memory[at : at + count])
            at += got
            if got != count:
                raise ParquetFileError(self._short(layout, start + got))
        return at

    def _short(self, layout: Layout, end: int) -> str:
        """Return what is missing in a file that ends at byte ``end``."""
        for group in layout.groups:
            for chunk in self._outline.chunks(group):
                missing = chunk.start + chunk.stored_bytes - end
                if 0 < missing <= chunk.stored_bytes:
                    where = f"row group {group}, column {self._outline.footer.name(chunk.leaf)!r}"
                    return f"{where}: the file ends at byte {end}, {missing} bytes short"
        return f"the file ends at byte {end}"
