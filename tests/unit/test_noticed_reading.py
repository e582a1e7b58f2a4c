"""Small wrongs of reading Parquet that cost memory or time only, or that an ordinary file does not show."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import pages

from dlio_benchmark.clock import FakeClock
from dlio_benchmark.common.enumerations import ColumnType, DatasetType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.parquet.decode_form import Slot, View
from dlio_benchmark.parquet.decode_memory import empty
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage

NUMBERS = (Column("a", ColumnType.FLOAT32), Column("b", ColumnType.INT8))
GROUP, GROUPS = 10, 40


def files_of(rows: dict[str, int], columns: tuple[Column, ...] = NUMBERS, group: int = GROUP) -> MemoryStorage:
    """Return a storage of files without a codec, by path, with so many rows."""
    storage = MemoryStorage()
    for path, many in rows.items():
        ParquetFiles(columns, row_group_size=group).write(PlannedFile(DatasetType.TRAIN, 0, path, many), storage)
    return storage


class Ticking(FakeClock):
    """A clock that moves by a nanosecond whenever it is looked at."""

    def now_ns(self) -> int:
        """Return the time."""
        self.advance(1)
        return self.time_ns


class Slow:
    """A storage of files whose reads take a microsecond each, and end at byte ``end`` after the files were opened."""

    def __init__(self, files: dict[str, bytes], clock: FakeClock | None = None) -> None:
        self.files, self.clock, self.end = files, clock or FakeClock(), max(map(len, files.values()))

    def open_input(self, path: str) -> Any:
        """Open a file."""
        return _Slow(self.files[path], self)


class _Slow:
    def __init__(self, body: bytes, storage: Slow) -> None:
        self.body, self.storage, self.size = body, storage, len(body)

    def pread(self, offset: int, *into: memoryview) -> int:
        self.storage.clock.advance(1000)
        at = offset
        for room in into:
            found = self.body[: self.storage.end][at : at + len(room)]
            room[: len(found)] = found
            at += len(found)
        return at - offset

    def close(self) -> None: ...


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
    sizes = list(range(1, 700))
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


THREE = (Column("a", ColumnType.INT8), Column("b", ColumnType.INT16), Column("c", ColumnType.FLOAT64))


def test_the_time_of_a_block_is_that_of_its_reads_and_that_of_all_else() -> None:
    clock = Ticking()
    storage: Any = Slow(files_of({"f": GROUP}, THREE).files, clock)
    file = ParquetRows(storage, THREE[::2], ReadMode.ROW_GROUP, clock=clock).open("f")
    read = file.read(0)
    assert (read.requests, read.io_ns, read.decode_ns) == (2, 2001, 2)


def test_a_file_that_ends_early_is_short_of_the_chunk_in_which_it_ends() -> None:
    body = files_of({"f": GROUP * 3}, THREE).files["f"]
    metadata = pq.read_metadata(io.BytesIO(body))
    chunks = []
    for group in range(metadata.num_row_groups):
        for leaf in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(leaf)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            chunks.append((group, chunk.path_in_schema, start, start + chunk.total_compressed_size))
    storage: Any = Slow({"f": body})
    file = ParquetRows(storage, THREE, ReadMode.ROW_GROUP, group_window=3).open("f")
    for end in range(chunks[0][2], chunks[-1][3]):
        storage.end = end
        group, name, missing = next((group, name, stop - end) for group, name, start, stop in chunks if end < stop)
        with pytest.raises(ParquetFileError) as caught:
            file.read(0)
        wanted = f"f: row group {group}, column '{name}': the file ends at byte {end}, {missing} bytes short"
        assert str(caught.value) == wanted
    storage.end = len(body)
    assert file.read(0).block.rows == GROUP * 3


@pytest.mark.parametrize("verify", [False, True])
def test_raw_bytes_have_no_columns_wherever_these_stand(verify: bool) -> None:
    storage = MemoryStorage()
    storage.files["p=3/f"] = files_of({"f": GROUP}).files["f"]
    columns = (Column("p", ColumnType.INT8), *NUMBERS)
    for reader in (
        ParquetRows(storage, columns, ReadMode.BYTES, partitions=["p"], verify_checksums=verify),
        ParquetRows(storage, NUMBERS, ReadMode.BYTES, verify_checksums=verify),
    ):
        read = reader.open("p=3/f").read(0)
        assert (read.block.rows, read.block.columns) == (GROUP, {})
        assert read.bytes_read == read.bytes_requested > 0


def test_bits_of_a_checksum_do_not_matter_while_it_is_not_asked_for() -> None:
    body = bytearray(files_of({"f": 2000}, group=500).files["f"])
    right = pq.read_table(io.BytesIO(body)).to_pydict()
    for page in pages(bytes(body)):
        assert page.checksum is not None
        bits = page.checksum << 1 if page.checksum >= 0 else ~(page.checksum << 1)
        varint = bytes([*(bits >> shift & 0x7F | 0x80 for shift in (0, 7, 14, 21)), bits >> 28])
        at = body.rindex(varint, 0, page.at)
        body[at : at + 5] = b"\xff\xff\xff\xff\x7f"  # more than 32 bits
    storage = MemoryStorage()
    storage.files["f"] = bytes(body)
    reader = by_group(storage)
    for _ in range(3):
        file = reader.open("f")
        found: dict[str, list[Any]] = {"a": [], "b": []}
        for index in range(4):
            for name, values in file.read(index).block.columns.items():
                found[name] += np.asarray(values).tolist()
        assert found == right
        assert file.decoded == (8, 0)
    assert [slot.form is not None for slot in file._outline.slots] == [True]
    checked = ParquetRows(storage, None, ReadMode.ROW_GROUP, verify_checksums=True).open("f")
    with pytest.raises(ParquetFileError, match="32 bits"):
        checked.read(0)
