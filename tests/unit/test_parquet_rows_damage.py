"""Damaged and hostile files end in an error that says where, within the memory of a block, never in other values."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from parquet_files import CODECS, PATH, by_pyarrow, numbers, opened, rows_of, same, stored

from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import DataError, ParquetFileError
from dlio_benchmark.parquet.decode_footer import MOST_BYTES
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryInput, MemoryStorage

MIB = 1 << 20
TABLE = pa.table(
    {
        "f": numbers(pa.float32(), 300, 1),
        "i": numbers(pa.int8(), 300, 2),
        "l": pa.FixedSizeListArray.from_arrays(numbers(pa.int16(), 1200, 3), 4),
        "s": [f"text {row % 40}" for row in range(300)],
        "t": [f"{row:06d}" for row in range(300)],
        "n": [None if row % 5 == 0 else row for row in range(300)],
        "v": [[row] * (row % 4) for row in range(300)],
    }
)
LAYOUTS = [
    {"compression": codec, "data_page_version": version, "use_dictionary": dictionary}
    for codec in CODECS
    for version in ("1.0", "2.0")
    for dictionary in (True, False)
]
FILES = [
    stored(TABLE, row_group_size=100, write_page_checksum=True, data_page_size=300, write_batch_size=32, **layout)
    for layout in LAYOUTS
]
VALUES = TABLE.to_pydict()

POOLS: list[pa.MemoryPool] = []  # memory may be released later, and then its pool must still be there

files = st.integers(0, len(FILES) - 1)
changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3)


def footer_start(octets: bytes) -> int:
    return len(octets) - 8 - int.from_bytes(octets[-8:-4], "little")


def changed(octets: bytes, start: int, stop: int, places: list[tuple[float, int]]) -> bytes:
    """Return ``octets`` with some bytes between ``start`` and ``stop`` made others."""
    out = bytearray(octets)
    for share, bits in places:
        out[start + int(share * (stop - start))] ^= bits
    return bytes(out)


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    """Fail if more than ``limit`` bytes of Arrow's memory are held at once."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    POOLS.append(pool)
    pa.set_memory_pool(pool)
    try:
        yield
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() <= limit


def values_or_error(read: Callable[[], dict[str, list[Any]]]) -> dict[str, list[Any]] | DataError:
    """Return what ``read`` returns, or the error about the data that it ends in; it may take some memory only.

    Text that is none is a value like others to the reader, and found when the test looks at it.
    """
    with at_most(64 * MIB):
        try:
            return read()
        except DataError as error:
            return error
        except UnicodeDecodeError:
            return {}


@given(number=files, places=changes, mode=st.sampled_from([ReadMode.DEFAULT, ReadMode.ROW_GROUP]))
def test_with_checksums_a_damaged_page_is_an_error_or_has_the_same_values(
    number: int, places: list[tuple[float, int]], mode: ReadMode
) -> None:
    octets = FILES[number]
    file = opened(changed(octets, 4, footer_start(octets), places), mode=mode, verify_checksums=True)
    found = values_or_error(lambda: rows_of(file))
    event(type(found).__name__)
    assert str(found).startswith(f"{PATH}: row group ") if isinstance(found, ParquetFileError) else same(found, VALUES)


@given(number=files, places=changes)
def test_without_checksums_damage_is_an_error_or_unseen_but_never_a_crash(
    number: int, places: list[tuple[float, int]]
) -> None:
    octets = FILES[number]
    file = opened(changed(octets, 4, footer_start(octets), places))
    found = values_or_error(lambda: rows_of(file))
    event(type(found).__name__)
    assert not isinstance(found, DataError) or str(found).startswith(f"{PATH}: row group ")


@given(number=files, places=changes)
def test_a_damaged_footer_is_an_error_or_unseen_but_never_a_crash(number: int, places: list[tuple[float, int]]) -> None:
    octets = FILES[number]
    damaged = changed(octets, footer_start(octets), len(octets), places)
    found = values_or_error(lambda: rows_of(opened(damaged, verify_checksums=True)))
    event(type(found).__name__)
    assert not isinstance(found, DataError) or str(found).startswith(PATH)


@given(number=files, share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_is_refused_on_opening(number: int, share: float) -> None:
    octets = FILES[number]
    with pytest.raises(ParquetFileError, match=f"^{PATH}: "):
        opened(octets[: int(share * len(octets))])


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (b"", "0 bytes"),
        (b"PAR", "3 bytes"),
        (b"PAR1", "4 bytes"),
        (b"PAR1" * 3, "cannot have"),
        (b"some text, but no Parquet file", "ends with b'file'"),
        (b"PAR1" + b"\xff" * 20 + b"\x14\0\0\0PAR1", "footer is damaged"),
        (b"PAR1" + bytes(20) + b"\x14\0\0\0PARE", "encrypted"),
    ],
)
def test_what_is_no_parquet_file_is_refused_on_opening(octets: bytes, what: str) -> None:
    with pytest.raises(ParquetFileError, match=f"^{PATH}: .*{what}"):
        opened(octets)


@pytest.mark.parametrize("length", [MOST_BYTES, 2**31 - 1, 2**32 - 1])
def test_a_footer_beyond_all_measure_is_refused_before_it_is_read(tmp_path: Path, length: int) -> None:
    """The file is as large as its footer says, and takes no room: it has holes."""
    with open(tmp_path / "x.parquet", "wb") as file:
        file.write(b"PAR1")
        file.truncate(length + 8)
        file.seek(length + 8)
        file.write(length.to_bytes(4, "little") + b"PAR1")
    tracemalloc.start()
    with pytest.raises(ParquetFileError, match=rf"^x.parquet: the footer has {length + 8} bytes, at most"):
        ParquetRows(LocalStorage(str(tmp_path)), None).open("x.parquet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MIB


@given(number=files, share=st.floats(0, 1, exclude_max=True), index=st.integers(0, 2))
def test_a_file_that_shrinks_after_opening_names_what_is_missing(number: int, share: float, index: int) -> None:
    octets = FILES[number]

    class Shrinking(MemoryInput):
        """A file whose end is lost after the footer has been read."""

        end: int | None = None

        def pread(self, offset: int, *into: memoryview) -> int:
            left = self.size if self.end is None else max(0, self.end - offset)
            fitting = []
            for room in into:
                fitting.append(room[:left])
                left -= len(fitting[-1])
            return super().pread(offset, *fitting)

    class Storage(MemoryStorage):
        def open_input(self, path: str) -> Shrinking:
            return Shrinking(self, path)

    storage = Storage()
    storage.files[PATH] = octets
    file = ParquetRows(storage, None, ReadMode.ROW_GROUP).open(PATH)
    group = pq.read_metadata(io.BytesIO(octets)).row_group(index)
    chunks = [group.column(leaf) for leaf in range(group.num_columns)]
    starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks]
    whole = starts[-1] + chunks[-1].total_compressed_size - starts[0]
    end = starts[0] + min(whole - 1, int(share * whole))
    lost = next(c for c, start in zip(chunks, starts, strict=True) if end < start + c.total_compressed_size)
    Shrinking.end = end
    missing = f"^{PATH}: row group {index}, column '{lost.path_in_schema}': the file ends at byte {end}, "
    with pytest.raises(ParquetFileError, match=missing):
        file.read(index)


def test_a_wrong_checksum_names_row_group_column_and_byte() -> None:
    octets = stored(TABLE.select(["f", "i"]), row_group_size=100, write_page_checksum=True, use_dictionary=False)
    chunk = pq.read_metadata(io.BytesIO(octets)).row_group(2).column(1)
    at = chunk.data_page_offset
    damaged = changed(octets, at + chunk.total_compressed_size - 1, at + chunk.total_compressed_size, [(0.0, 1)])
    where = f"^{PATH}: row group 2, column 'i', byte {at}: the checksum of the page"
    for mode in ReadMode:
        file = opened(damaged, mode=mode, verify_checksums=True, block_bytes=1)
        assert file.read(1).block.rows == 100
        with pytest.raises(ParquetFileError, match=where):
            file.read(2)
    assert opened(damaged).read(2).block.rows == 100


# Files that lie about counts and sizes, made by putting other numbers into a sound page header


def varint(number: int) -> bytes:
    out = []
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def page(stored_body: bytes, *, decoded: int, values: int, encoding: int = 0, size: int | None = None) -> bytes:
    fields = [0, decoded, len(stored_body) if size is None else size]
    outer = b"".join(b"\x15" + varint(number * 2) for number in fields)
    inner = b"".join(b"\x15" + varint(number * 2) for number in (values, encoding, 3, 3))
    return outer + b"\x2c" + inner + b"\0\0" + stored_body


def file_of(kind: pa.DataType, header_and_body: bytes, codec: str = "none") -> bytes:
    """Return a file with one column of ten rows, whose only chunk is replaced."""
    schema = pa.schema([pa.field("c", kind, nullable=False)])
    template = pa.Table.from_arrays([pa.array([0] * 10).cast(kind)], schema=schema)
    octets = stored(template, compression=codec, use_dictionary=False, write_statistics=False)
    chunk = pq.read_metadata(io.BytesIO(octets)).row_group(0).column(0)
    old, start = chunk.total_compressed_size, footer_start(octets)
    footer = octets[start:-8].replace(varint(old * 2), varint(len(header_and_body) * 2))
    return b"PAR1" + header_and_body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


ZEROS = bytes(80)
HOSTILE = {
    "fewer values than rows": page(bytes(72), decoded=72, values=9),
    "more values than rows": page(bytes(88), decoded=88, values=11),
    "values that do not fit": page(bytes(8), decoded=8, values=10),
    "values with bytes left over": page(bytes(96), decoded=96, values=10),
    "a count of two billion": page(ZEROS, decoded=80, values=2**31 - 1),
    "a page of two gigabytes": page(ZEROS, decoded=2**31 - 1, values=10),
    "a stored size of two gigabytes": page(ZEROS, decoded=80, values=10, size=2**31 - 1),
    "an unknown encoding": page(ZEROS, decoded=80, values=10, encoding=77),
    "indices without a dictionary": page(b"\x08\x05" + bytes(16), decoded=18, values=10, encoding=8),
    "nothing": b"\0",
}


@pytest.mark.parametrize("octets", HOSTILE.values(), ids=HOSTILE)
def test_pages_that_lie_are_refused_within_bounds(octets: bytes) -> None:
    file = opened(file_of(pa.int64(), octets))
    with at_most(16 * MIB), pytest.raises(ParquetFileError, match=f"^{PATH}: row group 0, column"):
        file.read(0)


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()], ids=str)
def test_a_footer_that_denies_all_values_is_refused(kind: pa.DataType) -> None:
    octets = file_of(kind, page(ZEROS, decoded=80, values=10))
    start = footer_start(octets)
    ten_values_twice = b"\x16\x14"
    assert ten_values_twice in octets[start:]
    damaged = octets[:start] + octets[start:].replace(ten_values_twice, b"\x16\x00", 2)
    with pytest.raises(ParquetFileError, match=f"^{PATH}: "):
        opened(damaged).read(0)


@pytest.mark.parametrize("codec", CODECS[1:])
@pytest.mark.parametrize("decoded", [79, 81, 1000, 2**31 - 1])
def test_compressed_pages_that_lie_about_their_size_are_refused_within_bounds(codec: str, decoded: int) -> None:
    body = pa.Codec("lz4_raw" if codec == "lz4" else codec).compress(ZEROS, asbytes=True)
    assert opened(file_of(pa.int64(), page(body, decoded=80, values=10), codec)).read(0).block.rows == 10
    file = opened(file_of(pa.int64(), page(body, decoded=decoded, values=10), codec))
    with at_most(16 * MIB), pytest.raises(ParquetFileError, match=f"^{PATH}: row group 0, column"):
        file.read(0)


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_a_bomb_is_refused_before_it_goes_off(codec: str) -> None:
    body = pa.Codec(codec).compress(bytes(64 * MIB), asbytes=True)
    file = opened(file_of(pa.int64(), page(body, decoded=64 * MIB, values=10), codec))
    with at_most(16 * MIB), pytest.raises(ParquetFileError, match="row group 0"):
        file.read(0)


@pytest.mark.parametrize("as_dictionary", [True, False])
def test_text_that_repeats_a_large_value_is_refused_before_it_fills_memory(as_dictionary: bool) -> None:
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array(["x" * (4 * MIB)]))
    options = {"dictionary_pagesize_limit": 8 * MIB, "store_schema": as_dictionary}
    octets = stored(pa.table({"c": repeated}), use_dictionary=True, **options)
    file = opened(octets, [Column("c", ColumnType.STRING)])
    with at_most(600 * MIB), pytest.raises(ParquetFileError, match=r"row group 0, columns 'c': .* decode"):
        file.read(0)


def test_text_that_repeats_a_large_value_is_read_if_it_is_not_too_much() -> None:
    values = [*["a", "b", None] * 1000, "x" * MIB, *["c"] * 3000]
    octets = stored(pa.table({"c": pa.array(values)}), use_dictionary=True, dictionary_pagesize_limit=8 * MIB)
    assert same(rows_of(opened(octets)), {"c": values})


def test_rows_that_no_bytes_can_hold_are_refused() -> None:
    octets = stored(pa.table({"c": pa.nulls(40_000_000, pa.int64())}), row_group_size=40_000_000)
    file = opened(octets, [Column("c", ColumnType.INT64)])
    with pytest.raises(ParquetFileError, match=f"^{PATH}: row group 0: .* bytes cannot decode"):
        file.read(0)


def test_sound_files_of_these_tests_are_read() -> None:
    for octets in FILES:
        assert same(rows_of(opened(octets, verify_checksums=True)), VALUES)
        assert same(by_pyarrow(octets).to_pydict(), VALUES)


def test_arrays_of_damaged_files_are_never_left_unfilled() -> None:
    body = pa.Codec("snappy").compress(np.arange(8), asbytes=True)
    octets = file_of(pa.int64(), page(body, decoded=80, values=10), "snappy")
    for _ in range(3):
        with pytest.raises(ParquetFileError):
            opened(octets).read(0)
