"""What is read is what was written: any schema, layout and mode, judged by pyarrow, duckdb, polars and plain Python."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from property_reading import MODE, PATH, by_pyarrow, configured, read_whole, rows_reader, schema_of, stored, written

from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import COMPRESSION_MAP, ParquetFiles
from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.values import as_arrow
from verification import oracle, relations
from verification.contracts.loader import Asked, Side, batches_are_the_rows_of_the_file, direct, threads
from verification.contracts.reader import MakeReader, rows_are_those_of_the_file
from verification.evidence import Recorder
from verification.saboteurs.readers import READERS
from verification.strategies import (
    CHANGED,
    CODECS,
    UNREADABLE,
    UNWRITABLE,
    Access,
    Layout,
    Modelled,
    accesses,
    layouts,
    modelled_tables,
    numbered,
    repeated_names,
    row_counts,
    schemas,
    selections,
    values,
)

EVERY_MODE = st.sampled_from(list(MODE))
WIDE = schemas(uncommon=True)


@st.composite
def files(draw: st.DrawFn, schema: st.SearchStrategy[pa.Schema] = WIDE) -> tuple[Modelled, Layout]:
    """Return a table of any schema, and a layout whose row groups are made for its rows."""
    drawn = draw(modelled_tables(schema=schema))
    return drawn, draw(layouts(rows=drawn.rows, exact=True))


def plain_access(mode: str, **changes: Any) -> Access:
    return replace(Access((), mode, group_window=1, block_bytes=1 << 24, verify=True), **changes)


@given(file=files(), access=accesses(["unused"]))
def test_any_schema_in_any_layout_is_read_as_it_was_written(file: tuple[Modelled, Layout], access: Access) -> None:
    drawn, layout = file
    body = written(drawn.table, layout)
    for mode in MODE:
        found = read_whole(rows_reader(stored(body), None, replace(access, mode=mode)))
        event(f"{layout.codec}, version {layout.page_version}")
        assert list(found) == (list(drawn.columns) if drawn.rows else [])
        for name, column in found.items():
            assert not oracle.first_difference(column, drawn.columns[name]), name
            assert not oracle.first_difference(column, by_pyarrow(body)[name]), name


@settings(max_examples=30)
@given(file=files(schemas(max_columns=2, uncommon=True)))
def test_files_without_their_arrow_schema_are_read_as_pyarrow_reads_them(file: tuple[Modelled, Layout]) -> None:
    drawn, layout = file
    body = written(drawn.table, replace(layout, store_schema=False))
    wanted = by_pyarrow(body)
    for mode in MODE:
        for name, column in read_whole(rows_reader(stored(body), None, plain_access(mode))).items():
            assert not oracle.first_difference(column, wanted[name])


@st.composite
def configured_files(draw: st.DrawFn) -> tuple[list[Column], Modelled, Layout, Access]:
    """Return a file with configured columns in any of their forms, and which of them are asked for in which order."""
    columns = draw(configured())
    drawn = draw(modelled_tables(schema=schema_of(columns)))
    access = draw(accesses([column.name for column in columns]))
    return columns, drawn, draw(layouts(rows=drawn.rows, exact=True)), access


@given(case=configured_files())
def test_configured_columns_come_in_the_order_asked_for(case: tuple[list[Column], Modelled, Layout, Access]) -> None:
    columns, drawn, layout, access = case
    by_name = {column.name: column for column in columns}
    wanted = [by_name[name] for name in access.columns]
    found = read_whole(rows_reader(stored(written(drawn.table, layout)), wanted, access))
    assert list(found) == (list(access.columns) if drawn.rows else [])
    for name, column in found.items():
        assert not oracle.first_difference(column, drawn.columns[name]), name


@given(columns=configured(odd=False), rows=row_counts(most=50), group=st.integers(1, 60), codec=st.sampled_from(CODECS))
def test_generated_files_are_the_same_to_four_readers(
    tmp_path_factory: pytest.TempPathFactory, columns: list[Column], rows: int, group: int, codec: str
) -> None:
    folder = tmp_path_factory.mktemp("generated")
    writer = ParquetFiles(tuple(columns), Compression(codec), row_group_size=group)
    storage = LocalStorage(str(folder))
    writer.write(PlannedFile(DatasetType.TRAIN, 3, "x.parquet", rows), storage)
    path = folder / "x.parquet"
    by_arrow = oracle.rows(path)
    assert len(by_arrow) == rows
    assert not oracle.first_difference(oracle.rows_by_duckdb(path), by_arrow)
    assert not oracle.first_difference(oracle.rows_by_polars(path), by_arrow)
    assert oracle.footer(path).row_groups == tuple(min(group, rows - start) for start in range(0, rows, group))
    assert oracle.codecs([path]).keys() <= {codec}
    wanted = {column.name: [row[column.name] for row in by_arrow] for column in columns}
    for mode in MODE:
        found = read_whole(rows_reader(storage, columns, plain_access(mode)), "x.parquet")
        assert oracle.equal(found, wanted if rows else {})


def _by_polars(table: pa.Table, path: Path) -> None:
    polars.DataFrame(table).write_parquet(path, row_group_size=3)


def _by_duckdb(table: pa.Table, path: Path) -> None:
    with duckdb.connect(":memory:") as engine:
        engine.register("source", table)
        engine.execute(f"COPY source TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 3)")


@pytest.mark.parametrize("write", [_by_polars, _by_duckdb])
@settings(max_examples=15)
@given(columns=st.data())
def test_files_of_other_writers_are_read_as_pyarrow_reads_them(
    tmp_path_factory: pytest.TempPathFactory, write: Any, columns: st.DataObject
) -> None:
    kinds = [pa.int8(), pa.int64(), pa.uint32(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.binary()]
    schema = pa.schema([(f"c{number}", kind) for number, kind in enumerate([*kinds, pa.list_(pa.int32())])])
    drawn = columns.draw(modelled_tables(schema=st.just(schema), rows=st.integers(1, 9)))
    path = tmp_path_factory.mktemp("foreign") / "f.parquet"
    write(drawn.table, path)
    body = path.read_bytes()
    for mode in MODE:
        found = read_whole(rows_reader(stored(body), None, plain_access(mode)))
        assert oracle.equal(found, by_pyarrow(body))
        for name, column in drawn.columns.items():
            assert not oracle.first_difference(found[name], column)


@settings(max_examples=20)
@given(file=files(schemas(nested=False)), other=layouts())
def test_reading_and_writing_again_is_a_fixed_point(file: tuple[Modelled, Layout], other: Layout) -> None:
    drawn, layout = file

    def again(body: bytes) -> bytes:
        opened = ParquetRows(stored(body), None).open(PATH)
        blocks = [opened.read(index).block for index in range(len(opened.shapes))]
        tables = [pa.table({name: as_arrow(values) for name, values in block.columns.items()}) for block in blocks]
        return written(pa.concat_tables(tables), other) if tables else body

    assert not relations.fixed_point(again, again(written(drawn.table, layout)))


@settings(max_examples=20)
@given(names=repeated_names(), rows=st.integers(0, 3))
def test_columns_of_the_same_name_are_never_mixed_up(names: list[str], rows: int) -> None:
    arrays = [pa.array([number * 10 + row for row in range(rows)], pa.int64()) for number in range(len(names))]
    body = Layout(2).written(pa.Table.from_arrays(arrays, names=names))
    with pytest.raises(SchemaMismatchError, match="same name"):
        ParquetRows(stored(body), None).open(PATH)
    for place, name in enumerate(names):
        reader = ParquetRows(stored(body), [Column(name, ColumnType.INT64)])
        if names.count(name) > 1:
            with pytest.raises(SchemaMismatchError, match=f"{names.count(name)} columns of that name"):
                reader.open(PATH)
        else:
            assert read_whole(reader) == ({name: arrays[place].to_pylist()} if rows else {})


@pytest.mark.parametrize("kind", CHANGED, ids=str)
@settings(max_examples=10)
@given(data=st.data())
def test_types_that_parquet_lacks_come_back_as_their_neighbours(kind: pa.DataType, data: st.DataObject) -> None:
    column = pa.array(data.draw(st.lists(st.none() | values(kind), min_size=1, max_size=5)), kind)
    body = Layout(3).written(pa.table({"c": column}))
    block = ParquetRows(stored(body), None).open(PATH).read(0).block
    assert as_arrow(block.columns["c"]).type == CHANGED[kind]
    assert read_whole(ParquetRows(stored(body), None)) == {"c": column.to_pylist()}


@pytest.mark.parametrize("kind", UNREADABLE, ids=str)
@pytest.mark.parametrize("mode", MODE)
def test_what_pyarrow_cannot_read_back_is_an_error_here_too(kind: pa.DataType, mode: str) -> None:
    body = Layout(3).written(pa.table({"odd": pa.array([[], None, []], kind), "good": [1, 2, 3]}))
    with pytest.raises(ParquetFileError, match=rf"{PATH}.*'odd'"):
        read_whole(rows_reader(stored(body), None, plain_access(mode)))
    wanted = [Column("good", ColumnType.INT64)]
    assert read_whole(rows_reader(stored(body), wanted, plain_access(mode))) == {"good": [1, 2, 3]}


def test_rows_that_pyarrow_loses_are_an_error_here() -> None:
    lists = pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
    sink = io.BytesIO()
    pq.write_table(pa.table({"c": lists}), sink, data_page_size=1, write_batch_size=1)
    body = sink.getvalue()
    assert pq.read_table(io.BytesIO(body)).num_rows == 0, "pyarrow reads this now: this test has nothing to show"
    with pytest.raises(ParquetFileError, match="0 rows came out; the footer says 1"):
        read_whole(ParquetRows(stored(body), None))


@pytest.mark.parametrize("kind", UNWRITABLE, ids=str)
def test_the_list_of_types_that_cannot_be_written_is_right(kind: pa.DataType) -> None:
    with pytest.raises((OSError, pa.ArrowNotImplementedError)):
        pq.write_table(pa.table({"c": pa.nulls(1, kind)}), io.BytesIO())


ROWS = {"zero": 0, "one": 1, "boundary": 10, "many": 47}
SHOWN = (Column("c3", ColumnType.INT32), Column("c2", ColumnType.FLOAT32, 4), Column("row", ColumnType.INT64))


WRONG = (
    *("off-by-one-row", "ignores-the-column-order", "swaps-two-columns", "drops-nulls"),
    *("drops-the-last-rows", "reads-a-row-twice"),
)
"""Readers that are wrong in any mode; a stale buffer needs a second block, and here only row groups make one."""


def reads_what_was_written(evidence: Recorder, make: MakeReader, codec: str, mode: str) -> None:
    for word, rows in ROWS.items():
        body = Layout(5, codec=codec, page_rows=3, page_bytes=16).written(numbered(rows, columns=5))
        rows_are_those_of_the_file(evidence, make, body, SHOWN, MODE[mode])
        evidence.cover("rows", word)
    evidence.cover("codec", codec)
    evidence.cover("mode", mode)


@pytest.mark.claim("product-12")
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("mode", MODE)
def test_rows_survive_codec_and_mode_and_wrong_readers_do_not(evidence: Recorder, codec: str, mode: str) -> None:
    reads_what_was_written(evidence, ParquetRows, codec, mode)
    for name in WRONG if MODE[mode] is ReadMode.DEFAULT else (*WRONG, "stale-buffer"):
        with evidence.saboteur(name):
            reads_what_was_written(evidence, READERS[name], codec, mode)


def by_foreign_hands(rows: int, group: int, codec: str) -> bytes:
    return Layout(group, codec=codec, page_rows=3, page_bytes=16).written(numbered(rows, columns=5))


def by_the_product(rows: int, group: int, codec: str) -> bytes:
    storage = stored({})
    columns = (SHOWN[2], Column("c0", ColumnType.FLOAT64), SHOWN[1], SHOWN[0])
    writer = ParquetFiles(columns, Compression(codec), row_group_size=group)
    writer.write(PlannedFile(DatasetType.TRAIN, 0, PATH, rows), storage)
    return storage.files[PATH]


WRITTEN_BY = {"pyarrow": by_foreign_hands, "product": by_the_product}
MANY, GROUPS, BATCHES = 13, (5, 1, 16), (4, 1, 13)
TAKEN_BY = ((SHOWN, direct), (SHOWN[::-1], threads))


def batches_are_what_was_written(evidence: Recorder, make: MakeReader, codec: str, writer: str) -> None:
    """Hold the batches of a file for all pairs of row-group size and batch size, and cover what was varied.

    Each pair is read in each mode and by each loader, of whose combinations neighbours take turns.
    """
    for number, (group, batch) in enumerate(itertools.product(GROUPS, BATCHES)):
        body = WRITTEN_BY[writer](MANY, group, codec)
        for mode, (columns, loader) in zip(MODE.values(), TAKEN_BY[:: -1 if number % 2 else 1], strict=True):
            batches_are_the_rows_of_the_file(evidence, Side(make, loader), body, Asked(columns, mode, batch))
        evidence.cover("row_group_size", group)
        evidence.cover("batch_size", batch)
    evidence.cover("writer", writer)


@pytest.mark.claim("product-12")
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("writer", WRITTEN_BY)
def test_batches_of_any_size_survive_row_groups_of_any_size(evidence: Recorder, codec: str, writer: str) -> None:
    batches_are_what_was_written(evidence, ParquetRows, codec, writer)
    nulls = ("drops-nulls",) if writer == "pyarrow" else ()
    wrong = ("off-by-one-row", "ignores-the-column-order", "swaps-two-columns", "drops-the-last-rows", "stale-buffer")
    for name in (*wrong, *nulls):
        with evidence.saboteur(name):
            batches_are_what_was_written(evidence, READERS[name], codec, writer)


@settings(max_examples=25)
@given(data=st.data(), codec=st.sampled_from(list(COMPRESSION_MAP)), rows=st.integers(0, 40))
@example(data=None, codec=Compression.ZSTD, rows=0)
def test_undecoded_reading_asks_for_the_same_bytes(data: st.DataObject | None, codec: Compression, rows: int) -> None:
    table = numbered(rows, columns=4)
    chosen = data.draw(selections(["row", "c2", "c3"])) if data else ["row"]
    layout = data.draw(layouts(rows=rows, exact=True)) if data else Layout(5)
    storage = stored(written(table, replace(layout, codec=str(codec), level=None)))
    by_name = {column.name: column for column in SHOWN}
    asked = []
    for mode in (ReadMode.ROW_GROUP, ReadMode.BYTES):
        storage.reads.clear()
        opened = ParquetRows(storage, [by_name[name] for name in chosen], mode).open(PATH)
        reads = [opened.read(index) for index in range(len(opened.shapes))]
        assert sum(read.block.rows for read in reads) == rows
        assert all(not read.block.columns for read in reads) or mode is ReadMode.ROW_GROUP
        assert sum(read.bytes_read for read in reads) == sum(read.bytes_requested for read in reads)
        asked.append(list(storage.reads))
    assert not relations.unchanged("not decoding", *asked)
