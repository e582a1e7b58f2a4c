"""Small wrongs that change no row of an ordinary file, and are wrong all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from property_reading import PATH, by_pyarrow, read_whole, stored
from test_summary import phase, record

from dlio_benchmark.clock import FakeClock
from dlio_benchmark.common.enumerations import ColumnType, DataLoaderType, DatasetType, FormatType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator import manifest
from dlio_benchmark.data_generator.parquet_generator import files_of
from dlio_benchmark.data_loader.base import Source
from dlio_benchmark.data_loader.base_data_loader import BaseDataLoader
from dlio_benchmark.data_loader.tasks import Desk, tasks
from dlio_benchmark.errors import DlioError, ParquetFileError
from dlio_benchmark.metrics.summary import Window, split_metrics
from dlio_benchmark.parquet.decode_footer import Footer
from dlio_benchmark.parquet.decode_plan import plan
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.reader.null import NullReader
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.utils.config import ConfigArguments
from verification.faults import body_end
from verification.probes import open_files
from verification.strategies import Layout, numbered

AS_LONG_AS_BEFORE = {"snappy": (8, 3), "zstd": (7, 4), "lz4": (28, 3), "gzip": (18, 4)}


@pytest.mark.parametrize("codec", AS_LONG_AS_BEFORE)
def test_a_page_that_compression_did_not_shorten_is_still_decompressed(codec: str) -> None:
    rows, alike = AS_LONG_AS_BEFORE[codec]
    numbers = np.random.default_rng(0).integers(0, 2**62, rows)
    numbers[rows - alike :] = 7
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False)])
    for alike_now in range(rows):
        changed = numbers.copy()
        changed[rows - alike_now :] = 7
        body = Layout(rows, codec=codec).written(pa.table({"x": changed}, schema=schema))
        assert read_whole(ParquetRows(stored(body), [Column("x", ColumnType.INT64)])) == by_pyarrow(body)


def test_the_time_of_opening_a_file_is_that_which_passed() -> None:
    clock = FakeClock()
    clock.sleep(1000)
    storage = stored(Layout(5).written(numbered(5)))
    _, tally = Source(ParquetRows(storage, None, clock=clock), clock).open(PATH)
    assert tally.io_ns == 0
    assert tally.files == 1


def test_a_desk_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "0.parquet").write_bytes(Layout(5).written(numbered(20)))
    clock = FakeClock()
    desk = Desk(Source(ParquetRows(LocalStorage(str(tmp_path)), None, clock=clock), clock))
    for task in tasks(EpochPlan(np.array([20]), 5), "{}.parquet".format, row_bytes=1.0):
        desk.work(task)
    desk.close()
    assert open_files(tmp_path) == []


def test_the_writer_has_the_seed_and_the_rows_at_a_time_of_the_configuration() -> None:
    tree = {"dataset": {"format": "parquet", "seed": 99, "parquet": {"generation_batch_size": 77}}}
    files = files_of(decode(tree).workload, DatasetType.TRAIN, 0)
    assert (files.rows_at_once, files.seed) == (77, 99)


def test_damage_to_a_column_that_is_not_read_is_no_obstacle() -> None:
    body = Layout(7, dictionary=True, statistics=True, checksums=True).written(numbered(20, columns=4))
    wanted = [Column("row", ColumnType.INT64)]
    refused = 0
    for bit in range(body_end(body) * 8, (len(body) - 8) * 8):
        damaged = body[: bit // 8] + bytes([body[bit // 8] ^ 1 << bit % 8]) + body[bit // 8 + 1 :]
        try:
            ParquetRows(stored(damaged), None).open(PATH)
        except ParquetFileError as error:
            if "histogram size mismatch" in str(error):
                refused += 1
                reads = _opens(damaged, wanted)
                if reads:
                    return
    assert not refused, "the damage of another column stood in the way, wherever it was"


def _opens(body: bytes, wanted: list[Column]) -> bool:
    try:
        return read_whole(ParquetRows(stored(body), wanted)) == {"row": list(range(20))}
    except ParquetFileError:
        return False


def test_what_is_being_generated_is_noted_before_it_is() -> None:
    storage = MemoryStorage()
    manifest.begin(storage, decode({"dataset": {"format": "parquet", "num_files_train": 3}}).workload)
    (noted,) = storage.files.values()
    assert 3 in json.loads(noted)["files"].values()


def test_reading_a_manifest_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / manifest.MANIFEST).write_text("{}")
    with pytest.raises(DlioError):
        manifest.load(LocalStorage(str(tmp_path)))
    assert open_files(tmp_path) == []


def test_the_last_row_of_a_file_of_nothing_is_a_block() -> None:
    shapes = NullReader(11, 10).open("nothing").shapes
    assert [(shape.rows, shape.stored_bytes, shape.decoded_bytes) for shape in shapes] == [(10, 0, 0), (1, 0, 0)]


def test_ranks_of_different_passes_have_no_metrics_together() -> None:
    phases = [phase([(0, 1, 2)], epoch=epoch) for epoch in (1, 2)]
    ranks = [record(*phases[: rank + 1], rank=rank) for rank in (0, 1)]
    with pytest.raises(ValueError, match="zip"):
        split_metrics(ranks, phases[0].split, Window(), record_bytes=1.0, target=0.9)


class Loader(BaseDataLoader):
    """The least that a loader of others is."""

    def read(self) -> None: ...

    def next(self) -> Iterator[None]:
        yield None

    def finalize(self) -> None: ...


def test_loaders_of_others_know_the_batches_of_their_split() -> None:
    ConfigArguments.reset()
    arguments = ConfigArguments.get_instance()
    arguments.batch_size, arguments.batch_size_eval = 5, 3
    made = [
        Loader(FormatType.PARQUET, split, 1, DataLoaderType.PYTORCH) for split in (DatasetType.TRAIN, DatasetType.VALID)
    ]
    assert [loader.batch_size for loader in made] == [5, 3]
    ConfigArguments.reset()


def test_a_column_knows_its_places_among_all_that_are_read() -> None:
    nested = pa.array([{"a": 1, "b": [2, 3]}], pa.struct([("a", pa.int8()), ("b", pa.list_(pa.int8()))]))
    body = Layout(5).written(pa.table({"x": [1], "n": nested, "y": ["text"]}))
    found = plan(Footer(body[body_end(body) :], len(body)), None, PATH)
    assert [len(column.places) for column in found.wanted] == [1, 2, 1]
    for column in found.wanted:
        assert [found.leaves[place] for place in column.places] == list(column.leaves)
