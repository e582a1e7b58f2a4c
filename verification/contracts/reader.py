"""What every reader of Parquet files promises: bytes, memory, rows, and errors.

The checks are functions of a ``make``, so that they run alike on the product and on wrong readers; `ReaderContract`
turns them into tests for a class that says ``make``.  Files are written and judged by pyarrow.
"""

from __future__ import annotations

import io
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import DlioError
from dlio_benchmark.reader.base import OpenFile, Reader
from dlio_benchmark.storage.base import Storage
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.values import as_arrow
from verification.contracts.forks import in_forks
from verification.evidence import Recorder
from verification.probes import bytes_read, in_child, open_files
from verification.probes.memory import growth_here

MakeReader = Callable[[Storage, Sequence[Column] | None, ReadMode], Reader]

CODECS = ("none", "snappy", "gzip", "zstd", "lz4")
MODES = (ReadMode.DEFAULT, ReadMode.ROW_GROUP)
FOOTER_ALLOWANCE = 128 * 1024
GROUP_ROWS = 1 << 17
GROUP_BYTES = GROUP_ROWS * 2 * 8
FEW, MANY = 8, 64
COUNTED, BY_SYSTEM = "bytes counted below the reader", "bytes read by the operating system"
GROWTH = "growth of the peak from 8 to 64 row groups"
PEAK = "peak with 64 row groups"


def reported(file: OpenFile) -> int:
    """Read every block of ``file`` and return the bytes that it says it read."""
    return sum(file.read(index).bytes_read for index in range(len(file.shapes)))


def table_of(file: OpenFile) -> pa.Table:
    """Return all rows of ``file``, with the columns in the order in which blocks give them."""
    blocks = [file.read(index).block for index in range(len(file.shapes))]
    tables = [pa.table({name: as_arrow(values) for name, values in block.columns.items()}) for block in blocks]
    return pa.concat_tables(tables) if tables else pa.table({})


def stored_bytes(path_or_bytes: Path | bytes, names: Sequence[str]) -> int:
    """Return the bytes of the column chunks of ``names``, as pyarrow reads the footer."""
    source = io.BytesIO(path_or_bytes) if isinstance(path_or_bytes, bytes) else path_or_bytes
    footer = pq.read_metadata(source)
    chunks = (footer.row_group(g).column(c) for g in range(footer.num_row_groups) for c in range(footer.num_columns))
    return sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in names)


# -- projection -----------------------------------------------------------------------------------------------------
WIDE_COLUMNS = tuple(Column(f"c{number}", ColumnType.FLOAT64) for number in range(8))
WANTED = (WIDE_COLUMNS[5], WIDE_COLUMNS[2])
WANTED_NAMES = tuple(column.name for column in WANTED)


def wide_file(codec: str) -> bytes:
    """Return a file of eight columns of incompressible numbers in four row groups, about 1.3 MB."""
    dice = np.random.default_rng(4)
    table = pa.table({column.name: dice.random(20_000) for column in WIDE_COLUMNS})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=codec, use_dictionary=False, row_group_size=5_000)
    return sink.getvalue()


def reads_only_the_wanted_chunks(evidence: Recorder, make: MakeReader, body: bytes, mode: ReadMode) -> None:
    """Hold the bytes asked of the storage, and those that the reader reports, to the chunks of the wanted columns."""
    storage = MemoryStorage()
    storage.files["f.parquet"] = body
    file = make(storage, WANTED, mode).open("f.parquet")
    told = reported(file)
    file.close()
    chunks = stored_bytes(body, WANTED_NAMES)
    asked = sum(length for _, _, length in storage.reads)
    evidence.hold(asked, what=COUNTED, at_least=chunks, at_most=chunks + FOOTER_ALLOWANCE, unit="B")
    evidence.equal(told, chunks, what="bytes reported by the reader against the footer")


def _read_by_system(make: MakeReader, paths: Sequence[str], mode: ReadMode) -> list[int]:
    seen = []
    for path in paths:
        folder, name = posixpath.split(path)
        reader = make(LocalStorage(folder), WANTED, mode)
        _drain(reader, name)  # what is loaded on first use is not counted
        seen.append(bytes_read(partial(_drain, reader, name)))
    return seen


def _drain(reader: Reader, path: str) -> None:
    file = reader.open(path)
    for index in range(len(file.shapes)):
        file.read(index)
    file.close()


def read_by_system(makes: Sequence[MakeReader], paths: Sequence[Path], mode: ReadMode) -> list[list[int]]:
    """Return the bytes that read calls gave a process without a past, for each reader and file."""
    return in_forks(_read_by_system, [(make, [str(path) for path in paths], mode) for make in makes])


def the_system_reads_only_the_wanted_chunks(evidence: Recorder, paths: Sequence[Path], counts: Sequence[int]) -> None:
    """Hold the bytes that read calls gave a reader to the chunks of the wanted columns of each file."""
    for path, read in zip(paths, counts, strict=True):
        chunks = stored_bytes(path, WANTED_NAMES)
        evidence.hold(read, what=BY_SYSTEM, at_least=chunks, at_most=chunks + FOOTER_ALLOWANCE, unit="B")


# -- memory ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Growing:
    """Two files that differ in the number of their row groups alone."""

    few: Path
    many: Path


def growing_files(folder: Path, codec: str = "none") -> Growing:
    """Write files of 8 and of 64 row groups of 2 MiB."""
    return Growing(_many_groups(folder / "few.parquet", FEW, codec), _many_groups(folder / "many.parquet", MANY, codec))


def _many_groups(path: Path, groups: int, codec: str) -> Path:
    dice = np.random.default_rng(6)
    schema = pa.schema([("a", pa.float64()), ("b", pa.float64())])
    with pq.ParquetWriter(path, schema, compression=codec, use_dictionary=False) as writer:
        for _ in range(groups):
            table = pa.table({"a": dice.random(GROUP_ROWS), "b": dice.random(GROUP_ROWS)}, schema=schema)
            writer.write_table(table, row_group_size=GROUP_ROWS)
    return path


def _read_by_group(make: MakeReader, path: str) -> None:
    _drain(make(LocalStorage("/"), None, ReadMode.ROW_GROUP), path.lstrip("/"))


@dataclass(frozen=True, slots=True)
class Peaks:
    """By how many row groups reading the two files makes the memory of a process peak."""

    few: float
    many: float


def peaks_of(makes: Sequence[MakeReader], files: Growing) -> list[Peaks]:
    """Measure readers, each in a process that has read the smaller file before."""
    return in_forks(_peaks, [(make, str(files.few), str(files.many)) for make in makes])


def _peaks(make: MakeReader, *paths: str) -> Peaks:
    _read_by_group(make, paths[0])
    return Peaks(*(growth_here(_read_by_group, make, path) / GROUP_BYTES for path in paths))


def peaks_do_not_follow_the_file(evidence: Recorder, peaks: Peaks) -> None:
    """Hold the peak memory of reading by row group to a few row groups, whatever their number."""
    evidence.hold(round(peaks.many - peaks.few, 2), what=GROWTH, at_most=3, unit="row groups")
    evidence.hold(round(peaks.many, 2), what=PEAK, at_most=16, unit="row groups")


def memory_does_not_follow_the_file(evidence: Recorder, make: MakeReader, files: Growing) -> None:
    """Measure a reader, and hold its peaks."""
    (peaks,) = peaks_of([make], files)
    peaks_do_not_follow_the_file(evidence, peaks)


# -- schema ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Mismatch:
    """A file that lacks what is configured: its table, the configured columns, and the names that must be told."""

    kind: str
    table: pa.Table
    columns: tuple[Column, ...]
    named: tuple[str, ...]


_GOOD = pa.table({"a": pa.array([1.0, 2.0], pa.float32()), "b": pa.array([1, 2], pa.int64()), "c": ["x", "y"]})
_A = Column("a", ColumnType.FLOAT32)
_B = Column("b", ColumnType.INT64)
_C = Column("c", ColumnType.STRING)
MISMATCHES = (
    Mismatch("one column missing", _GOOD.drop_columns(["b"]), (_A, _B, _C), ("'b'",)),
    Mismatch("all columns missing", _GOOD.rename_columns(["p", "q", "r"]), (_A, _B, _C), ("'a'", "'b'", "'c'")),
    Mismatch("other type", _GOOD.set_column(1, "b", pa.array(["1", "2"])), (_A, _B, _C), ("'b'", "string", "int64")),
)
POSITIONS = ("first file", "later file")


def every_mismatch_is_named_on_open(evidence: Recorder, make: MakeReader, case: Mismatch, position: str) -> None:
    """Hold that opening a file of another schema raises a ValueError that names the file and every column."""
    storage = MemoryStorage()
    storage.files["good.parquet"] = _as_parquet(_GOOD)
    storage.files["odd.parquet"] = _as_parquet(case.table)
    reader = make(storage, case.columns, ReadMode.DEFAULT)
    if position == "later file":
        good = reader.open("good.parquet")
        rows = sum(good.read(index).block.rows for index in range(len(good.shapes)))
        evidence.equal(rows, 2, what="rows of the file before the odd one")
        good.close()
    evidence.raises(
        ValueError,
        lambda: reader.open("odd.parquet"),
        naming=("odd.parquet", *case.named),
        what=f"{case.kind}, {position}",
    )


def _as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=max(1, table.num_rows // 2), compression="none")
    return sink.getvalue()


# -- rows -----------------------------------------------------------------------------------------------------------
def rows_are_those_of_the_file(
    evidence: Recorder, make: MakeReader, body: bytes, columns: Sequence[Column], mode: ReadMode
) -> None:
    """Hold that the rows read are those that pyarrow reads, in the order of columns asked for."""
    storage = MemoryStorage()
    storage.files["f.parquet"] = body
    file = make(storage, columns, mode).open("f.parquet")
    found = table_of(file)
    promised = sum(shape.rows for shape in file.shapes)
    file.close()
    names = [column.name for column in columns]
    wanted = pq.read_table(io.BytesIO(body), columns=names).select(names)
    evidence.equal(promised, wanted.num_rows, what="rows promised")
    evidence.equal(found.num_rows, wanted.num_rows, what="rows read")
    if wanted.num_rows:
        evidence.equal(found.column_names, names, what="order of the columns")
    for name in found.column_names:
        same = repr(found[name].to_pylist()) == repr(wanted[name].to_pylist())
        evidence.equal(same, True, what="values equal those of pyarrow")


def sums_are_those_of_the_file(evidence: Recorder, make: MakeReader, body: bytes, mode: ReadMode) -> None:
    """Hold count, sum and weighted sum of a column of numbers, computed from the raw file by another way."""
    storage = MemoryStorage()
    storage.files["f.parquet"] = body
    file = make(storage, WANTED, mode).open("f.parquet")
    found = table_of(file)
    file.close()
    whole = pq.read_table(io.BytesIO(body))
    evidence.equal(found.num_rows, whole.num_rows, what="rows counted")
    for name in WANTED_NAMES:
        ours, theirs = found[name].to_numpy(), whole[name].to_numpy()
        weights = np.arange(len(theirs)) + 1.0
        at_hand = weights[: len(ours)]
        evidence.equal(float(ours @ at_hand), float(theirs @ weights), what="sum of value times row number")


def every_pass_reads_again(evidence: Recorder, make: MakeReader, body: bytes, mode: ReadMode) -> None:
    """Hold that a second pass asks the storage for as many bytes as the first, and that opening reads no chunk."""
    storage = MemoryStorage()
    storage.files["f.parquet"] = body
    reader, chunks = make(storage, WANTED, mode), stored_bytes(body, WANTED_NAMES)
    for number in ("first", "second", "third"):
        storage.reads.clear()
        file = reader.open("f.parquet")
        opened = sum(length for _, _, length in storage.reads)
        told = reported(file)
        file.close()
        read = sum(length for _, _, length in storage.reads) - opened
        evidence.hold(opened, what="bytes read on open", at_most=FOOTER_ALLOWANCE // 2, unit="B")
        evidence.hold(read, what=f"bytes read in the {number} pass", at_least=chunks, at_most=chunks, unit="B")
        evidence.equal(told, read, what="bytes reported against bytes counted in a pass")


def _files_left_open(make: MakeReader, path: str, times: int) -> int:
    reader = make(LocalStorage("/"), None, ReadMode.ROW_GROUP)
    reader.open(path.lstrip("/")).close()
    before = len(open_files())
    for _ in range(times):
        file = reader.open(path.lstrip("/"))
        file.read(0)
        file.close()
    return len(open_files()) - before


def closing_releases_the_file(evidence: Recorder, make: MakeReader, path: Path) -> None:
    """Hold that no descriptor is left after twenty passes over a file."""
    left = in_child(_files_left_open, make, str(path), 20)
    evidence.hold(left, what="growth of open files over 20 passes", at_most=0, unit="files")


def damage_is_an_error(evidence: Recorder, make: MakeReader, body: bytes, columns: Sequence[Column]) -> None:
    """Hold that reading a file gives the rows that were written or an error, never other rows."""
    storage = MemoryStorage()
    storage.files["f.parquet"] = body
    wanted = pq.read_table(io.BytesIO(body), columns=[column.name for column in columns])
    for label, damaged in damages(body):
        storage.files["f.parquet"] = damaged
        try:
            found = table_of(make(storage, columns, ReadMode.ROW_GROUP).open("f.parquet"))
            silent = repr(found.to_pydict()) != repr(wanted.to_pydict())
        except DlioError as error:
            silent = "f.parquet" not in str(error)
        evidence.hold(int(silent), what="silent differences", at_most=0, unit="files")
        evidence.cover("damage", label)


def damages(body: bytes) -> list[tuple[str, bytes]]:
    """Return damaged copies of a file, each with the name of the damage."""
    footer = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    dice = np.random.default_rng(1)
    flipped = []
    for at in dice.integers(4, footer, 150):
        copy = bytearray(body)
        copy[at] ^= 1 << int(dice.integers(8))
        flipped.append(("flipped bit", bytes(copy)))
    cut = [("truncated", body[: int(at)]) for at in dice.integers(1, len(body), 30)]
    zeroed = [("zeroed range", body[:at] + bytes(64) + body[at + 64 :]) for at in range(4, footer - 64, footer // 20)]
    garbled = [("garbled footer", body[:footer] + bytes(8) + body[footer + 8 :])]
    return [*flipped, *cut, *zeroed, *garbled, ("empty", b""), ("not parquet", b"x" * len(body))]


class ReaderContract(ABC):
    """Subclass this, say `make`, and pytest runs the contract on your reader."""

    @abstractmethod
    def make(self, storage: Storage, columns: Sequence[Column] | None, mode: ReadMode) -> Reader:
        """Return the reader under test; with ``columns`` None it reads all."""

    def test_only_wanted_chunks_are_read(self, evidence: Recorder) -> None:
        for codec in CODECS:
            body = wide_file(codec)
            for mode in MODES:
                reads_only_the_wanted_chunks(evidence, self.make, body, mode)

    def test_every_pass_reads_again(self, evidence: Recorder) -> None:
        body = wide_file("zstd")
        for mode in MODES:
            every_pass_reads_again(evidence, self.make, body, mode)

    def test_every_mismatch_is_named_on_open(self, evidence: Recorder) -> None:
        for case in MISMATCHES:
            for position in POSITIONS:
                every_mismatch_is_named_on_open(evidence, self.make, case, position)

    def test_rows_are_those_of_the_file(self, evidence: Recorder) -> None:
        body = wide_file("lz4")
        for mode in MODES:
            rows_are_those_of_the_file(evidence, self.make, body, WANTED, mode)
            sums_are_those_of_the_file(evidence, self.make, body, mode)

    def test_memory_does_not_follow_the_file(self, evidence: Recorder, tmp_path: Path) -> None:
        memory_does_not_follow_the_file(evidence, self.make, growing_files(tmp_path))
