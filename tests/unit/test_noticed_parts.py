"""Small wrongs of parts that are handed things: what is not handed on, not closed, not called, or called too often."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import pages
from property_reading import PATH, read_whole, stored

from dlio_benchmark import session
from dlio_benchmark.batch import Batch, Block
from dlio_benchmark.clock import FakeClock
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.data_generator import manifest
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles, files_of
from dlio_benchmark.data_loader.base import Paths
from dlio_benchmark.engine.train import Compute, Pass, run_pass
from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.parquet_reader import ParquetReader, ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.utils.config import ConfigArguments, LoadConfig
from verification.contracts.job import run_job, tree_of
from verification.strategies import Layout, numbered


# -- training ----------------------------------------------------------------------------------------------------------
class Noting(Solo):
    """A rank alone that notes when it meets the others, which takes it a while."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock, self.met = clock, list[int]()

    def barrier(self, what: str = "barrier") -> None:
        """Take 7 ns."""
        self.met.append(self.clock.now_ns())
        self.clock.advance(7)


class TwoSteps:
    """A loader whose batches take 100 and 200 ns."""

    name = "two steps"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        for step in range(len(plan)):
            self.clock.advance(100 * (step + 1))
            yield Batch(((Block(plan.batch), 0, plan.batch),))

    def close(self) -> None:
        """Do nothing."""


def test_ranks_meet_before_the_first_step_and_after_each_and_each_time_has_its_place() -> None:
    clock, seen = FakeClock(), list[int]()
    comm = Noting(clock)
    compute = Compute(Duration("constant", (1e-6,)), clock, np.random.default_rng(0))
    plan = EpochPlan(np.array([8]), 4)
    phase = run_pass(
        Pass(1, DatasetType.TRAIN, plan, str), TwoSteps(clock), compute, clock=clock, comm=comm, progress=seen.append
    )
    times = phase.step_times
    begin = phase.start_ns
    assert [list(times.load_ns), list(times.compute_ns), list(times.barrier_ns)] == [[100, 200], [1000] * 2, [7, 7]]
    assert [at - begin for at in comm.met] == [-7, 1100, 1100 + 7 + 1200]
    assert phase.end_ns - begin == 1100 + 7 + 1200 + 7
    assert seen == [0, 1]
    for stamp in (phase.started, phase.ended):
        assert datetime.datetime.fromisoformat(stamp).tzinfo is not None
        assert len(stamp.partition(".")[2].partition("+")[0]) == 6


# -- writing -----------------------------------------------------------------------------------------------------------
def test_the_writer_has_all_of_the_configuration() -> None:
    parquet = {"generation_batch_size": 77, "row_group_size": 9, "compressibility": 0.25}
    tree = {"dataset": {"format": "parquet", "compression": "zstd", "compression_level": 7, "parquet": parquet}}
    files = files_of(decode(tree).workload, DatasetType.TRAIN, 0, threads=3)
    assert (files.codec, files.level, files.row_group_size) == (Compression.ZSTD, 7, 9)
    assert (files.compressibility, files.rows_at_once, files.threads) == (0.25, 77, 3)
    assert files_of(decode(tree).workload, DatasetType.TRAIN, 0).threads == 0


def test_row_groups_are_as_large_by_default_as_those_of_the_configuration_and_made_without_threads() -> None:
    files = ParquetFiles(())
    assert (files.row_group_size, files.threads) == (Workload().dataset.parquet.row_group_size, 0)


def test_files_say_which_content_they_have() -> None:
    workload = decode({"dataset": {"format": "parquet", "num_samples_per_file": 3}}).workload
    storage = MemoryStorage()
    files_of(workload, DatasetType.TRAIN, 0).write(PlannedFile(DatasetType.TRAIN, 0, "f", 3), storage)
    assert b"dlio.content" in storage.files["f"]


def test_the_table_of_the_manifest_is_packed_and_has_checksums(tmp_path: Path) -> None:
    ran = run_job(tree_of(tmp_path), tmp_path)
    found = list(pages((ran.data / manifest.TABLE).read_bytes()))
    assert {page.codec for page in found} == {"ZSTD"}
    assert all(page.checksum is not None and not page.is_damaged for page in found)


def test_the_manifest_is_strict_json_that_people_can_read(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, file_prefix="dåta")
    text = (run_job(tree, tmp_path).data / manifest.MANIFEST).read_text(encoding="utf-8")
    assert "dåta" in text
    assert "\n  " in text
    assert json.loads(text)["version"] == 1


# -- reading -----------------------------------------------------------------------------------------------------------
BODY = Layout(7, checksums=True).written(numbered(20))


def test_a_file_of_any_size_is_opened_with_one_request_of_64_kib() -> None:
    large = Layout(1 << 14).written(pa.table({"a": np.random.default_rng(0).random(1 << 15)}))
    for body in (BODY, large):
        storage = stored(body)
        file = ParquetRows(storage, None).open(PATH)
        wanted = min(len(body), 1 << 16)
        assert [length for _, _, length in storage.reads] == [wanted]
        assert file.footer_bytes == wanted
        file.close()


def test_blocks_are_as_large_as_they_may_be_and_no_larger() -> None:
    table = pa.table({"a": pa.array(range(40), pa.int64())}, schema=pa.schema([pa.field("a", pa.int64(), False)]))
    body = Layout(10).written(table)
    for most, blocks in ((80, 4), (160, 2), (159, 4), (161, 2), (240, 2), (320, 1)):
        shapes = ParquetRows(stored(body), None, block_bytes=most).open(PATH).shapes
        assert (most, len(shapes)) == (most, blocks)


def test_a_block_is_a_mebibyte_unless_it_is_asked_to_be_more_or_less() -> None:
    rows = 1 << 16
    schema = pa.schema([pa.field("a", pa.int64(), False)])
    body = Layout(rows).written(pa.table({"a": np.zeros(4 * rows, np.int64)}, schema=schema))
    assert [shape.rows for shape in ParquetRows(stored(body), None).open(PATH).shapes] == [2 * rows] * 2


def test_checksums_are_not_looked_at_unless_that_is_asked_for() -> None:
    (page, *_) = pages(BODY)
    last = page.at + len(page.octets) - 1
    damaged = BODY[:last] + bytes([BODY[last] ^ 1]) + BODY[last + 1 :]
    assert len(read_whole(ParquetRows(stored(damaged), None))["row"]) == 20
    with pytest.raises(ParquetFileError, match="checksum"):
        read_whole(ParquetRows(stored(damaged), None, verify_checksums=True))


def test_a_file_of_ours_that_allows_nulls_is_damaged_even_after_one_that_does_not() -> None:
    storage = MemoryStorage()
    columns = (Column("x", ColumnType.INT64), Column("y", ColumnType.INT64))
    ParquetFiles(columns).write(PlannedFile(DatasetType.TRAIN, 0, "sound", 3), storage)
    sound = storage.files["sound"]
    required, optional = (b"\x25" + repetition + b"\x18\x01x" for repetition in (b"\x00", b"\x02"))
    assert sound.count(required) == 1
    storage.files["damaged"] = sound.replace(required, optional)
    found = pq.ParquetFile(io.BytesIO(storage.files["damaged"])).schema
    assert [found.column(place).max_definition_level for place in range(2)] == [1, 0]
    for before in ([], ["sound"]):
        reader = ParquetRows(storage, columns)
        for path in before:
            reader.open(path).close()
        with pytest.raises(ParquetFileError, match="allows nulls in 'x', where its writer puts none"):
            reader.open("damaged")


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ConfigArguments]:
    """Return this process's arguments, at their defaults before and after."""
    monkeypatch.chdir(tmp_path)
    session.begin(Workload(), Solo())
    yield ConfigArguments.get_instance()
    session.begin(Workload(), Solo())


def test_the_reader_for_callers_of_dlio_verifies_checksums_if_it_is_asked_to(
    arguments: ConfigArguments, tmp_path: Path
) -> None:
    tree = tree_of(tmp_path, parquet={"verify_checksums": True, "columns": [{"name": "a", "dtype": "int64"}]})
    (path, *_) = run_job(tree, tmp_path).files
    body = path.read_bytes()
    (page, *_) = pages(body)
    path.write_bytes(body[: page.at] + bytes([body[page.at] ^ 1]) + body[page.at + 1 :])
    LoadConfig(arguments, tree)
    reader = ParquetReader(DatasetType.TRAIN, 0)
    with pytest.raises(ParquetFileError, match="checksum"):
        reader.get_sample(str(path), 0)
    reader.finalize()


def test_the_reader_for_callers_of_dlio_gives_the_value_of_the_partition(
    arguments: ConfigArguments, tmp_path: Path
) -> None:
    tree = tree_of(tmp_path, parquet={"partition_by": "flag"})
    paths = run_job(tree, tmp_path).files
    LoadConfig(arguments, tree)
    reader = ParquetReader(DatasetType.TRAIN, 0)
    found = {path.parent.name: bool(reader.get_sample(str(path), 0)["flag"]) for path in paths}
    reader.finalize()
    assert found == {"flag=false": False, "flag=true": True}


def test_reading_again_after_closing_is_reading_again(arguments: ConfigArguments, tmp_path: Path) -> None:
    (path, *_) = run_job(tree_of(tmp_path), tmp_path).files
    LoadConfig(arguments, tree_of(tmp_path))
    reader = ParquetReader(DatasetType.TRAIN, 0)
    assert reader.epoch == 1
    before = reader.get_sample(str(path), 39)["b"]
    first, _ = reader.open(str(path))
    reader.close(str(path))
    second, _ = reader.open(str(path))
    assert first is not second
    assert reader.get_sample(str(path), 39)["b"] == before
    reader.finalize()
    assert (reader._pf_cache, reader._blocks, reader._rg_cache) == ({}, {}, {})


def test_a_reader_forgets_a_file_that_it_closes(arguments: ConfigArguments, tmp_path: Path) -> None:
    first, second, *_ = map(str, run_job(tree_of(tmp_path), tmp_path).files)
    LoadConfig(arguments, tree_of(tmp_path))
    reader = ParquetReader(DatasetType.TRAIN, 0)
    reader.global_index_map = {0: (first, 0), 1: (second, 0)}
    for number in range(2):
        reader.read_index(number, 1)
    reader.close(first)
    assert set(reader.open_file_map) == set(reader._pf_cache) == set(reader._blocks) == {second}
    reader.finalize()
    assert not reader.open_file_map


def test_a_reader_keeps_its_block_until_another_is_asked_for(arguments: ConfigArguments, tmp_path: Path) -> None:
    (path, *_) = run_job(tree_of(tmp_path), tmp_path).files
    LoadConfig(arguments, tree_of(tmp_path))
    reader = ParquetReader(DatasetType.TRAIN, 0)
    reader.get_sample(str(path), 0)
    _, first = reader._blocks[str(path)]
    reader.get_sample(str(path), 9)
    assert reader._blocks[str(path)] == (0, first)
    reader.get_sample(str(path), 10)
    assert reader._blocks[str(path)][0] == 1
    reader.finalize()


def test_a_long_footer_is_asked_for_once(tmp_path: Path) -> None:
    body = Layout(1).written(pa.table({f"column {number}": [1, 2] for number in range(600)}))
    footer = int.from_bytes(body[-8:-4], "little") + 8
    assert footer > 1 << 16
    storage = stored(body)
    assert ParquetRows(storage, None).open(PATH).footer_bytes == footer
    assert [(offset, length) for _, offset, length in storage.reads] == [
        (len(body) - (1 << 16), 1 << 16),
        (len(body) - footer, footer - (1 << 16)),
    ]


def test_all_columns_of_a_file_in_a_partition_are_those_of_the_file() -> None:
    assert read_whole(ParquetRows(stored(BODY), None, partitions=("flag",)))["row"] == [*range(20)]
