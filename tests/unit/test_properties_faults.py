"""Damaged, absent and forbidden files: the class of the error, the moment, the names it tells, and never other rows."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from property_reading import MODE, PATH, Columns, columns_read, error_of, read_whole, rows_reader, stored, written

from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import COMPRESSION_MAP, ParquetFiles
from dlio_benchmark.errors import (
    DataError,
    DataMissingError,
    DlioError,
    Exit,
    ParquetFileError,
    StorageError,
    UnreadableError,
)
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.base import Reader
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.base import Storage
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage
from verification import oracle
from verification.contracts.forks import in_forks
from verification.contracts.reader import MakeReader
from verification.evidence import Recorder
from verification.faults import BY_KIND, DAMAGES, Damage, Moment, body_end, unprivileged
from verification.probes import in_child, open_files
from verification.probes.child import ChildDeathError
from verification.saboteurs.readers import READERS
from verification.strategies import Access, Layout, layouts, numbered

COLUMNS = (
    *(Column("row", ColumnType.INT64), Column("c0", ColumnType.FLOAT64), Column("c1", ColumnType.STRING)),
    *(Column("c2", ColumnType.FLOAT32, 4), Column("c3", ColumnType.INT32)),
)
ROWS = 20
TABLE = numbered(ROWS, columns=4)
WANTED: Columns = {column.name: oracle.plain(TABLE[column.name]) for column in COLUMNS}
WHOLE = Access((), "row_group", group_window=1, block_bytes=1 << 24, verify=True)
PLAINEST = Layout(7, checksums=True)

modes = st.sampled_from(list(MODE))


def outcome(reader: Reader, path: str = PATH) -> tuple[Moment, DlioError] | Columns:
    """Return what is read of ``path``, or the error and when it was raised; any other error is passed on."""
    try:
        file = reader.open(path)
    except DlioError as error:
        return Moment.OPEN, error
    try:
        return columns_read(file)
    except DlioError as error:
        return Moment.READ, error
    finally:
        file.close()


def classes(error: BaseException) -> set[str]:
    """Return the names of an error's class and of all its bases."""
    return {one.__name__ for one in type(error).__mro__}


@given(
    damage=st.sampled_from(DAMAGES),
    layout=layouts(rows=ROWS),
    seed=st.integers(0, 2**32),
    mode=modes,
    window=st.integers(1, 3),
)
def test_damage_is_an_error_of_its_class_in_time_or_harmless(
    damage: Damage, layout: Layout, seed: int, mode: str, window: int
) -> None:
    body = written(TABLE, replace(layout, checksums=True))
    reader = rows_reader(
        stored(damage.apply(body, Random(seed))), COLUMNS, replace(WHOLE, mode=mode, group_window=window)
    )
    found = outcome(reader)
    if isinstance(found, dict):
        event(f"{damage.kind}: harmless")
        assert damage.may_be_harmless
        assert oracle.equal(found, WANTED), "other rows than those that were written"
        return
    moment, error = found
    event(f"{damage.kind}: {moment.value}")
    assert damage.error in classes(error)
    assert str(error).startswith(PATH)
    assert error.code is Exit.DATA_INVALID
    assert isinstance(error, ValueError)
    assert moment is Moment.OPEN or damage.moment is Moment.READ


def _own_file(codec: Compression) -> tuple[bytes, Columns]:
    storage = MemoryStorage()
    ParquetFiles(COLUMNS, codec, row_group_size=7).write(PlannedFile(DatasetType.TRAIN, 0, PATH, ROWS), storage)
    return storage.files[PATH], read_whole(ParquetRows(storage, COLUMNS))


OWN = {codec: _own_file(codec) for codec in COMPRESSION_MAP}


@given(
    codec=st.sampled_from(list(OWN)),
    damage=st.sampled_from([damage for damage in DAMAGES if damage.may_be_harmless]),
    seed=st.integers(0, 2**32),
    mode=modes,
)
def test_damage_to_generated_files_never_changes_a_row(
    codec: Compression, damage: Damage, seed: int, mode: str
) -> None:
    body, wanted = OWN[codec]
    storage = stored(damage.apply(body, Random(seed)))
    found = outcome(rows_reader(storage, COLUMNS, replace(WHOLE, mode=mode)))
    assert not isinstance(found, dict) or oracle.equal(found, wanted)


def flipped(body: bytes, at: int, bit: int) -> bytes:
    """Return a copy with one bit changed."""
    return body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :]


def read_flips_of_the_footer(body: bytes, first: int, step: int) -> list[str]:
    """Flip every ``step``-th bit of a footer from ``first`` on; return what went wrong in other ways than an error."""
    wanted = read_whole(ParquetRows(stored(body), COLUMNS))
    wrong = []
    bits = range(body_end(body) * 8 + first, (len(body) - 8) * 8, step)
    for bit in bits:
        found = outcome(ParquetRows(stored(flipped(body, bit // 8, bit % 8)), COLUMNS, verify_checksums=True))
        if isinstance(found, dict) and not oracle.equal(found, wanted):
            wrong.append(f"bit {bit} of the file: other rows")
    return wrong


def test_a_flipped_bit_in_the_footer_is_an_error_or_nothing_but_never_the_end_of_the_process() -> None:
    foreign = replace(PLAINEST, codec="zstd", dictionary=True, statistics=True).written(TABLE)
    generated = OWN[Compression.ZSTD][0]
    assert in_forks(read_flips_of_the_footer, [(generated, 3, 29), (foreign, 3, 29)]) == [[], []]


def test_a_column_that_allows_nulls_by_damage_is_no_column_of_nulls() -> None:
    body, wanted = OWN[Compression.ZSTD]
    kinds = [outcome(ParquetRows(stored(flipped(body, at, 1)), COLUMNS)) for at in range(body_end(body), len(body) - 8)]
    refused = [str(found[1]) for found in kinds if not isinstance(found, dict)]
    assert any("it allows nulls in 'c2'" in said for said in refused)
    assert all(oracle.equal(found, wanted) for found in kinds if isinstance(found, dict))


def test_a_chunk_that_contradicts_itself_is_an_error_before_pyarrow_ends_the_process() -> None:
    body = replace(PLAINEST, dictionary=True, statistics=True).written(TABLE)
    bits = range(body_end(body) * 8, (len(body) - 8) * 8)
    said = (outcome(ParquetRows(stored(flipped(body, bit // 8, bit % 8)), COLUMNS)) for bit in bits)
    assert any(not isinstance(found, dict) and "histogram size mismatch" in str(found[1]) for found in said)


# -- files that are not there, or not ours to read ---------------------------------------------------------------------
def _nothing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _no_right(path: Path) -> None:
    path.chmod(0)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


AWAY: dict[str, tuple[Callable[[Path], None], type[DlioError], str]] = {
    "missing": (_nothing, DataMissingError, "no such file"),
    "dangling link": (_dangling, DataMissingError, "no such file"),
    "folder": (_folder, StorageError, "not a regular file"),
    "permission denied": (_no_right, UnreadableError, "Permission denied"),
    "pipe": (_pipe, StorageError, "not a regular file"),
}


@contextmanager
def readable_by_all(folder: Path) -> Iterator[None]:
    """Let everybody enter ``folder`` and the private folders above it."""
    entry = stat.S_IXGRP | stat.S_IXOTH
    above = [(one, one.stat()) for one in (folder, *folder.parents)]
    before = [(one, seen.st_mode) for one, seen in above if seen.st_uid == os.getuid() and ~seen.st_mode & entry]
    for one, mode in before:
        one.chmod(mode | entry)
    try:
        yield
    finally:
        for one, mode in before:
            one.chmod(mode)


@pytest.mark.parametrize("mode", ReadMode)
@pytest.mark.parametrize("kind", AWAY)
def test_a_file_that_cannot_be_opened_is_named_with_the_reason(tmp_path: Path, kind: str, mode: ReadMode) -> None:
    change, wanted, words = AWAY[kind]
    for name in ("odd.parquet", "good.parquet"):
        (tmp_path / name).write_bytes(PLAINEST.written(TABLE))
    change(tmp_path / "odd.parquet")
    reader = ParquetRows(LocalStorage(str(tmp_path)), COLUMNS, mode)
    with readable_by_all(tmp_path), unprivileged():
        error = error_of(lambda: reader.open("odd.parquet"))
        assert type(error) is wanted
        assert isinstance(error, OSError)
        assert str(tmp_path / "odd.parquet") in str(error)
        assert words in str(error)
        assert open_files(tmp_path) == []
        reader.open("good.parquet").close()


# -- files that change while they are open -----------------------------------------------------------------------------
def read_cut_off(path: str, keep: int, mode: str) -> str:
    """Open a file, cut it to ``keep`` bytes, read it, and return the error's class and words."""
    folder, name = os.path.split(path)
    file = rows_reader(LocalStorage(folder), COLUMNS, replace(WHOLE, mode=mode)).open(name)
    os.truncate(path, keep)
    error = error_of(lambda: columns_read(file))
    file.close()
    return f"{type(error).__name__}: {error}"


def map_cut_off(path: str, keep: int) -> int:
    """Do the same with a memory map: known to be wrong."""
    with pq.ParquetFile(path, memory_map=True) as file:
        os.truncate(path, keep)
        rows: int = file.read().num_rows
    return rows


def test_a_file_cut_off_while_it_is_open_is_an_error_and_no_signal(tmp_path: Path) -> None:
    cases = [(str(tmp_path / f"{mode}-{keep}" / "f.parquet"), keep, mode) for keep in (0, 100) for mode in MODE]
    for path, _, _ in cases:
        Path(path).parent.mkdir()
        Path(path).write_bytes(PLAINEST.written(TABLE))
    for case, said in zip(cases, in_forks(read_cut_off, cases), strict=True):
        wanted = rf"ParquetFileError: f\.parquet: row group 0, column '\w+': the file ends at byte {case[1]}, "
        assert re.match(wanted, said), case


def test_a_memory_map_would_end_the_process_there(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    path.write_bytes(Layout(100_000).written(numbered(200_000)))
    with pytest.raises(ChildDeathError) as death:
        in_child(map_cut_off, str(path), 0)
    assert death.value.signal > 0


@pytest.mark.parametrize("mode", MODE)
def test_a_file_that_is_removed_or_replaced_while_it_is_open_is_read_to_its_end(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "f.parquet"
    path.write_bytes(PLAINEST.written(TABLE))
    reader = rows_reader(LocalStorage(str(tmp_path)), COLUMNS, replace(WHOLE, mode=mode))
    file = reader.open("f.parquet")
    aside = tmp_path / "aside"
    aside.write_bytes(PLAINEST.written(numbered(3, columns=4)))
    aside.replace(path)
    assert columns_read(file) == WANTED
    file.close()
    assert len(read_whole(reader, "f.parquet")["row"]) == 3


@given(keep=st.floats(0, 0.99), layout=layouts(rows=ROWS), mode=modes)
def test_a_row_group_that_is_cut_off_says_which_column_is_short(keep: float, layout: Layout, mode: str) -> None:
    body = written(TABLE, layout)
    storage = stored(body)
    file = rows_reader(storage, COLUMNS, replace(WHOLE, mode=mode, verify=False)).open(PATH)
    left = int(body_end(body) * keep)
    file._file._bytes = memoryview(body)[:left]  # type: ignore[attr-defined]  # the open file becomes shorter
    error = error_of(lambda: columns_read(file))
    assert isinstance(error, ParquetFileError)
    told = re.match(rf"{PATH}: row group \d+, column '.*': the file ends at byte (\d+), (\d+) bytes short", str(error))
    assert told is not None
    end, missing = map(int, told.groups())
    assert left <= end < end + missing <= body_end(body)


# -- the claim ---------------------------------------------------------------------------------------------------------
CLAIMED = ("flipped bit", "truncated", "zeroed range", "garbled footer", "empty", "not parquet")
TRIES = 40


def no_damage_passes_unseen(evidence: Recorder, make: MakeReader, kind: str, body: bytes) -> None:
    """Hold that damaged copies give an error that names the file, or the rows that were written."""
    storage = MemoryStorage()
    silent = 0
    for seed in range(TRIES):
        storage.files[PATH] = BY_KIND[kind].apply(body, Random(seed))
        try:
            silent += not oracle.equal(read_whole(make(storage, COLUMNS, ReadMode.ROW_GROUP)), WANTED)
        except DataError as error:
            silent += PATH not in str(error)
        except UnicodeDecodeError:  # the bytes that were handed out as text are none
            silent += 1
    evidence.hold(silent, what="silent differences", at_most=0, unit="files")
    evidence.cover("damage", kind)


def _verifying(storage: Storage, columns: Sequence[Column] | None, mode: ReadMode) -> Reader:
    return ParquetRows(storage, columns, mode, verify_checksums=True)


@pytest.mark.claim("product-6")
@pytest.mark.parametrize("kind", CLAIMED)
def test_no_damage_passes_unseen_and_wrong_readers_let_it_pass(evidence: Recorder, kind: str) -> None:
    no_damage_passes_unseen(evidence, _verifying, kind, PLAINEST.written(TABLE))
    if kind != "flipped bit":
        return
    for name in ("swallows-read-errors", "serves-nulls-for-damage", "checksums-not-verified"):
        with evidence.saboteur(name):
            no_damage_passes_unseen(evidence, READERS[name], kind, PLAINEST.written(TABLE))
    with evidence.saboteur("no-page-checksums"):
        no_damage_passes_unseen(evidence, _verifying, kind, Layout(7).written(TABLE))
