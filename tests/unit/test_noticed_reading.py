"""Small wrongs of reading Parquet that cost memory or time only, or that an ordinary file does not show."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlio_benchmark.common.enumerations import ColumnType, DatasetType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.parquet.decode_form import Slot, View
from dlio_benchmark.parquet.decode_memory import empty
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage

NUMBERS = (Column("a", ColumnType.FLOAT32), Column("b", ColumnType.INT8))
GROUP, GROUPS = 10, 40


def files_of(rows: dict[str, int], columns: tuple[Column, ...] = NUMBERS) -> MemoryStorage:
    """Return a storage of files without a codec, by path, with so many rows."""
    storage = MemoryStorage()
    for path, many in rows.items():
        ParquetFiles(columns, row_group_size=GROUP).write(PlannedFile(DatasetType.TRAIN, 0, path, many), storage)
    return storage


def by_group(storage: MemoryStorage, columns: tuple[Column, ...] | None = None) -> ParquetRows:
    return ParquetRows(storage, columns, ReadMode.ROW_GROUP)


def written(table: pa.Table, sizes: list[int]) -> bytes:
    """Return a file of row groups of these sizes, without a codec, dictionaries or statistics."""
    sink = io.BytesIO()
    options = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        begin = 0
        for size in sizes:
            writer.write_table(table.slice(begin, size))
            begin += size
    return sink.getvalue()


@pytest.mark.parametrize("dtype", ["<i4", "?", "V3"])
def test_no_values_are_an_array_of_their_type(dtype: str) -> None:
    found = empty(0, np.dtype(dtype))
    assert (found.shape, found.dtype) == ((0,), np.dtype(dtype))


def test_files_with_the_same_footer_share_what_it_says() -> None:
    reader = by_group(files_of({"a": 100, "b": 100, "c": 110}))
    first, second, other = (reader.open(path)._outline for path in "abc")
    assert first is second
    assert other is not first
    assert other.plan is first.plan


def test_few_row_groups_are_remembered_of_a_file_that_has_many() -> None:
    file = by_group(files_of({"f": GROUP * GROUPS})).open("f")
    for group in range(GROUPS):
        assert file.shape(group).rows == GROUP
        assert file._outline.chunks(group) is file._outline.chunks(group)
        assert len(file._outline._chunks) <= GROUPS // 2


def test_row_groups_of_many_sizes_do_not_fill_the_memory() -> None:
    sizes = list(range(1, 400))
    table = pa.table([pa.array(range(sum(sizes)))], pa.schema([pa.field("x", pa.int64(), nullable=False)]))
    storage = MemoryStorage()
    storage.files["f"] = written(table, sizes)
    file = by_group(storage).open("f")
    for number, size in enumerate(sizes):
        assert file.shape(number).rows == size
    assert len(file._outline.slots) < len(sizes)
    begin = 0
    for number, size in enumerate(sizes):
        assert file.read(number).block.columns["x"].tolist() == list(range(begin, begin + size))
        begin += size


def test_a_form_is_learned_from_the_second_portion_of_its_make() -> None:
    slot = Slot([(0, 0)], ["x"])
    storage = files_of({"f": GROUP}, NUMBERS[:1])
    chunk = pq.read_metadata(io.BytesIO(storage.files["f"])).row_group(0).column(0)
    memory = memoryview(storage.files["f"])[chunk.data_page_offset :][: chunk.total_compressed_size]
    values = np.frombuffer(memory, "<f4", GROUP, len(memory) - GROUP * 4)
    forms = []
    for _ in range(2):
        slot.learn(memory, [View(0, len(memory), values)])
        forms.append(slot.form)
    assert forms[0] is None
    assert forms[1] is not None
    assert forms[1].fits(memory)
