"""Row groups and pages of a file, before any value exists."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.model import Column
from dlio_benchmark.parquet.write_plan import PAGE_BYTES, shape_of

columns = st.lists(
    st.builds(Column, st.just("x"), st.sampled_from(ColumnType), st.integers(1, 3000)), min_size=1, max_size=4
).map(tuple)


@given(
    columns=columns,
    rows=st.integers(0, 20_000),
    group_rows=st.integers(1, 9000),
    at_once=st.just(0) | st.integers(50, 900),
)
def test_pages_cover_each_column_chunk_in_file_order(
    columns: tuple[Column, ...], rows: int, group_rows: int, at_once: int
) -> None:
    shape = shape_of(columns, rows, group_rows, rows_at_once=at_once)
    spans = list(shape.spans())
    runs = [
        (key, list(run)) for key, run in itertools.groupby(spans, lambda span: (span.start // group_rows, span.column))
    ]
    assert [key for key, _ in runs] == [(group, at) for group in range(shape.groups) for at in range(len(columns))]
    for (group, _), run in runs:
        assert run[0].start == group * group_rows
        assert run[-1].stop == min((group + 1) * group_rows, rows)
        assert all(one.stop == other.start for one, other in itertools.pairwise(run))
    for span in spans:
        assert 0 < span.stop - span.start <= (at_once or group_rows)
        assert span.stop - span.start == 1 or shape.payload_bytes([span]) <= PAGE_BYTES


@given(rows=st.integers(1, 5000), width=st.integers(1, 100_000), group_rows=st.integers(1, 5000))
def test_a_row_group_of_at_most_a_page_is_one_page_per_column(rows: int, width: int, group_rows: int) -> None:
    shape = shape_of((Column("x", ColumnType.FLOAT32, width),), rows, group_rows)
    if 4 * width * min(rows, group_rows) <= PAGE_BYTES:
        assert len(list(shape.spans())) == shape.groups


@given(columns=columns, rows=st.integers(0, 3000), job_bytes=st.integers(1, 1 << 20))
def test_jobs_hold_the_pages_in_order_and_all_but_the_last_are_worth_it(
    columns: tuple[Column, ...], rows: int, job_bytes: int
) -> None:
    shape = shape_of(columns, rows, 700)
    jobs = list(shape.jobs(job_bytes))
    assert [span for job in jobs for span in job] == list(shape.spans())
    assert all(shape.payload_bytes(job) >= job_bytes for job in jobs[:-1])
    assert all(shape.payload_bytes(job[:-1]) < job_bytes for job in jobs)


@given(rows=st.integers(1, 10**6), group_rows=st.integers(1, 10**5), data=st.data())
def test_the_row_group_of_a_row_holds_it(rows: int, group_rows: int, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, rows - 1))
    group, start, stop = shape_of((Column("x"),), rows, group_rows).group_of(row)
    assert start <= row < stop <= rows
    assert start == group * group_rows
    assert stop - start == group_rows or stop == rows
