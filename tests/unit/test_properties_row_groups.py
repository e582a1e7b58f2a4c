"""Row groups are read one by one, in windows, or by bytes: nothing is lost, repeated, or read for nothing."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from property_reading import MODE, PATH, columns_read, read_whole, rows_reader, stored, written

from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.reader.base import BlockRead
from dlio_benchmark.reader.parquet_blocks import ParquetBlocks
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.values import as_arrow
from verification.oracle import plain
from verification.strategies import Access, Layout, accesses, layouts, numbered, uneven_groups

COLUMNS = (Column("row", ColumnType.INT64), Column("c0", ColumnType.FLOAT64), Column("c2", ColumnType.FLOAT32, 4))
NAMES = tuple(column.name for column in COLUMNS)
ROWS = 60


@dataclass(frozen=True, slots=True)
class Case:
    """A file of numbered rows in uneven row groups, and how it is read."""

    groups: tuple[int, ...]
    body: bytes
    access: Access

    @property
    def columns(self) -> list[Column]:
        """The columns asked for, in that order."""
        return [next(column for column in COLUMNS if column.name == name) for name in self.access.columns]

    def opened(self, storage: MemoryStorage) -> ParquetBlocks:
        """Return the open file."""
        return rows_reader(storage, self.columns, self.access).open(PATH)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Return files with row groups of any number of rows, none included, and all ways to read them."""
    groups = draw(uneven_groups(draw(st.integers(0, ROWS))))
    layout = replace(draw(layouts()), groups=groups)
    return Case(groups, written(numbered(sum(groups), columns=4), layout), draw(accesses(NAMES)))


def chunk_spans(body: bytes, names: tuple[str, ...]) -> list[list[range]]:
    """Return where the chunks of the wanted columns lie, by row group, as pyarrow reads the footer."""
    footer = pq.read_metadata(io.BytesIO(body))
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    found = []
    for group in groups:
        chunks = [group.column(number) for number in range(group.num_columns)]
        starts = [
            (c.dictionary_page_offset or c.data_page_offset, c)
            for c in chunks
            if c.path_in_schema.split(".")[0] in names
        ]
        found.append([range(start, start + chunk.total_compressed_size) for start, chunk in starts])
    return found


def blocks_of(groups: tuple[int, ...], access: Access, sizes: list[int]) -> list[list[int]]:
    """Return the row groups of each block, worked out one by one; ``sizes`` are their decoded bytes."""
    found: list[list[int]] = []
    for number, rows in enumerate(groups):
        if not rows:
            continue
        if access.mode == "row_group":
            fits = bool(found) and len(found[-1]) < access.group_window
        else:
            fits = bool(found) and sum(sizes[one] for one in found[-1]) + sizes[number] <= access.block_bytes
        if fits:
            found[-1].append(number)
        else:
            found.append([number])
    return found


WIDTH = {"row": 8, "c0": 8, "c2": 16}


@given(case=cases())
def test_blocks_are_whole_row_groups_in_file_order(case: Case) -> None:
    file = case.opened(stored(case.body))
    sizes = [rows * sum(WIDTH[name] for name in case.access.columns) for rows in case.groups]
    blocks = blocks_of(case.groups, case.access, sizes)
    event(f"{case.access.mode}, {min(len(blocks), 3)} blocks")
    assert [shape.rows for shape in file.shapes] == [sum(case.groups[one] for one in block) for block in blocks]
    assert [shape.row_groups for shape in file.shapes] == [len(block) for block in blocks]
    assert [shape.decoded_bytes for shape in file.shapes] == [sum(sizes[one] for one in block) for block in blocks]
    spans = chunk_spans(case.body, case.access.columns)
    promised = [sum(len(span) for one in block for span in spans[one]) for block in blocks]
    assert [shape.stored_bytes for shape in file.shapes] == promised
    assert list(file.shapes[0:2]) == [file.shapes[number] for number in range(min(2, len(blocks)))]
    if blocks:
        assert file.shapes[-1] == file.shapes[len(blocks) - 1]


@given(case=cases())
def test_a_block_takes_its_own_chunks_and_no_other_byte(case: Case) -> None:
    storage = stored(case.body)
    file = case.opened(storage)
    spans = chunk_spans(case.body, case.access.columns)
    filled = [number for number, rows in enumerate(case.groups) if rows]
    starts = list(accumulate((shape.row_groups for shape in file.shapes), initial=0))
    for index, (first, last) in enumerate(pairwise(starts)):
        storage.reads.clear()
        read = file.read(index)
        asked = sorted((offset, offset + length) for _, offset, length in storage.reads)
        wanted = sorted((span.start, span.stop) for one in filled[first:last] for span in spans[one])
        assert joined(asked) == joined(wanted)
        assert len(asked) == read.requests
        assert read.bytes_read == read.bytes_requested == sum(stop - start for start, stop in wanted)
        assert read.row_groups == last - first
        assert min(read.io_ns, read.decode_ns) >= 0


def joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return sorted spans with adjacent ones made one; they must not overlap."""
    found: list[tuple[int, int]] = []
    for start, stop in spans:
        assert not found or start >= found[-1][1]
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], stop
        else:
            found.append((start, stop))
    return found


@given(case=cases(), data=st.data())
def test_blocks_may_be_read_in_any_order_again_and_at_once(case: Case, data: st.DataObject) -> None:
    file = case.opened(stored(case.body))
    assume(len(file.shapes))
    table = numbered(sum(case.groups), columns=4).select(list(case.access.columns))
    begins = list(accumulate((shape.rows for shape in file.shapes), initial=0))
    order = data.draw(st.lists(st.integers(0, len(file.shapes) - 1), min_size=1, max_size=8))
    with ThreadPoolExecutor(3) as pool:
        reads: list[BlockRead] = [*map(file.read, order), *pool.map(file.read, order)]
    for index, read in zip([*order, *order], reads, strict=True):
        wanted = table.slice(begins[index], begins[index + 1] - begins[index])
        assert list(read.block.columns) == list(case.access.columns)
        for name, values in read.block.columns.items():
            assert plain(as_arrow(values)) == wanted[name].to_pylist()


@given(groups=uneven_groups(ROWS), block_bytes=st.integers(1, 4000))
def test_a_block_is_never_larger_than_its_budget_unless_it_is_one_row_group(
    groups: tuple[int, ...], block_bytes: int
) -> None:
    body = Layout(1, groups=groups).written(numbered(ROWS, columns=4))
    file = ParquetRows(stored(body), COLUMNS, block_bytes=block_bytes).open(PATH)
    for shape, following in pairwise(file.shapes):
        assert shape.decoded_bytes <= block_bytes or shape.row_groups == 1
        assert shape.decoded_bytes + following.decoded_bytes > block_bytes
    assert sum(shape.row_groups for shape in file.shapes) == sum(rows > 0 for rows in groups)


@given(groups=uneven_groups(ROWS), mode=st.sampled_from(list(MODE)))
def test_text_counts_towards_the_budget_as_the_footer_says(groups: tuple[int, ...], mode: str) -> None:
    body = Layout(1, groups=groups).written(numbered(ROWS, columns=2))
    file = ParquetRows(stored(body), [Column("c1", ColumnType.STRING)], MODE[mode], block_bytes=200).open(PATH)
    footer = pq.read_metadata(io.BytesIO(body))
    names = footer.schema.names
    sizes = [footer.row_group(one).column(names.index("c1")).total_uncompressed_size for one in range(len(groups))]
    access = Access(("c1",), mode, group_window=1, block_bytes=200, verify=False)
    blocks = blocks_of(groups, access, sizes)
    assert [shape.rows for shape in file.shapes] == [sum(groups[one] for one in block) for block in blocks]
    assert columns_read(file) == {"c1": [f"text {number}" for number in range(ROWS)]}


@pytest.mark.parametrize("mode", ReadMode)
@pytest.mark.parametrize("groups", [(), (0,), (0, 0)])
def test_files_without_rows_have_no_blocks(mode: ReadMode, groups: tuple[int, ...]) -> None:
    body = Layout(1, groups=groups).written(numbered(0))
    assert pq.read_metadata(io.BytesIO(body)).num_row_groups == len(groups)
    file = ParquetRows(stored(body), None, mode).open(PATH)
    assert (file.rows, len(file.shapes), list(file.shapes)) == (0, 0, [])
    with pytest.raises(IndexError):
        file.read(0)


@pytest.mark.parametrize("mode", MODE)
def test_one_row_group_per_row_is_read_whole(mode: str) -> None:
    table = numbered(700, columns=5)
    access = Access((), mode, group_window=3, block_bytes=1000, verify=True)
    found = read_whole(rows_reader(stored(Layout(1).written(table)), None, access))
    assert found == {name: plain(table[name]) for name in table.column_names}


@given(
    columns=st.integers(1, 12),
    rows=st.integers(1, 20),
    wanted=st.sets(st.integers(0, 11), min_size=1),
    codec=st.sampled_from(["none", "zstd"]),
)
def test_adjacent_chunks_are_asked_for_at_once_and_gaps_are_not_read(
    columns: int, rows: int, wanted: set[int], codec: str
) -> None:
    chosen = [number for number in sorted(wanted) if number < columns]
    assume(chosen)
    table = pa.table({f"n{number}": list(range(number, number + rows)) for number in range(columns)})
    storage = stored(Layout(rows, codec=codec).written(table))
    reader = ParquetRows(storage, [Column(f"n{number}", ColumnType.INT64) for number in chosen])
    file = reader.open(PATH)
    storage.reads.clear()
    read = file.read(0)
    runs = 1 + sum(second - first > 1 for first, second in pairwise(chosen))
    assert len(storage.reads) == read.requests == runs
