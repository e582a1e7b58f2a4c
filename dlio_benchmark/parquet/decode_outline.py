"""What a footer says of a file, worked out once for all files that have the same one.

Files of a data set that has neither codec nor statistics differ in their values only: their footers are the same bytes.
So an outline is kept with the bytes that it was made from, and stands for every file that has them and the same
length; each file's own footer is read and compared all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.parquet.decode import Chunk, may_be_viewed
from dlio_benchmark.parquet.decode_arrow import ArrowDecoder
from dlio_benchmark.parquet.decode_footer import Footer, most_decoded
from dlio_benchmark.parquet.decode_form import Member, Slot, Slots
from dlio_benchmark.parquet.decode_plan import Plan, Wanted
from dlio_benchmark.reader.base import BlockShape

_MOST_GROUPS = 16
_PORTION_BYTES, _VIEWED_BYTES = 4 << 20, 16 << 20  # about; what is decoded should still be in a cache
_TAKEN_BYTES = 6 << 20  # about, and so are these, of which rows are taken right behind the read
_REQUEST_BYTES = 1 << 20  # for which they may be more
_PIECE_BYTES = 4 << 10  # columns are not read apart for less: each piece costs as much as copying so many bytes


class Request(NamedTuple):
    """A run of ``chunks`` adjacent wanted chunks that is fetched at once."""

    start: int
    bytes: int
    chunks: int


class Portion(NamedTuple):
    """Requests that share a piece of memory.

    ``slot`` says which chunks they are, and is shared by portions whose chunks have the same sizes and order if all of
    them may be viewed.
    """

    bytes: int
    requests: Sequence[Request]
    slot: Slot


class Layout(NamedTuple):
    """The row groups of a block, and how their wanted chunks are fetched."""

    groups: Sequence[int]
    portions: Sequence[Portion]
    shape: BlockShape


class Outline:
    """Footer, plan and blocks of a file of ``file_bytes`` bytes that ends with the bytes ``text``.

    ``blocks`` are the row groups of each block, ``absent`` the wanted columns that the file does not have, and
    ``slots`` are shared by all outlines of the plan.  Several threads may ask for layouts at once.
    """

    def __init__(
        self,
        text: bytes,
        file_bytes: int,
        footer: Footer,
        plan: Plan,
        blocks: Sequence[Sequence[int]],
        *,
        absent: Sequence[Column],
        slots: Slots,
    ) -> None:
        self.footer, self.plan, self.blocks, self.absent, self.slots = footer, plan, blocks, absent, slots
        self.arrow = ArrowDecoder(footer.metadata, file_bytes)
        self._text, self._file_bytes = text, file_bytes
        self._layouts: dict[int, Layout] = {}
        self._by_columns: dict[int, Layout | None] = {}
        self._chunks: dict[int, list[Chunk]] = {}

    def holds_for(self, text: bytes, file_bytes: int) -> bool:
        """Return whether a file of ``file_bytes`` bytes with the footer ``text`` is outlined by this."""
        return file_bytes == self._file_bytes and text == self._text

    def layout(self, index: int) -> Layout:
        """Return what block ``index`` is made of, its chunks in the order of the file.

        Raises:
            ParquetFileError: if the footer places chunks where they cannot be, or they cannot hold what it says.
        """
        known = self._layouts.get(index)
        if known is None:
            known = self._layouts[index] = self._laid_out(self.blocks[index])
        return known

    def by_columns(self, index: int) -> Layout | None:
        """Return block ``index`` in portions of a few whole columns each; None where that would gain nothing.

        It gains where all values may be viewed and stand in chunks that are not tiny.

        Raises:
            ParquetFileError: as `layout` does.
        """
        if index not in self._by_columns:
            self._by_columns[index] = self._cut_by_columns(self.layout(index))
        return self._by_columns[index]

    def chunks(self, group: int) -> list[Chunk]:
        """Return the wanted chunks of a row group, in the order of the plan's leaves.

        Those of the last few are kept: of many row groups they would take more memory than the footer does.

        Raises:
            ParquetFileError: if the footer places one where it cannot be.
        """
        found = self._chunks.get(group)
        if found is None:
            found = self.footer.chunks(group, self.plan.leaves)
            if len(self._chunks) >= _MOST_GROUPS:
                self._chunks.clear()
            self._chunks[group] = found
        return found

    def _laid_out(self, groups: Sequence[int]) -> Layout:
        footer, plan = self.footer, self.plan
        chunks = [self.chunks(group) for group in groups]
        portions = self._portions(chunks)
        rows = sum(footer.group_rows[group] for group in groups)
        stored = sum(portion.bytes for portion in portions)
        decoded = rows * plan.row_bytes
        if plan.varying:
            decoded += sum(chunk.decoded_bytes for group in chunks for chunk in group if chunk.leaf in plan.varying)
        if decoded > most_decoded(stored):
            msg = f"row group {groups[0]}: {stored} bytes cannot decode to {rows} rows of {decoded} bytes"
            raise ParquetFileError(msg)
        return Layout(groups, portions, BlockShape(rows, len(groups), stored, decoded))

    def _portions(self, groups: Sequence[Sequence[Chunk]]) -> list[Portion]:
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
        viewable = [_is_viewable(self.plan.owners[place], groups[number][place]) for number, place in members]
        return [
            self._portion([members[at] for at in part], groups, viewable=all(viewable[at] for at in part))
            for part in _shared_out(
                [stop - start for start, stop in spans], _VIEWED_BYTES if all(viewable) else _PORTION_BYTES
            )
        ]

    def _cut_by_columns(self, layout: Layout) -> Layout | None:
        groups = [self.chunks(group) for group in layout.groups]
        owners = self.plan.owners
        places = sorted(range(len(owners)), key=lambda place: groups[0][place].start)
        if layout.shape.stored_bytes < len(places) * len(groups) * _PIECE_BYTES or not all(
            _is_viewable(owners[place], chunks[place]) for chunks in groups for place in places
        ):
            return None
        sizes = [sum(chunks[place].stored_bytes for chunks in groups) for place in places]
        portions = []
        for part in _shared_out(sizes, max(_TAKEN_BYTES, len(groups) * _REQUEST_BYTES)):
            members = [(number, places[at]) for number in range(len(groups)) for at in part]
            members.sort(key=lambda member: groups[member[0]][member[1]].start)
            portions.append(self._portion(members, groups, viewable=True))
        return layout._replace(portions=portions)

    def _portion(self, members: Sequence[Member], groups: Sequence[Sequence[Chunk]], *, viewable: bool) -> Portion:
        """Return the portion of ``members``, which are in the order of the file."""
        chunks = [(number, groups[number][place]) for number, place in members]
        requests: list[Request] = []
        for _, chunk in chunks:
            last = requests[-1] if requests else None
            if last is not None and last.start + last.bytes == chunk.start:
                requests[-1] = Request(last.start, last.bytes + chunk.stored_bytes, last.chunks + 1)
            else:
                requests.append(Request(chunk.start, chunk.stored_bytes, 1))
        total = sum(request.bytes for request in requests)
        names = tuple(self.plan.owners[place].name for _, place in members)
        if not viewable:
            return Portion(total, requests, Slot(tuple(members), names))
        make = tuple((number, one.leaf, one.stored_bytes, one.rows, one.values, one.codec) for number, one in chunks)
        return Portion(total, requests, self.slots.of(make, tuple(members), names))


def _shared_out(sizes: Sequence[int], most: int) -> Iterator[range]:
    """Yield runs of numbers of ``sizes``, of about the same size and at most about ``most`` bytes each.

    Portions of about the same size can use each other's memory again.
    """
    whole = sum(sizes)
    each = whole / max(1, -(-whole // most))
    first = done = runs = 0
    for number, size in enumerate(sizes):
        if number > first and done + size / 2 > each * (runs + 1):
            yield range(first, number)
            first, runs = number, runs + 1
        done += size
    if first < len(sizes):
        yield range(first, len(sizes))


def _is_viewable(owner: Wanted, chunk: Chunk) -> bool:
    return owner.leaf is not None and not owner.octets and may_be_viewed(chunk, owner.leaf)
