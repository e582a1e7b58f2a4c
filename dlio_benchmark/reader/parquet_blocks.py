"""An open Parquet file as blocks: what each costs, and reading one.

The wanted column chunks of a block are fetched with one request per run of adjacent chunks into one piece of
memory, which the views of its values keep alive.  Chunks that cannot be viewed are decoded by pyarrow from the
same bytes.  Memory is that of one block, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa

from dlio_benchmark.batch import Block, Values, as_arrow
from dlio_benchmark.clock import Clock
from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.parquet.decode import Chunk, check_sizes, chunk_values, pages
from dlio_benchmark.parquet.decode_arrow import ArrowDecoder, values_of
from dlio_benchmark.parquet.decode_footer import Footer, is_plausible
from dlio_benchmark.parquet.decode_headers import PageError, PageHeader
from dlio_benchmark.parquet.decode_path import repeated
from dlio_benchmark.parquet.decode_plan import Plan, Wanted
from dlio_benchmark.reader.base import BlockRead, BlockShape
from dlio_benchmark.storage.base import InputFile


class Decoded(NamedTuple):
    """How many columns of row groups were viewed, and how many pyarrow decoded."""

    viewed: int = 0
    by_arrow: int = 0


class Request(NamedTuple):
    """A run of adjacent wanted chunks: ``bytes`` of the file from ``start``."""

    start: int
    bytes: int


class _Layout(NamedTuple):
    """The chunks of a block by row group, in the order of the plan's leaves, with their places in its memory."""

    groups: list[tuple[int, list[Chunk], list[int]]]
    requests: list[Request]
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


def _requests(chunks: Sequence[Chunk]) -> tuple[list[Request], list[int]]:
    """Return one request per run of adjacent ``chunks``, and the place of each chunk in the bytes they bring.

    Raises:
        ParquetFileError: if chunks overlap.
    """
    requests: list[Request] = []
    places = [0] * len(chunks)
    start = stop = place = 0
    for number in sorted(range(len(chunks)), key=lambda number: chunks[number].start):
        chunk = chunks[number]
        if chunk.start != stop:
            if chunk.start < stop:
                msg = f"the footer lets two column chunks overlap at byte {chunk.start}"
                raise ParquetFileError(msg)
            if stop > start:
                requests.append(Request(start, stop - start))
            start = chunk.start
        places[number] = place
        place += chunk.stored_bytes
        stop = chunk.start + chunk.stored_bytes
    if stop > start:
        requests.append(Request(start, stop - start))
    return requests, places


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
    """An open file; `ParquetRows.open` makes it.  ``blocks`` are the row groups of each block."""

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
        self._arrow: ArrowDecoder | None = None

    def shape(self, index: int) -> BlockShape:
        """Return what the footer promises of block ``index``."""
        return self._layout(index).shape

    def close(self) -> None:
        """Release the file; calling it again does nothing."""
        self._file.close()
        self._layouts.clear()
        self._arrow = None

    def read(self, index: int) -> BlockRead:
        """Read and decode block ``index``; its rows are in file order.

        Raises:
            ParquetFileError: if the block is damaged or shorter than the footer says.
            SchemaMismatchError: if a list has another length than its column.
            StorageError: if the storage fails.
        """
        layout = self._layout(index)
        now_ns, shape = self._clock.now_ns, layout.shape
        begin_ns = now_ns()
        memory = np.empty(shape.stored_bytes, np.uint8).data
        bytes_read = self._fetch(layout, memory)
        fetched_ns = now_ns()
        with naming(self.path):
            columns = self._columns(layout, memory)
        block = Block(shape.rows, columns)
        io_ns, decode_ns = fetched_ns - begin_ns, now_ns() - fetched_ns
        requests = len(layout.requests)
        return BlockRead(block, shape.row_groups, shape.stored_bytes, bytes_read, requests, io_ns, decode_ns)

    def _layout(self, index: int) -> _Layout:
        known = self._layouts.get(index)
        if known is None:
            with naming(self.path):
                known = self._layouts[index] = self._laid_out(self._blocks[index])
        return known

    def _laid_out(self, groups: Sequence[int]) -> _Layout:
        leaves = self._plan.leaves
        chunks = [chunk for group in groups for chunk in self._footer.chunks(group, leaves)]
        requests, places = _requests(chunks)
        rows = sum(self._footer.group_rows[group] for group in groups)
        stored = sum(chunk.stored_bytes for chunk in chunks)
        varying = self._plan.varying
        decoded = rows * self._plan.row_bytes + sum(chunk.decoded_bytes for chunk in chunks if chunk.leaf in varying)
        if not is_plausible(decoded, stored):
            msg = f"row group {groups[0]}: {rows} rows cannot decode from {stored} bytes to {decoded}"
            raise ParquetFileError(msg)
        width = len(leaves)
        cuts = [slice(number * width, (number + 1) * width) for number in range(len(groups))]
        by_group = [(group, chunks[cut], places[cut]) for group, cut in zip(groups, cuts, strict=True)]
        return _Layout(by_group, requests, BlockShape(rows, len(groups), stored, decoded))

    def _fetch(self, layout: _Layout, memory: memoryview) -> int:
        """Fill ``memory`` with the block's chunks and return the bytes that the storage gave."""
        place = 0
        for start, count in layout.requests:
            got = self._file.pread(start, memory[place : place + count])
            place += got
            if got != count:
                raise ParquetFileError(f"{self.path}: {self._short(layout, start + got)}")
        return place

    def _short(self, layout: _Layout, end: int) -> str:
        for group, chunks, _ in layout.groups:
            for chunk in chunks:
                if chunk.start <= end < chunk.start + chunk.stored_bytes:
                    name = self._footer.name(chunk.leaf)
                    missing = chunk.start + chunk.stored_bytes - end
                    return f"row group {group}, column {name!r}: the file ends at byte {end}, {missing} bytes short"
        return f"the file ends at byte {end}"

    def _columns(self, layout: _Layout, memory: memoryview) -> dict[str, Values]:
        """Return the block's columns, or none if nothing is to be decoded."""
        parts: dict[str, list[Values]] = {name: [] for name in self._names}
        for group, chunks, places in layout.groups:
            bodies = [memory[at : at + chunk.stored_bytes] for chunk, at in zip(chunks, places, strict=True)]
            if self._decode:
                self._group(group, chunks, bodies, parts)
            elif self._verify:
                for chunk, body in zip(chunks, bodies, strict=True):
                    self._pages(group, chunk, body)
        if not self._decode:
            return {}
        rows = layout.shape.rows
        constants = {name: repeated(value, rows) for name, value in self._constants.items()}
        return {name: constants[name] if name in constants else _joined(parts[name]) for name in self._names}

    def _group(
        self, group: int, chunks: Sequence[Chunk], bodies: Sequence[memoryview], parts: Mapping[str, list[Values]]
    ) -> None:
        """Decode one row group: views where possible, pyarrow for the other columns together."""
        left: list[Wanted] = []
        wanted = self._plan.wanted
        for column in wanted:
            values = None
            for place in column.places:
                chunk, body = chunks[place], bodies[place]
                headers = self._pages(group, chunk, body)
                if column.leaf:
                    values = self._viewed(group, chunk, body, column, headers)
            if values is None:
                left.append(column)
            else:
                parts[column.name].append(values)
        self.decoded = Decoded(self.decoded.viewed + len(wanted) - len(left), self.decoded.by_arrow + len(left))
        if left:
            self._by_arrow(group, left, chunks, bodies, parts)

    def _pages(self, group: int, chunk: Chunk, body: memoryview) -> list[PageHeader]:
        try:
            return pages(body, chunk, self._verify)
        except PageError as error:
            raise self._damage(group, chunk, error) from None

    def _damage(self, group: int, chunk: Chunk, error: PageError) -> ParquetFileError:
        where = f"row group {group}, column {self._footer.name(chunk.leaf)!r}, byte {chunk.start + error.at}"
        return ParquetFileError(f"{where}: {error}")

    def _viewed(
        self, group: int, chunk: Chunk, body: memoryview, column: Wanted, headers: list[PageHeader]
    ) -> Values | None:
        assert column.leaf is not None  # noqa: S101 - the caller has seen it
        try:
            return chunk_values(body, chunk, column.leaf, headers)
        except PageError as error:
            raise self._damage(group, chunk, error) from None

    def _by_arrow(
        self,
        group: int,
        left: Sequence[Wanted],
        chunks: Sequence[Chunk],
        bodies: Sequence[memoryview],
        parts: Mapping[str, list[Values]],
    ) -> None:
        names = ", ".join(repr(column.name) for column in left)
        rows = self._footer.group_rows[group]
        places = [place for column in left for place in column.places]
        try:
            for place in places:
                check_sizes(chunks[place], pages(bodies[place], chunks[place], verify=False))
            if self._arrow is None:
                self._arrow = ArrowDecoder(self._footer.metadata, self._file.size)
            leaves = sorted(chunks[place].leaf for place in places)
            table = self._arrow.read(group, leaves, {chunks[place].start: bodies[place] for place in places})
            if table.num_rows != rows:
                raise ParquetFileError(f"{table.num_rows} rows came out; the footer says {rows}")
            for column in left:
                parts[column.name].append(values_of(table.column(column.name), column.kind))
        except SchemaMismatchError as error:
            raise SchemaMismatchError(f"row group {group}, columns {names}: {error}") from error
        except (pa.ArrowException, ParquetFileError, OSError, ValueError, NotImplementedError) as error:
            raise ParquetFileError(f"row group {group}, columns {names}: {error}") from error


def _joined(parts: Sequence[Values]) -> Values:
    """Return the values of several row groups one after the other."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    arrays = [as_arrow(part) for part in parts]
    kind = next(part.type for part in parts if not isinstance(part, np.ndarray))
    return pa.concat_arrays([array if array.type == kind else array.cast(kind) for array in arrays])
