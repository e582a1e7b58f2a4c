"""Wrong readers are caught a second time: by another relation, oracle or probe than the first time."""

from __future__ import annotations

import gc
import io
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lending import Lending
from pages import pages
from property_reading import PATH, read_whole, stored

from dlio_benchmark.batch import Batch
from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import DataError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.reader.base import Reader
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.base import Storage
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage
from verification.contracts.forks import ended_forks
from verification.contracts.loader import MakeLoader, direct, path_of, wide_files
from verification.contracts.reader import MakeReader
from verification.evidence import Recorder
from verification.faults import BY_KIND
from verification.saboteurs.loaders import LOADERS
from verification.saboteurs.readers import READERS
from verification.strategies import Layout, numbered

ROWS, GROUP = 20, 7
TABLE = numbered(ROWS, columns=4)
COLUMNS = (
    *(Column("row", ColumnType.INT64), Column("c0", ColumnType.FLOAT64), Column("c1", ColumnType.STRING)),
    *(Column("c2", ColumnType.FLOAT32, 4), Column("c3", ColumnType.INT32)),
)
BODY = Layout(GROUP, checksums=True).written(TABLE)


def verifying(storage: Storage, columns: Sequence[Column] | None, mode: ReadMode) -> Reader:
    return ParquetRows(storage, columns, mode, verify_checksums=True)


def reads(make: MakeReader, columns: Sequence[Column]) -> dict[str, list[Any]]:
    return read_whole(make(stored(BODY), columns, ReadMode.ROW_GROUP))


# -- rows --------------------------------------------------------------------------------------------------------------
def together_as_alone(evidence: Recorder, make: MakeReader) -> None:
    """Hold that columns asked for together are those asked for one by one, in the order of the question."""
    for asked in (COLUMNS, COLUMNS[::-1], (COLUMNS[3], COLUMNS[0])):
        found = reads(make, asked)
        alone = [reads(make, [column])[column.name] for column in asked]
        evidence.equal(list(found.values()) == alone, True, what="columns read together are those read alone, in order")


def nulls_as_a_second_engine_counts(evidence: Recorder, make: MakeReader, folder: Path) -> None:
    """Hold the nulls of each column, and the sum of one, to what duckdb makes of the file."""
    path = folder / "f.parquet"
    path.write_bytes(BODY)
    counts = ", ".join(f"count(*) - count({column.name})" for column in COLUMNS)
    with duckdb.connect() as engine:
        (wanted,) = engine.execute(f"SELECT {counts}, sum(c3) FROM read_parquet(?)", [str(path)]).fetchall()
    found = reads(make, COLUMNS)
    nulls = [sum(value is None for value in values) for values in found.values()]
    evidence.hold(sum(wanted[:-1]), what="nulls in the file", at_least=1, unit="values")
    evidence.equal(nulls, list(wanted[:-1]), what="nulls of each column, as duckdb counts them")
    evidence.equal(sum(value or 0 for value in found["c3"]), wanted[-1], what="sum of a column, as duckdb adds")


@pytest.mark.claim("product-12")
def test_columns_read_together_are_those_read_alone(evidence: Recorder) -> None:
    together_as_alone(evidence, ParquetRows)
    for name in ("ignores-the-column-order", "swaps-two-columns"):
        with evidence.saboteur(name):
            together_as_alone(evidence, READERS[name])


@pytest.mark.claim("product-12")
def test_nulls_are_those_that_a_second_engine_counts(evidence: Recorder, tmp_path: Path) -> None:
    nulls_as_a_second_engine_counts(evidence, ParquetRows, tmp_path)
    with evidence.saboteur("drops-nulls"):
        nulls_as_a_second_engine_counts(evidence, READERS["drops-nulls"], tmp_path)


# -- damage ------------------------------------------------------------------------------------------------------------
def no_page_with_another_checksum_is_given_out(evidence: Recorder, make: MakeReader, body: bytes) -> None:
    """Hold that each page has a checksum, by its header, and that no page passes whose octets have another one."""
    found = list(pages(body))
    evidence.hold(len(found), what="pages looked at", at_least=3 * len(COLUMNS), unit="pages")
    without = sum(page.checksum is None for page in found)
    evidence.hold(without, what="pages without a checksum", at_most=0, unit="pages")
    passed = 0
    for page in found:
        middle = page.at + len(page.octets) // 2
        damaged = body[:middle] + bytes([body[middle] ^ 0x10]) + body[middle + 1 :]
        assert sum(one.is_damaged for one in pages(damaged)) == 1
        try:
            read_whole(make(stored(damaged), COLUMNS, ReadMode.ROW_GROUP))
        except (DataError, UnicodeDecodeError) as error:
            passed += isinstance(error, UnicodeDecodeError)
        else:
            passed += 1
    evidence.hold(passed, what="pages given out although their checksum is another", at_most=0, unit="pages")


@pytest.mark.claim("product-6")
def test_no_page_with_another_checksum_is_given_out(evidence: Recorder) -> None:
    no_page_with_another_checksum_is_given_out(evidence, verifying, BODY)
    for name in ("checksums-not-verified", "serves-nulls-for-damage", "swallows-read-errors"):
        with evidence.saboteur(name):
            no_page_with_another_checksum_is_given_out(evidence, READERS[name], BODY)
    with evidence.saboteur("no-page-checksums"):
        no_page_with_another_checksum_is_given_out(evidence, verifying, Layout(GROUP).written(TABLE))


KINDS = ("flipped bit", "truncated", "zeroed range", "garbled footer", "empty", "not parquet")
TRIES = 40
LIMIT_S = 60.0


def tried(kind: str, deadly: int) -> int:
    """Read damaged copies in every mode; return how many.  With ``deadly`` the process dies before that one."""
    storage = MemoryStorage()
    for seed in range(TRIES):
        if seed == deadly:
            os.abort()
        storage.files[PATH] = BY_KIND[kind].apply(BODY, Random(1000 + seed))
        for mode in (ReadMode.DEFAULT, ReadMode.ROW_GROUP):
            try:
                read_whole(verifying(storage, COLUMNS, mode))
            except DataError:
                continue
    return TRIES


def damage_ends_no_process(evidence: Recorder, kinds: Sequence[str], deadly: int = -1) -> None:
    """Hold that processes which read damaged copies, one of each kind, end by themselves and in time."""
    outcomes = dict(zip(kinds, ended_forks(tried, [(kind, deadly) for kind in kinds], limit_s=LIMIT_S), strict=True))
    ended = [kind for kind, (status, _) in outcomes.items() if status]
    print(f"processes were ended by: {ended}")
    evidence.hold(len(ended), what="crashes and hangs", at_most=0, unit="files")
    done = sum(many or 0 for _, many in outcomes.values())
    evidence.hold(done, what="damaged files tried", at_least=TRIES * len(kinds), unit="files")


@pytest.mark.claim("product-6")
def test_damage_neither_crashes_nor_hangs_a_process(evidence: Recorder) -> None:
    damage_ends_no_process(evidence, KINDS)


def test_a_process_that_dies_of_damage_is_counted() -> None:
    with pytest.raises(AssertionError, match="crashes and hangs: 1 files"):
        damage_ends_no_process(Recorder(), KINDS[:1], deadly=3)


# -- what is asked of the storage, and given back ----------------------------------------------------------------------
def what_is_opened_is_closed(evidence: Recorder, make: MakeReader) -> None:
    """Hold that the storage gets back every file that it opened, also after a file that cannot be read."""
    lending = Lending(BODY)
    storage: Any = lending
    reader = make(storage, COLUMNS, ReadMode.ROW_GROUP)
    for _ in range(3):
        file = reader.open(PATH)
        file.read(0)
        file.close()
        evidence.hold(lending.open, what="files that the storage did not get back", at_most=0, unit="files")
    with pytest.raises(DataError):
        make(storage, [Column("absent", ColumnType.INT8)], ReadMode.ROW_GROUP).open(PATH)
    evidence.hold(lending.open, what="files that the storage did not get back", at_most=0, unit="files")


@pytest.mark.claim("product-16")
def test_what_is_opened_is_closed(evidence: Recorder) -> None:
    what_is_opened_is_closed(evidence, ParquetRows)
    with evidence.saboteur("leaks-open-files"):
        what_is_opened_is_closed(evidence, READERS["leaks-open-files"])


def one_group_is_asked_for_at_a_time(evidence: Recorder, make: MakeReader) -> None:
    """Hold that the first row group is there before the storage was asked for another one."""
    dice = np.random.default_rng(3)
    body = Layout(1 << 15).written(pa.table({name: dice.random(1 << 18) for name in ("a", "b")}))
    footer = pq.read_metadata(io.BytesIO(body))
    storage = stored(body)
    file = make(storage, None, ReadMode.ROW_GROUP).open(PATH)
    file.read(0)
    asked = sum(length for _, offset, length in storage.reads if offset < len(body) - footer.serialized_size - 8)
    first = sum(footer.row_group(0).column(number).total_compressed_size for number in range(footer.num_columns))
    file.close()
    groups = round(asked / first, 2)
    evidence.hold(groups, what="row groups asked for when the first is there", at_most=2, at_least=1, unit="row groups")


@pytest.mark.claim("truth-6")
def test_one_row_group_is_asked_for_at_a_time(evidence: Recorder) -> None:
    one_group_is_asked_for_at_a_time(evidence, ParquetRows)
    for name in ("pre-buffers-the-file", "joins-all-row-groups", "reads-whole-file-in-row-group-mode"):
        with evidence.saboteur(name):
            one_group_is_asked_for_at_a_time(evidence, READERS[name])


def batches_do_not_outlive_their_turn(evidence: Recorder, make: MakeLoader, folder: Path) -> None:
    """Hold the batches that exist, by the garbage collector's own list, to a few, however many there were."""
    files = wide_files(folder)
    loader = make(ParquetRows(LocalStorage(str(folder)), files.columns, ReadMode.ROW_GROUP))
    before = alive()
    steps = sum(1 for _ in loader.batches(EpochPlan(np.full(4, files.rows), 8), path_of, Tally()))
    kept = alive() - before
    loader.close()
    evidence.hold(steps, what="batches of the epoch", at_least=30, unit="batches")
    evidence.hold(kept, what="batches that outlive their epoch", at_most=1, unit="batches")


def alive() -> int:
    gc.collect()
    return sum(type(one) is Batch for one in gc.get_objects())


@pytest.mark.claim("product-16")
def test_batches_do_not_outlive_their_turn(evidence: Recorder, tmp_path: Path) -> None:
    batches_do_not_outlive_their_turn(evidence, direct, tmp_path / "right")
    with evidence.saboteur("keeps-every-batch"):
        batches_do_not_outlive_their_turn(evidence, LOADERS["keeps-every-batch"], tmp_path / "wrong")
