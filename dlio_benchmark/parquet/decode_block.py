"""The columns of a block out of the bytes of its chunks: views where possible, pyarrow for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa

from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.parquet.decode import Array, Chunk, check_sizes, chunk_values, pages, viewed
from dlio_benchmark.parquet.decode_arrow import octets_of, values_of
from dlio_benchmark.parquet.decode_footer import most_decoded
from dlio_benchmark.parquet.decode_form import Form, View
from dlio_benchmark.parquet.decode_headers import DICTIONARY_PAGE, PageError, PageHeader
from dlio_benchmark.parquet.decode_outline import Layout, Outline, Portion
from dlio_benchmark.parquet.decode_plan import Wanted
from dlio_benchmark.values import Columns, Part, Parted, Stored, Viewed

_LARGE_BYTES = 64 << 10


class Decoded(NamedTuple):
    """How many columns of row groups were viewed, and how many pyarrow decoded."""

    viewed: int = 0
    by_arrow: int = 0


class BlockDecoder:
    """Takes the chunks of a block as they come and gives its columns at the end.

    Errors name row group, column and, where it is known, the byte in the file.  ``names`` are the columns that are
    whole in ``layout``, all of the plan by default.
    """

    def __init__(self, outline: Outline, layout: Layout, *, verify: bool, names: Sequence[str] | None = None) -> None:
        self.viewed = self.by_arrow = 0
        self._footer, self._plan, self._arrow = outline.footer, outline.plan, outline.arrow
        self._outline, self._groups, self._verify = outline, layout.groups, verify
        self._names = outline.plan.names if names is None else names
        self._portions = len(layout.portions)
        self._known: list[list[Chunk]] | None = None
        self._parts: list[dict[str, Part]] = [{} for _ in layout.groups]
        self._left: list[dict[int, memoryview]] = [{} for _ in layout.groups]
        self._formed: list[tuple[Form, memoryview]] = []

    @property
    def _chunks(self) -> list[list[Chunk]]:
        """The chunks of each row group; portions of a known form are taken without them."""
        if self._known is None:
            self._known = [self._outline.chunks(group) for group in self._groups]
        return self._known

    def take(self, portion: Portion, memory: memoryview) -> None:
        """Decode the chunks of ``portion``, whose bytes fill ``memory``."""
        slot, owners = portion.slot, self._plan.owners
        form = None if self._verify else slot.fitting(memory)
        if form is not None:
            self.viewed += len(form.names)
            self._formed.append((form, memory))
            return
        views: list[View] = []
        at = 0
        for number, place in slot.members:
            chunk, column = self._chunks[number][place], owners[place]
            end = at + chunk.stored_bytes
            try:
                view = viewed(memory[at:end], chunk, column.leaf) if column.leaf and not self._verify else None
                if view is None:
                    self._take_pages(number, place, memory[at:end])
                else:
                    self._take_values(number, column, view)
                    views.append(View(at, end, view))
            except PageError as error:
                raise self._damage(number, chunk, error) from error.__cause__
            at = end
        if not self._verify:
            all_viewed = len(views) == len(slot.members) and not any(owners[place].octets for _, place in slot.members)
            slot.learn(memory, views if all_viewed else None)

    def _take_pages(self, number: int, place: int, body: memoryview) -> None:
        """Decode a chunk page by page, or leave it to pyarrow."""
        chunk, column = self._chunks[number][place], self._plan.owners[place]
        headers = pages(body, chunk, self._verify)
        values = chunk_values(body, chunk, column.leaf, headers) if column.leaf else None
        if values is None:
            if not headers:
                raise PageError(0, f"there are {chunk.rows} rows, but no page")
            check_sizes(chunk, headers)
            self._leave(number, place, body, headers)
            return
        self._take_values(number, column, values)

    def _take_values(self, number: int, column: Wanted, values: Array) -> None:
        self.viewed += 1
        self._parts[number][column.name] = octets_of(values, column.kind) if column.octets else values

    def check(self, portion: Portion, memory: memoryview) -> None:
        """Check the pages and the checksums of the chunks of ``portion``, and decode nothing."""
        at = 0
        for number, place in portion.slot.members:
            chunk = self._chunks[number][place]
            try:
                pages(memory[at : at + chunk.stored_bytes], chunk, self._verify)
            except PageError as error:
                raise self._damage(number, chunk, error) from None
            at += chunk.stored_bytes

    def columns(self) -> Columns:
        """Return all columns by name, after all chunks have been taken."""
        if len(self._formed) == self._portions and 1 in (self._portions, len(self._groups)):
            pieces = [(memory, form.sheets) for form, memory in self._formed if form.sheets is not None]
            if len(pieces) == self._portions:
                return Viewed(self._names, pieces)
        for form, memory in self._formed:
            for (number, _), name, place in zip(form.members, form.names, form.places, strict=True):
                self._parts[number][name] = Stored(memory, *place)
        for number, bodies in enumerate(self._left):
            if bodies:
                self._decode(number, bodies)
        return Parted({name: [parts[name] for parts in self._parts] for name in self._names})

    def _damage(self, number: int, chunk: Chunk, error: PageError) -> ParquetFileError:
        where = f"row group {self._groups[number]}, column {self._footer.name(chunk.leaf)!r}"
        return ParquetFileError(f"{where}, byte {chunk.start + error.at}: {error}")

    def _leave(self, number: int, place: int, body: memoryview, headers: Sequence[PageHeader]) -> None:
        """Leave a chunk to pyarrow: at once if it is the whole of a large column, else with others of its group."""
        chunk, column = self._chunks[number][place], self._plan.owners[place]
        longest = headers[0].decoded if headers and headers[0].content.kind == DICTIONARY_PAGE else 0
        if column.octets and chunk.values * longest > most_decoded(chunk.stored_bytes):
            self._decode_text(number, column, chunk, body, longest)
        elif len(column.leaves) == 1 and chunk.decoded_bytes >= _LARGE_BYTES:
            self._decode(number, {place: body})
        else:
            self._left[number][place] = body

    def _decode_text(self, number: int, column: Wanted, chunk: Chunk, body: memoryview, longest: int) -> None:
        """Decode in steps a column that could fill the memory with ``longest`` bytes in each row."""
        group, most_bytes = self._groups[number], most_decoded(chunk.stored_bytes)
        with self._naming(number, [column]):
            if pa.types.is_dictionary(self._footer.schema.field(column.name).type):
                text = self._arrow.read(group, [chunk.leaf], {chunk.start: body}).column(0)
            else:
                step = {"rows_at_once": max(1, most_bytes // longest), "most_bytes": most_bytes}
                text = self._arrow.read_text(group, chunk.leaf, {chunk.start: body}, **step)
            self._keep(number, column, text)

    def _keep(self, number: int, column: Wanted, values: pa.ChunkedArray) -> None:
        rows, stored = self._chunks[number][0].rows, sum(self._chunks[number][p].stored_bytes for p in column.places)
        if len(values) != rows:
            raise ParquetFileError(f"{len(values)} rows came out; the footer says {rows}")
        self._parts[number][column.name] = values_of(values, column.kind, most_decoded(stored))
        self.by_arrow += 1

    @contextmanager
    def _naming(self, number: int, columns: Sequence[Wanted]) -> Iterator[None]:
        """Turn what pyarrow raises into errors that name the row group and the columns."""
        where = f"row group {self._groups[number]}, columns {', '.join(repr(column.name) for column in columns)}"
        try:
            yield
        except SchemaMismatchError as error:
            raise SchemaMismatchError(f"{where}: {error}") from error
        except (pa.ArrowException, ParquetFileError, OSError, ValueError, KeyError, NotImplementedError) as error:
            raise ParquetFileError(f"{where}: {error}") from error

    def _decode(self, number: int, bodies: Mapping[int, memoryview]) -> None:
        """Decode with pyarrow the columns of a row group that could not be viewed."""
        group, chunks = self._groups[number], self._chunks[number]
        columns = list(dict.fromkeys(self._plan.owners[place] for place in bodies))
        with self._naming(number, columns):
            leaves = sorted(chunks[place].leaf for place in bodies)
            table = self._arrow.read(group, leaves, {chunks[place].start: body for place, body in bodies.items()})
            for column in columns:
                self._keep(number, column, table.column(column.name))
