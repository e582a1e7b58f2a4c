"""Which rows stand in which row group and page, before any value exists.

Row groups follow from the rows alone: all are full but the last.  A page holds whole rows of one column, so a column
chunk is a run of pages.  Small pages are made together, so that a thread gets work that is worth handing over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dlio_benchmark.config.model import Column
from dlio_benchmark.parquet.encode import most_rows
from dlio_benchmark.parquet.encode_schema import row_bits

PAGE_BYTES = 2 << 20
JOB_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PageSpan:
    """Rows ``[start, stop)`` of the file that make one page of a column."""

    column: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class FileShape:
    """Row groups and pages of a file of ``rows`` rows; ``page_rows`` and ``row_bits`` have one entry per column."""

    rows: int
    group_rows: int
    page_rows: tuple[int, ...]
    row_bits: tuple[int, ...]

    @property
    def groups(self) -> int:
        """Row groups of the file; none if it has no rows."""
        return -(-self.rows // self.group_rows)

    @property
    def mean_page_bytes(self) -> float:
        """Bytes of values in a page of a full row group, on average over its pages."""
        rows = min(self.rows, self.group_rows)
        pages = sum(-(-rows // page_rows) for page_rows in self.page_rows)
        return rows * sum(self.row_bits) / 8 / max(1, pages)

    def group_of(self, row: int) -> tuple[int, int, int]:
        """Return the number, first row and end of the row group that holds ``row``."""
        group = row // self.group_rows
        start = group * self.group_rows
        return group, start, min(start + self.group_rows, self.rows)

    def spans(self) -> Iterator[PageSpan]:
        """Yield the pages in the order in which they stand in the file."""
        for first in range(0, self.rows, self.group_rows):
            end = min(first + self.group_rows, self.rows)
            for column, page_rows in enumerate(self.page_rows):
                for start in range(first, end, page_rows):
                    yield PageSpan(column, start, min(start + page_rows, end))

    def payload_bytes(self, spans: Iterable[PageSpan]) -> int:
        """Return the bytes of the values in ``spans``."""
        return sum((span.stop - span.start) * self.row_bits[span.column] for span in spans) // 8

    def jobs(self, job_bytes: int = JOB_BYTES) -> Iterator[list[PageSpan]]:
        """Yield the pages in order, as runs of at least ``job_bytes`` bytes of values each; the last may have less."""
        run: list[PageSpan] = []
        bits = 0
        for span in self.spans():
            run.append(span)
            bits += (span.stop - span.start) * self.row_bits[span.column]
            if bits >= job_bytes * 8:
                yield run
                run, bits = [], 0
        if run:
            yield run


def shape_of(columns: tuple[Column, ...], rows: int, group_rows: int, *, rows_at_once: int = 0) -> FileShape:
    """Return the shape of a file; ``rows_at_once`` caps the rows of a page, 0 leaves them to their bytes.

    Raises:
        ConfigError: if a row of a column does not fit into a page.
    """
    most = rows_at_once or group_rows
    page_rows = tuple(min(most_rows(column, PAGE_BYTES), most, group_rows) for column in columns)
    return FileShape(rows, group_rows, page_rows, tuple(row_bits(column) for column in columns))
