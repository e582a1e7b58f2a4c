"""An open Parquet file as blocks: what each costs, and reading one.

The wanted column chunks of a block are fetched with one request per run of adjacent chunks, and decoded portion
by portion while their bytes are still in the caches.  Views keep the memory of their portion alive.  What cannot
be viewed is decoded by pyarrow from the same bytes.  Memory is that of one block, whatever the size of the file.

Where rows are wanted in another order, portions have whole columns instead, so that their rows can be taken before
the next one is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, overload

from dlio_benchmark.batch import Block
from dlio_benchmark.clock import Clock
from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.gather import Rows, rows_of
from dlio_benchmark.memory import Pieces
from dlio_benchmark.parquet.decode_block import BlockDecoder, Decoded
from dlio_benchmark.parquet.decode_outline import Layout, Outline, Portion
from dlio_benchmark.parquet.decode_path import repeated
from dlio_benchmark.parquet.decode_spread import Spread
from dlio_benchmark.reader.base import BlockRead, BlockShape
from dlio_benchmark.storage.base import InputFile
from dlio_benchmark.values import Columns, Parted, Values, Viewed


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


@dataclass(slots=True)
class _Spent:
    """What reading a block took so far."""

    bytes_read: int = 0
    requests: int = 0
    io_ns: int = 0
    shuffle_ns: int = 0
    viewed: int = 0
    by_arrow: int = 0


class ParquetBlocks:
    """An open file, made by `ParquetRows.open`; several threads may read blocks of it at once.

    ``names`` are the wanted columns in order, and ``constants`` the values of those that are not in the file.
    ``decoded`` counts how the columns read so far were decoded.  Blocks live in ``memory``; ``rooms`` is what they are
    read into before their rows are taken, apart from it, or it would come from what the loop has left long ago.
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
        rooms: Pieces,
    ) -> None:
        self.path = path
        self.footer_bytes = footer_bytes
        self.rows: int = sum(outline.footer.group_rows)
        self.shapes: Sequence[BlockShape] = _Shapes(self, len(outline.blocks))
        self.decoded = Decoded()
        self._file, self._outline = file, outline
        self._names, self._constants = names, constants
        self._decode, self._verify, self._clock, self._memory, self._rooms = decode, verify, clock, memory, rooms

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
        spent, begin_ns = _Spent(), self._clock.now_ns()
        with naming(self.path):
            layout = self._outline.layout(index)
            work = BlockDecoder(self._outline, layout, verify=self._verify)
            for portion in layout.portions:
                memory = self._fetched(layout, portion, spent)
                if self._decode:
                    work.take(portion, memory)
                elif self._verify:
                    work.check(portion, memory)
            found = work.columns() if self._decode else Parted({})
        columns = self._in_order(found, layout) if self._constants and self._decode else found
        spent.viewed, spent.by_arrow = work.viewed, work.by_arrow
        return self._told(layout, Block(layout.shape.rows, columns), spent, self._clock.now_ns() - begin_ns)

    def read_rows(self, index: int, rows: Rows) -> BlockRead:
        """Read and decode block ``index``, and return the given rows of it in the given order, as `Block.take` does.

        Where it is known where all values stand, columns are read a few at a time, and their rows taken right behind.
        Rows are not negative and exist.

        Raises:
            ParquetFileError: as `read` does.
            SchemaMismatchError: as `read` does.
            StorageError: if the storage fails.
        """
        now_ns = self._clock.now_ns
        begin_ns = now_ns()
        with naming(self.path):
            is_plain = self._decode and not self._verify and not self._constants
            layout = self._outline.by_columns(index) if is_plain else None
            promises = [portion.slot.is_promising() for portion in layout.portions] if layout is not None else []
            if layout is not None and all(promises):
                spent = _Spent()
                taken = [self._taken(layout, portion, rows, spent) for portion in layout.portions]
                block = Block(len(rows), _together(taken, self._outline.plan.names))
                return self._told(layout, block, spent, now_ns() - begin_ns)
        got = self.read(index)
        begin_ns = now_ns()
        block = got.block.take(rows, self._memory)
        return replace(got, block=block, shuffle_ns=now_ns() - begin_ns)

    def _taken(self, layout: Layout, portion: Portion, rows: Rows, spent: _Spent) -> Mapping[str, Values]:
        """Read a portion of whole columns and return the given rows of them."""
        now_ns, form = self._clock.now_ns, portion.slot.form
        spread = None if form is None else form.spread
        if spread is None:
            memory = self._fetched(layout, portion, spent)
        else:
            room = self._fetched(layout, portion, spent, spread)
            if spread.fits(room):
                portion.slot.tell_fit()
                begin_ns = now_ns()
                taken = spread.taken(room, rows, self._memory)
                spent.shuffle_ns += now_ns() - begin_ns
                spent.viewed += len(portion.slot.members)
                return taken
            memory = self._memory.reserve(portion.bytes)
            spread.joined(room, memory)
        names = tuple(dict.fromkeys(portion.slot.names))
        work = BlockDecoder(self._outline, layout._replace(portions=[portion]), verify=False, names=names)
        work.take(portion, memory)
        columns = work.columns()
        begin_ns = now_ns()
        found = rows_of(columns, layout.shape.rows, rows, self._memory)
        spent.shuffle_ns += now_ns() - begin_ns
        spent.viewed += work.viewed
        spent.by_arrow += work.by_arrow
        return found

    def _told(self, layout: Layout, block: Block, spent: _Spent, took_ns: int) -> BlockRead:
        """Return ``block`` with what it took, ``took_ns`` in all."""
        shape = layout.shape
        self.decoded = Decoded(self.decoded.viewed + spent.viewed, self.decoded.by_arrow + spent.by_arrow)
        return BlockRead(
            block,
            shape.row_groups,
            shape.stored_bytes,
            spent.bytes_read,
            spent.requests,
            io_ns=spent.io_ns,
            decode_ns=took_ns - spent.io_ns - spent.shuffle_ns,
            shuffle_ns=spent.shuffle_ns,
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

    def _fetched(self, layout: Layout, portion: Portion, spent: _Spent, spread: Spread | None = None) -> memoryview:
        """Return memory with the bytes of ``portion``, as they stand in the file, or spread."""
        begin_ns, pread = self._clock.now_ns(), self._file.pread
        memory = self._memory.reserve(portion.bytes) if spread is None else self._rooms.reserve(spread.bytes)
        at = chunk = 0
        for start, count, chunks in portion.requests:
            if spread is None:
                got = pread(start, memory[at : at + count])
            else:
                got = pread(start, *[memory[part] for part in spread.parts(chunk, chunks)])
            spent.bytes_read += got
            if got != count:
                raise ParquetFileError(self._short(layout, start + got if got else self._end(start)))
            at += count
            chunk += chunks
        spent.requests += len(portion.requests)
        spent.io_ns += self._clock.now_ns() - begin_ns
        return memory

    def _end(self, beyond: int) -> int:
        """Return where the file ends, of which nothing stands at ``beyond``."""
        octet, first, last = memoryview(bytearray(1)), 0, beyond
        while first < last:
            middle = (first + last) // 2
            if self._file.pread(middle, octet):
                first = middle + 1
            else:
                last = middle
        return first

    def _short(self, layout: Layout, end: int) -> str:
        """Return what is missing of the first chunk that a file which ends at byte ``end`` does not have whole."""
        missing = [
            (chunk.start + chunk.stored_bytes, group, chunk.leaf)
            for group in layout.groups
            for chunk in self._outline.chunks(group)
            if chunk.start + chunk.stored_bytes > end
        ]
        stop, group, leaf = min(missing)
        where = f"row group {group}, column {self._outline.footer.name(leaf)!r}"
        return f"{where}: the file ends at byte {end}, {stop - end} bytes short"


def _together(columns: Sequence[Mapping[str, Values]], names: Sequence[str]) -> Mapping[str, Values]:
    """Return the columns of all mappings as one, in the order of ``names``."""
    viewed = [each for each in columns if isinstance(each, Viewed)]
    if len(viewed) == len(columns):
        return Viewed(names, [piece for each in viewed for piece in each.pieces])
    found = {name: values for each in columns for name, values in each.items()}
    return {name: found[name] for name in names}
