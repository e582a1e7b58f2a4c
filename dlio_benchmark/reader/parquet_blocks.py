"""An open Parquet file as blocks: what each costs, and reading one.

The wanted column chunks of a block are fetched with one request per run of adjacent chunks, and decoded portion
by portion while their bytes are still in the caches.  Views keep the memory of their portion alive.  What cannot
be viewed is decoded by pyarrow from the same bytes.  Memory is that of one block, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple, overload

from dlio_benchmark.batch import Block
from dlio_benchmark.clock import Clock
from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.parquet.decode import Chunk
from dlio_benchmark.parquet.decode_arrow import ArrowDecoder
from dlio_benchmark.parquet.decode_block import BlockDecoder, Decoded
from dlio_benchmark.parquet.decode_footer import Footer, most_decoded
from dlio_benchmark.parquet.decode_memory import reserved
from dlio_benchmark.parquet.decode_path import repeated
from dlio_benchmark.parquet.decode_plan import Plan
from dlio_benchmark.reader.base import BlockRead, BlockShape
from dlio_benchmark.storage.base import InputFile

_PORTION_BYTES = 4 << 20


class Request(NamedTuple):
    """A run of adjacent wanted chunks that is fetched at once."""

    start: int
    bytes: int


class Portion(NamedTuple):
    """Requests that share a piece of memory, and their chunks as (number of the row group, place there)."""

    bytes: int
    requests: Sequence[Request]
    members: Sequence[tuple[int, int]]


class _Layout(NamedTuple):
    """The chunks of a block by row group, in the order of the plan's leaves, and how they are fetched."""

    groups: Sequence[int]
    chunks: list[list[Chunk]]
    portions: list[Portion]
    shape: BlockShape


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


def _portions(groups: Sequence[Sequence[Chunk]]) -> list[Portion]:
    """Return how the chunks of row groups are fetched: in file order, adjacent ones at once, in portions of memory.

    Raises:
        ParquetFileError: if chunks overlap.
    """
    members = [(number, place) for number, chunks in enumerate(groups) for place in range(len(chunks))]
    spans = [(chunk.start, chunk.start + chunk.stored_bytes) for chunks in groups for chunk in chunks]
    if any(stop > after for (_, stop), (after, _) in pairwise(spans)):
        order = sorted(range(len(spans)), key=spans.__getitem__)
        members, spans = [members[at] for at in order], [spans[at] for at in order]
        if any(stop > after for (_, stop), (after, _) in pairwise(spans)):
            raise ParquetFileError("the footer lets column chunks overlap")
    portions: list[Portion] = []
    requests: list[Request] = []
    total = first = begin = end = 0
    for number, (start, stop) in enumerate(spans):
        full = total + stop - start > _PORTION_BYTES and total > 0
        if start != end or full:
            if end > begin:
                requests.append(Request(begin, end - begin))
            begin = start
        if full:
            portions.append(Portion(total, requests, members[first:number]))
            requests, total, first = [], 0, number
        total += stop - start
        end = stop
    if end > begin:
        requests.append(Request(begin, end - begin))
        portions.append(Portion(total, requests, members[first:]))
    return portions


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
        if isinstance(numbers, range):
            return [self._blocks.shape(number) for number in numbers]
        return self._blocks.shape(numbers)


class ParquetBlocks:
    """An open file, made by `ParquetRows.open`; several threads may read blocks of it at once.

    ``blocks`` are the row groups of each block, and ``constants`` the values of the wanted columns that are not
    in the file.  ``decoded`` counts how the columns read so far were decoded.
    """

    def __init__(
        self,
        path: str,
        file: InputFile,
        footer: Footer,
        *,
        footer_bytes: int,
        plan: Plan,
        blocks: Sequence[Sequence[int]],
        names: Sequence[str],
        constants: Mapping[str, Any],
        decode: bool,
        verify: bool,
        clock: Clock,
    ) -> None:
        self.path = path
        self.footer_bytes = footer_bytes
        self.rows: int = footer.metadata.num_rows
        self.shapes: Sequence[BlockShape] = _Shapes(self, len(blocks))
        self.decoded = Decoded()
        self._file, self._footer, self._plan, self._blocks = file, footer, plan, blocks
        self._names, self._constants = names, constants
        self._decode, self._verify, self._clock = decode, verify, clock
        self._layouts: dict[int, _Layout] = {}
        self._arrow = ArrowDecoder(footer.metadata, file.size)

    def shape(self, index: int) -> BlockShape:
        """Return what the footer promises of block ``index``."""
        return self._layout(index).shape

    def close(self) -> None:
        """Release the file; calling it again does nothing."""
        self._file.close()
        self._layouts.clear()
        self.shapes = ()  # they refer to this file, whose footer would else wait for the garbage collector

    def read(self, index: int) -> BlockRead:
        """Read and decode block ``index``; its rows are in file order.

        Raises:
            ParquetFileError: if the block is damaged or shorter than the footer says.
            SchemaMismatchError: if a list has another length than its column.
            StorageError: if the storage fails.
        """
        layout, now_ns = self._layout(index), self._clock.now_ns
        shape, requests = layout.shape, 0
        work = BlockDecoder(self._footer, self._plan, layout.groups, layout.chunks, self._arrow, verify=self._verify)
        bytes_read = io_ns = 0
        begin_ns = now_ns()
        with naming(self.path):
            for portion in layout.portions:
                before_ns = now_ns()
                memory = reserved(portion.bytes)
                bytes_read += self._fetch(layout, portion, memory)
                requests += len(portion.requests)
                io_ns += now_ns() - before_ns
                if self._decode:
                    work.take(portion.members, memory)
                elif self._verify:
                    work.check(portion.members, memory)
            found = work.columns() if self._decode else {}
        block = Block(shape.rows, self._in_order(found, shape.rows))
        decode_ns = now_ns() - begin_ns - io_ns
        self.decoded = Decoded(self.decoded.viewed + work.viewed, self.decoded.by_arrow + work.by_arrow)
        return BlockRead(
            block, shape.row_groups, shape.stored_bytes, bytes_read, requests, io_ns=io_ns, decode_ns=decode_ns
        )

    def _in_order(self, found: Mapping[str, Any], rows: int) -> dict[str, Any]:
        """Return the columns in the order asked for, with those that are the same in each row."""
        if not self._decode:
            return {}
        constants = self._constants
        return {name: repeated(constants[name], rows) if name in constants else found[name] for name in self._names}

    def _layout(self, index: int) -> _Layout:
        known = self._layouts.get(index)
        if known is None:
            with naming(self.path):
                known = self._layouts[index] = self._laid_out(self._blocks[index])
        return known

    def _laid_out(self, groups: Sequence[int]) -> _Layout:
        footer, plan = self._footer, self._plan
        chunks = [footer.chunks(group, plan.leaves) for group in groups]
        portions = _portions(chunks)
        rows = sum(footer.group_rows[group] for group in groups)
        stored = sum(portion.bytes for portion in portions)
        decoded = rows * plan.row_bytes
        if plan.varying:
            decoded += sum(chunk.decoded_bytes for group in chunks for chunk in group if chunk.leaf in plan.varying)
        if decoded > most_decoded(stored):
            msg = f"row group {groups[0]}: {stored} bytes cannot decode to {rows} rows of {decoded} bytes"
            raise ParquetFileError(msg)
        return _Layout(groups, chunks, portions, BlockShape(rows, len(groups), stored, decoded))

    def _fetch(self, layout: _Layout, portion: Portion, memory: memoryview) -> int:
        """Fill ``memory`` with the bytes of ``portion`` and return how many the storage gave."""
        pread, at = self._file.pread, 0
        for start, count in portion.requests:
            got = pread(start, memory[at : at + count])
            at += got
            if got != count:
                raise ParquetFileError(self._short(layout, start + got))
        return at

    def _short(self, layout: _Layout, end: int) -> str:
        """Return what is missing in a file that ends at byte ``end``."""
        for group, chunks in zip(layout.groups, layout.chunks, strict=True):
            for chunk in chunks:
                missing = chunk.start + chunk.stored_bytes - end
                if 0 < missing <= chunk.stored_bytes:
                    where = f"row group {group}, column {self._footer.name(chunk.leaf)!r}"
                    return f"{where}: the file ends at byte {end}, {missing} bytes short"
        return f"the file ends at byte {end}"
