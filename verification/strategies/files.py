"""How tables lie in files, how files lie in a data set, and what is asked of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

CODECS = ("none", "snappy", "gzip", "zstd", "lz4")
LEVELS = {"gzip": (1, 9), "zstd": (-3, 9)}
MODES = ("default", "row_group")
EMPTY_DICTIONARY_BYTES, EMPTY_RUNS_BYTES = 8, 100
"""More than pyarrow's encoders of dictionaries, and of booleans in pages of version 2, hold when they are empty."""
_ENCODINGS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (pa.types.is_int32, ("DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")),
    (pa.types.is_int64, ("DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")),
    (pa.types.is_float32, ("BYTE_STREAM_SPLIT",)),
    (pa.types.is_float64, ("BYTE_STREAM_SPLIT",)),
    (pa.types.is_string, ("DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY")),
    (pa.types.is_binary, ("DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY")),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table lies in a file.

    ``groups`` are the rows of each row group, which may differ and may be zero; without them every row group but the
    last has ``row_group_size`` rows.  ``page_rows`` is how many rows the writer takes at once, and so the least that
    a page has; ``encoding`` picks one of the encodings that Parquet has besides PLAIN and dictionaries.
    """

    row_group_size: int
    codec: str = "none"
    dictionary: bool = False
    page_version: str = "1.0"
    statistics: bool = False
    level: int | None = None
    page_bytes: int = 1 << 20
    page_rows: int = 1024
    checksums: bool = False
    store_schema: bool = True
    encoding: int | None = None
    groups: tuple[int, ...] | None = None

    def arguments(self, table: pa.Table) -> dict[str, Any]:
        """Return the layout as arguments of `pyarrow.parquet.ParquetWriter` for ``table``.

        pyarrow begins a chunk of lists with an empty page if a page is full before its first value, and does not find
        the rows behind it.  So pages of lists are at least as large as what its encoders hold when they are empty.
        """
        least_bytes = max(map(self._empty_bytes, table.schema.types), default=0)
        return {
            "compression": self.codec,
            "compression_level": self.level,
            "use_dictionary": self.dictionary and self.encoding is None,
            "data_page_version": self.page_version,
            "write_statistics": self.statistics,
            "data_page_size": max(self.page_bytes, least_bytes),
            "write_batch_size": self.page_rows,
            "write_page_checksum": self.checksums,
            "store_schema": self.store_schema,
        }

    def written(self, table: pa.Table) -> bytes:
        """Return ``table`` as a Parquet file, written by pyarrow."""
        sink = io.BytesIO()
        encodings = self._encodings(table)
        with pq.ParquetWriter(sink, table.schema, column_encoding=encodings, **self.arguments(table)) as out:
            for start, stop in self.cuts(table.num_rows):
                out.write_table(table.slice(start, stop - start), row_group_size=max(1, stop - start))
        return sink.getvalue()

    def cuts(self, rows: int) -> list[tuple[int, int]]:
        """Return the rows ``[start, stop)`` of each row group of a file of ``rows`` rows."""
        if self.groups is None:
            starts = range(0, rows, self.row_group_size)
            return [(start, min(rows, start + self.row_group_size)) for start in starts]
        ends = [sum(self.groups[:number]) for number in range(len(self.groups) + 1)]
        return list(pairwise(ends))

    def _empty_bytes(self, kind: pa.DataType) -> int:
        if self.page_version == "2.0" and _has_lists_of_bools(kind):
            return EMPTY_RUNS_BYTES
        return EMPTY_DICTIONARY_BYTES if self.dictionary and _has_lists(kind) else 0

    def _encodings(self, table: pa.Table) -> dict[str, str] | None:
        if self.encoding is None:
            return None
        known = {
            field.name: words[self.encoding % len(words)]
            for field in table.schema
            for applies, words in _ENCODINGS
            if applies(field.type)
        }
        return {name: word for name, word in known.items() if "." not in name} or None


def _parts(kind: pa.DataType) -> list[pa.DataType]:
    return [kind.field(place).type for place in range(kind.num_fields)] if pa.types.is_nested(kind) else []


def _has_lists(kind: pa.DataType) -> bool:
    return pa.types.is_nested(kind) and (not pa.types.is_struct(kind) or any(map(_has_lists, _parts(kind))))


def _has_lists_of_bools(kind: pa.DataType, below: bool = False) -> bool:
    if pa.types.is_boolean(kind):
        return below
    return any(_has_lists_of_bools(part, below or not pa.types.is_struct(kind)) for part in _parts(kind))


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked of a file, and how it is to be read."""

    columns: tuple[str, ...]
    mode: str
    group_window: int
    block_bytes: int
    verify: bool


@dataclass(frozen=True, slots=True)
class Geometry:
    """Files, rows and readers of a data set, including shapes that leave readers without work."""

    files: int
    rows_per_file: int
    row_group_size: int
    batch: int
    ranks: int
    epochs: int

    @property
    def samples(self) -> int:
        """All rows of the data set."""
        return self.files * self.rows_per_file


# -- layout -----------------------------------------------------------------------------------------------------------
def codecs() -> st.SearchStrategy[str]:
    """Return the words of the codecs, all equally often."""
    return st.sampled_from(CODECS)


def row_group_sizes(rows: int) -> st.SearchStrategy[int]:
    """Return row-group sizes for a file of ``rows`` rows: one row, around the whole file, and between."""
    edges = sorted({1, max(1, rows - 1), max(1, rows), rows + 1, max(1, rows // 2)})
    return st.sampled_from(edges) | st.integers(1, max(1, rows + 1))


@st.composite
def uneven_groups(draw: st.DrawFn, rows: int) -> tuple[int, ...]:
    """Return the rows of row groups that differ in size and hold ``rows`` together; some may have none.

    For no rows there may be no row group at all.
    """
    if not rows:
        return (0,) * draw(st.integers(0, 2))
    borders = draw(st.lists(st.integers(0, rows), max_size=6))
    return tuple(stop - start for start, stop in pairwise([0, *sorted(borders), rows]))


@st.composite
def layouts(draw: st.DrawFn, *, rows: int = 30, exact: bool = False) -> Layout:
    """Return layouts of a file of about ``rows`` rows; of just as many with ``exact``, then also with uneven groups."""
    codec = draw(codecs())
    levels = LEVELS.get(codec)
    return Layout(
        row_group_size=draw(row_group_sizes(rows)),
        codec=codec,
        dictionary=draw(st.booleans()),
        page_version=draw(st.sampled_from(["1.0", "2.0"])),
        statistics=draw(st.booleans()),
        level=draw(st.none() | st.integers(*levels)) if levels else None,
        page_bytes=draw(st.sampled_from([1, 64, 1 << 20])),
        page_rows=draw(st.sampled_from([1, 3, 1024])),
        checksums=draw(st.booleans()),
        encoding=draw(st.none() | st.integers(0, 1)),
        groups=draw(st.none() | uneven_groups(rows)) if exact else None,
    )


def without_codec(layout: Layout) -> Layout:
    """Return the plainest layout with the row groups of ``layout``: what others are compared with."""
    return replace(Layout(layout.row_group_size), groups=layout.groups)


# -- access -----------------------------------------------------------------------------------------------------------
@st.composite
def selections(draw: st.DrawFn, columns: Sequence[str], *, least: int = 1) -> list[str]:
    """Return some of ``columns``, at least ``least`` of them, in any order."""
    chosen = draw(st.lists(st.sampled_from(list(columns)), min_size=min(least, len(columns)), unique=True))
    return list(draw(st.permutations(chosen)))


@st.composite
def accesses(draw: st.DrawFn, columns: Sequence[str]) -> Access:
    """Return ways to read a file: columns in any order, row groups one by one, several at a time, or by bytes."""
    return Access(
        columns=tuple(draw(selections(columns))),
        mode=draw(st.sampled_from(MODES)),
        group_window=draw(st.integers(1, 4)),
        block_bytes=draw(st.sampled_from([1, 100, 1000, 16 << 20])),
        verify=draw(st.booleans()),
    )


def partition_values() -> st.SearchStrategy[str]:
    """Return values of a partition column, with what a path must escape."""
    return st.sampled_from(["plain", "a/b", "a=b", "100%", "..", " ", "ü", "a%2Fb"]) | st.text(min_size=1, max_size=8)


@st.composite
def geometries(draw: st.DrawFn, *, max_ranks: int = 4, max_rows: int = 60) -> Geometry:
    """Return data sets and readers: more ranks than files, batches larger than a rank's share, uneven row groups."""
    rows = draw(st.integers(1, max_rows))
    return Geometry(
        files=draw(st.integers(1, 6)),
        rows_per_file=rows,
        row_group_size=draw(row_group_sizes(rows)),
        batch=draw(st.sampled_from([1, 2, 3, rows, rows + 1]) | st.integers(1, rows)),
        ranks=draw(st.integers(1, max_ranks)),
        epochs=draw(st.integers(1, 3)),
    )


def uneven_files(*, most_files: int = 5, most_rows: int = 40) -> st.SearchStrategy[tuple[int, ...]]:
    """Return the rows of each file of a data set; they differ, and some files may be empty."""
    return st.lists(st.just(0) | st.integers(1, most_rows), min_size=1, max_size=most_files).map(tuple)
