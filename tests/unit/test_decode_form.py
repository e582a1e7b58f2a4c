"""Portions of a known make are viewed without reading headers, and any other byte around the values is noticed."""

from __future__ import annotations

import gc
import io
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlio_benchmark.batch import Block
from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.parquet import decode_outline
from dlio_benchmark.parquet.decode_form import Form, View
from dlio_benchmark.parquet.encode import Codec
from dlio_benchmark.parquet.encode_footer import MAGIC, ChunkWritten, FooterBuilder, tail
from dlio_benchmark.parquet.write_file import PageMaker
from dlio_benchmark.parquet.write_plan import PageSpan, shape_of
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.parquet_blocks import ParquetBlocks
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.synth import Series

KINDS = (ColumnType.FLOAT32, ColumnType.INT8, ColumnType.FLOAT16, ColumnType.INT64, ColumnType.UINT8)
COLUMNS = tuple(Column(f"{kind}", kind) for kind in KINDS)
ROWS, GROUP = 4000, 500


def stored(files: int = 2) -> MemoryStorage:
    storage = MemoryStorage()
    for number in range(files):
        ParquetFiles(COLUMNS, row_group_size=GROUP).write(
            PlannedFile(DatasetType.TRAIN, number, f"{number}.parquet", ROWS), storage
        )
    return storage


def opened(storage: MemoryStorage, path: str, reader: ParquetRows | None = None) -> ParquetBlocks:
    return (reader or ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP)).open(path)


def expected(storage: MemoryStorage, path: str) -> dict[str, Any]:
    table = pq.read_table(pa.BufferReader(storage.files[path]))
    return {name: table.column(name).to_numpy() for name in table.column_names}


def test_all_row_groups_of_all_files_are_those_that_another_engine_reads() -> None:
    storage = stored()
    reader = ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP)
    for path in storage.files:
        file, whole = opened(storage, path, reader), expected(storage, path)
        for index in range(ROWS // GROUP):
            rows = slice(index * GROUP, (index + 1) * GROUP)
            got = file.read(index).block.columns
            assert list(got) == [column.name for column in COLUMNS]
            assert all(np.array_equal(got[name], whole[name][rows], equal_nan=True) for name in got)
        assert file.decoded == (ROWS // GROUP * len(COLUMNS), 0)


@pytest.mark.parametrize("copy", [deepcopy, lambda block: pickle.loads(pickle.dumps(block))], ids=["copied", "sent"])
def test_blocks_can_be_copied_and_sent_to_another_process(copy: Callable[[Block], Block]) -> None:
    storage = stored(1)
    file, whole = opened(storage, "0.parquet"), expected(storage, "0.parquet")
    for index in range(3):
        block = file.read(index).block
        got = copy(block).columns
        assert list(got) == list(whole)
        for name, values in got.items():
            assert np.array_equal(values, whole[name][index * GROUP : (index + 1) * GROUP], equal_nan=True)
            assert not np.shares_memory(values, block.columns[name])


@pytest.mark.parametrize("codec", [Compression.NONE, Compression.SNAPPY])
def test_many_row_groups_can_be_asked_for_in_any_order(codec: Compression) -> None:
    storage, groups = MemoryStorage(), 50
    ParquetFiles(COLUMNS, codec, row_group_size=20).write(
        PlannedFile(DatasetType.TRAIN, 0, "0.parquet", 20 * groups), storage
    )
    file, whole = opened(storage, "0.parquet"), expected(storage, "0.parquet")
    for index in [*reversed(range(groups)), *range(0, groups, 7)]:
        got = file.read(index).block.columns
        rows = slice(index * 20, (index + 1) * 20)
        assert all(np.array_equal(got[name], whole[name][rows], equal_nan=True) for name in got)


def places(storage: MemoryStorage, path: str, group: int) -> list[tuple[int, int, int]]:
    """Return start and end of each chunk of a row group, and where its values begin: they are looked for as bytes."""
    body, metadata = storage.files[path], pq.read_metadata(pa.BufferReader(storage.files[path]))
    found = []
    for leaf, values in enumerate(expected(storage, path).values()):
        chunk = metadata.row_group(group).column(leaf)
        start = chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
        end = start + chunk.total_compressed_size
        found.append((start, end, body.index(values[group * GROUP : (group + 1) * GROUP].tobytes(), start, end)))
    return found


def test_a_form_notices_each_bit_around_the_values_but_those_of_a_checksum() -> None:
    storage = stored(1)
    body, chunks = storage.files["0.parquet"], places(storage, "0.parquet", 0)
    first, last = chunks[0][0], chunks[-1][1]
    memory = memoryview(bytearray(body[first:last]))
    kinds = [np.dtype(str(kind)) for kind in KINDS]
    views = [
        View(start - first, end - first, np.frombuffer(memory, kind, GROUP, at - first))
        for (start, end, at), kind in zip(chunks, kinds, strict=True)
    ]
    form = Form(memory, views, [(0, place) for place in range(len(KINDS))], [str(kind) for kind in KINDS])
    assert form.fits(memory)
    unseen = 0
    for (start, end, at), kind in zip(chunks, kinds, strict=True):
        around = [*range(start - first, at - first), *range(at - first + GROUP * kind.itemsize, end - first)]
        for place in around:
            for bit in range(8):
                memory[place] ^= 1 << bit
                unseen += form.fits(memory)
                memory[place] ^= 1 << bit
    pages = len(KINDS) + sum(kind in (ColumnType.INT8, ColumnType.UINT8) for kind in KINDS)
    assert unseen == pages * 5 * 7
    assert form.places == [(kind, GROUP, at - first) for (_, _, at), kind in zip(chunks, kinds, strict=True)]


@pytest.mark.parametrize("group", [0, 3, ROWS // GROUP - 1])
@pytest.mark.parametrize("leaf", range(len(COLUMNS)))
def test_damage_of_a_header_is_reported_where_it_is_after_many_that_were_well(group: int, leaf: int) -> None:
    storage = stored()
    start = places(storage, "1.parquet", group)[leaf][0]
    damaged = bytearray(storage.files["1.parquet"])
    damaged[start + 3] ^= 0x55  # a size
    storage.files["1.parquet"] = bytes(damaged)
    reader = ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP)
    well = opened(storage, "0.parquet", reader)
    for index in range(ROWS // GROUP):
        well.read(index)
    name = COLUMNS[leaf].name
    with pytest.raises(ParquetFileError, match=rf"^1\.parquet: row group {group}, column '{name}', byte {start}"):
        opened(storage, "1.parquet", reader).read(group)


def test_a_file_that_lost_bytes_is_not_taken_for_one_with_the_same_footer() -> None:
    storage = stored()
    body = storage.files["1.parquet"]
    storage.files["1.parquet"] = body[: len(body) // 2] + body[len(body) // 2 + 100 :]
    reader = ParquetRows(storage, COLUMNS, ReadMode.ROW_GROUP)
    opened(storage, "0.parquet", reader).read(ROWS // GROUP - 1)
    short = opened(storage, "1.parquet", reader)
    with pytest.raises(ParquetFileError, match="impossible bytes"):
        short.read(ROWS // GROUP - 1)


def test_partition_values_are_those_of_the_path_also_where_the_footer_is_that_of_another_file() -> None:
    storage = stored(1)
    for code in (3, 5):
        storage.files[f"part={code}/0.parquet"] = storage.files["0.parquet"]
    part = Column("part", ColumnType.INT8)
    reader = ParquetRows(storage, (part, *COLUMNS), ReadMode.ROW_GROUP, partitions=["part"])
    files = [reader.open(f"part={code}/0.parquet") for code in (3, 5)]
    assert [set(file.read(0).block.columns["part"].tolist()) for file in files] == [{3}, {5}]


def written(values: pa.Array) -> bytes:
    """Return a file of one column without nulls, in row groups of a hundred rows."""
    table = pa.table([values], pa.schema([pa.field("x", values.type, nullable=False)]))
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=100, compression="NONE", use_dictionary=False, write_statistics=False)
    return out.getvalue()


def test_values_of_another_type_are_not_taken_for_those_of_the_file_before() -> None:
    storage = MemoryStorage()
    numbers = np.random.default_rng(1).random(400, np.float32)
    storage.files = {"f": written(pa.array(numbers)), "i": written(pa.array(numbers.view("i4")))}
    reader = ParquetRows(storage, None, ReadMode.ROW_GROUP)
    for path, kind in (("f", "f4"), ("i", "i4"), ("f", "f4")):
        file = reader.open(path)
        got = [file.read(index).block.columns["x"] for index in range(4)]
        assert {values.dtype for values in got} == {np.dtype(kind)}
        assert np.concatenate(got).tobytes() == numbers.tobytes()


def test_bytes_are_bytes_however_often_they_are_read() -> None:
    storage = MemoryStorage()
    values = [number.to_bytes(4, "little") for number in range(400)]
    storage.files["b"] = written(pa.array(values, pa.binary(4)))
    file = ParquetRows(storage, None, ReadMode.ROW_GROUP).open("b")
    for _ in range(4):
        got = pa.concat_arrays([file.read(index).block.columns["x"] for index in range(4)])
        assert got.to_pylist() == values


def test_a_column_of_several_pages_is_read_beside_one_that_is_viewed() -> None:
    storage, kinds = MemoryStorage(), (pa.int32(), pa.float64())
    table = pa.table(
        [pa.array(range(400), kind) for kind in kinds],
        pa.schema([pa.field(str(kind), kind, nullable=False) for kind in kinds]),
    )
    out = io.BytesIO()
    pages = {"data_page_size": 600, "write_batch_size": 10, "use_dictionary": False}
    pq.write_table(table, out, row_group_size=100, compression="NONE", write_statistics=False, **pages)
    storage.files["p"] = out.getvalue()
    file = ParquetRows(storage, None, ReadMode.ROW_GROUP).open("p")
    for index in range(4):
        got = file.read(index).block.columns
        assert [values.tolist() for values in got.values()] == [list(range(index * 100, index * 100 + 100))] * 2


def laid(groups: int, order: Iterable[tuple[int, int]], told: Mapping[int, int]) -> bytes:
    """Return a file of two columns whose chunks (row group, column) lie in ``order``.

    ``told`` are the rows that the footer says of a row group where it lies.
    """
    columns = COLUMNS[:2]
    shape = shape_of(columns, groups * GROUP, GROUP)
    series = [Series(1, DatasetType.TRAIN, 0, column) for column in columns]
    maker = PageMaker("laid", columns, series, shape, codec=Codec(Compression.NONE, None))
    (out := io.BytesIO()).write(MAGIC)
    chunks: dict[tuple[int, int], ChunkWritten] = {}
    for group, column in order:
        span = PageSpan(column, group * GROUP, (group + 1) * GROUP)
        chunk = chunks[group, column] = ChunkWritten(maker.encoder(span), out.tell())
        dictionary = chunk.encoder.dictionary
        for page in (*([] if dictionary is None else [dictionary]), *maker.make([span])):
            chunk.add(page)
            out.writelines(page.parts)
        chunk.values = told.get(group, GROUP)
    footer = FooterBuilder(columns, {})
    for group in range(groups):
        footer.add_group(told.get(group, GROUP), [chunks[group, 0], chunks[group, 1]])
    out.write(tail(footer.encoded()))
    return out.getvalue()


def test_chunks_of_row_groups_that_lie_inside_each_other_are_kept_apart() -> None:
    storage, groups = MemoryStorage(), 8
    pairs = range(0, groups, 2)
    order = [place for one in pairs for place in ((one, 0), (one + 1, 0), (one + 1, 1), (one, 1))]
    storage.files["woven"] = laid(groups, order, {})
    whole = expected(storage, "woven")
    file = ParquetRows(storage, COLUMNS[:2], ReadMode.ROW_GROUP, group_window=2).open("woven")
    for index in range(groups // 2):
        rows = slice(index * 2 * GROUP, (index + 1) * 2 * GROUP)
        got = file.read(index).block.columns
        assert all(np.array_equal(got[name], whole[name][rows]) for name in got)


@pytest.mark.parametrize("lie", [GROUP - 1, GROUP + 1])
def test_a_footer_that_lies_about_rows_is_found_out_after_many_that_were_true(lie: int) -> None:
    storage, groups = MemoryStorage(), 4
    order = [(group, column) for group in range(groups) for column in range(2)]
    storage.files["lie"] = laid(groups, order, {groups - 1: lie})
    file = ParquetRows(storage, COLUMNS[:2], ReadMode.ROW_GROUP).open("lie")
    for index in range(groups - 1):
        file.read(index)
    with pytest.raises(ParquetFileError, match=rf"row group {groups - 1}, column 'float32'.*{lie}"):
        file.read(groups - 1)


def test_chunks_that_are_portions_of_their_own_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_outline, "_VIEWED_BYTES", 4 << 20)
    storage, group, groups = MemoryStorage(), 1 << 19, 4
    columns = (Column("n", ColumnType.INT64), Column("m", ColumnType.INT64))
    ParquetFiles(columns, row_group_size=group).write(
        PlannedFile(DatasetType.TRAIN, 0, "large", group * groups), storage
    )
    file = ParquetRows(storage, columns, ReadMode.ROW_GROUP, group_window=2).open("large")
    whole = expected(storage, "large")
    for index in range(groups // 2):
        got = file.read(index)
        assert got.requests == 4
        rows = slice(index * 2 * group, (index + 1) * 2 * group)
        assert all(np.array_equal(values, whole[name][rows]) for name, values in got.block.columns.items())


def test_what_decodes_dictionaries_is_loaded_with_a_footer_that_has_some_and_not_before(tmp_path: Path) -> None:
    plain, dictionary = tmp_path / "plain", tmp_path / "dictionary"
    plain.write_bytes(written(pa.array(["a", "b"])))
    dictionary.write_bytes(written(pa.array(["a", "b"]).dictionary_encode()))
    code = """
import sys
from pathlib import Path
from dlio_benchmark.parquet.decode_footer import Footer
for path in sys.argv[1:]:
    body = Path(path).read_bytes()
    Footer(body[-8 - int.from_bytes(body[-8:-4], "little") :], len(body))
    print("pyarrow.compute" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, plain, dictionary], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_reading_one_compressed_file_after_the_other_takes_no_more_memory_than_reading_two() -> None:
    columns = tuple(Column(f"c{number}", ColumnType.FLOAT32) for number in range(20))
    storage, files = MemoryStorage(), 5
    writer = ParquetFiles(columns, Compression.SNAPPY, row_group_size=8)
    for number in range(files):
        writer.write(PlannedFile(DatasetType.TRAIN, number, str(number), 8 * 50 - number), storage)
    reader = ParquetRows(storage, columns)
    kept: list[int] = []
    tracemalloc.start()
    try:
        for number in range(files):
            file = reader.open(str(number))
            for index in range(len(file.shapes)):
                file.read(index)
            file.close()
            del file
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert kept[-1] - kept[1] < 1 << 16
