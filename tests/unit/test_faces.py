"""The factories, the Parquet reader and generator, and the base classes for plugins, under DLIO's names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dlio_benchmark import session
from dlio_benchmark.checkpointing.base_checkpointing import BaseCheckpointing
from dlio_benchmark.common.enumerations import Compression, DataLoaderType, DatasetType, FormatType
from dlio_benchmark.data_generator.generator_factory import GENERATORS, GeneratorFactory
from dlio_benchmark.data_generator.parquet_generator import ParquetGenerator
from dlio_benchmark.data_loader.base_data_loader import BaseDataLoader
from dlio_benchmark.errors import ConfigError, DataError, SchemaMismatchError
from dlio_benchmark.reader.parquet_reader import ParquetReader
from dlio_benchmark.reader.reader_factory import READERS, ReaderFactory
from dlio_benchmark.reader.reader_handler import FormatReader
from dlio_benchmark.utils.config import ConfigArguments
from dlio_benchmark.utils.registry import Registry

COLUMNS = [
    {"name": "label", "dtype": "int32", "size": 1},
    {"name": "embedding", "dtype": "float32", "size": 16},
    {"name": "text", "dtype": "string", "size": 8},
]


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_session", session.Session())


def configured(folder: Path, **changes: Any) -> ConfigArguments:
    """Return this process's arguments for two files of eight rows in ``folder``."""
    args = ConfigArguments.get_instance()
    args.format = FormatType.PARQUET
    args.storage_root, args.data_folder = str(folder), f"{folder / 'data'}/"
    args.num_files_train, args.num_samples_per_file = 2, 8
    args.parquet_columns, args.parquet_row_group_size = COLUMNS, 3
    for name, value in changes.items():
        setattr(args, name, value)
    return args


def generated(folder: Path, **changes: Any) -> list[str]:
    """Return the paths of the files that the generator writes."""
    configured(folder, **changes)
    GeneratorFactory.get_generator(FormatType.PARQUET).generate()
    return sorted(map(str, (folder / "data" / "train").glob("*.parquet")))


def reader(**how: Any) -> ParquetReader:
    """Return a reader of the current configuration."""
    made = ReaderFactory.get_reader(FormatType.PARQUET, DatasetType.TRAIN, 0, 1, **how)
    assert isinstance(made, ParquetReader)
    return made


def rows_by_pyarrow(path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    return rows


def same(got: dict[str, Any], expected: dict[str, Any]) -> bool:
    plain = {
        name: value.as_py() if hasattr(value, "as_py") else np.asarray(value).tolist() for name, value in got.items()
    }
    return plain == expected


def test_the_generator_writes_the_configured_files_and_their_manifest(tmp_path: Path) -> None:
    files = generated(tmp_path, compression=Compression.ZSTD)
    assert [os.path.basename(path) for path in files] == ["img_0_of_2.parquet", "img_1_of_2.parquet"]
    for path in files:
        metadata = pq.read_metadata(path)
        assert (metadata.num_rows, metadata.num_row_groups) == (8, 3)
        assert {metadata.row_group(n).column(c).compression for n in range(3) for c in range(3)} == {"ZSTD"}
    assert rows_by_pyarrow(files[0]) != rows_by_pyarrow(files[1])
    assert [path for path in (tmp_path / "data").iterdir() if path.is_file()]


def test_without_columns_the_generator_writes_the_single_column(tmp_path: Path) -> None:
    for path in generated(tmp_path, parquet_columns=[], record_dims=[16, 4]):
        table = pq.ParquetFile(path).read()
        assert table.column_names == ["data"]
        assert len(table["data"][0].as_py()) == 64
        assert table["data"][0] != table["data"][1]


def test_an_invalid_configuration_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    configured(tmp_path, parquet_columns=[{"name": "a", "dtype": "nosuch"}])
    with pytest.raises(ConfigError, match=r"columns\[0\]\.dtype"):
        ParquetGenerator().generate()
    assert list(tmp_path.iterdir()) == []


def test_every_sample_of_the_reader_is_the_row_that_pyarrow_sees(tmp_path: Path) -> None:
    for path in generated(tmp_path):
        expected = rows_by_pyarrow(path)
        made = reader()
        assert all(same(made.get_sample(path, index), expected[index]) for index in range(8))
        assert same(made.get_sample(path, 0), expected[0])
        made.finalize()


def test_an_open_file_gives_the_first_rows_of_its_groups_and_is_opened_once(tmp_path: Path) -> None:
    path = generated(tmp_path)[0]
    made = reader()
    file, offsets = made.open(path)
    assert offsets == [0, 3, 6, 8]
    assert made.open(path)[0] is file
    assert made.open(path)[1] is offsets
    made.finalize()
    assert made.open(path)[0] is not file
    made.finalize()


def test_a_row_group_is_read_once_while_its_samples_are_asked_for(tmp_path: Path) -> None:
    path = generated(tmp_path)[0]
    made = reader()
    made.get_sample(path, 0)
    once = dict(made._rg_cache)
    made.get_sample(path, 2)
    assert made._rg_cache == once
    group = pq.read_metadata(path).row_group(0)
    assert list(once.values()) == [sum(group.column(n).total_compressed_size for n in range(3))]
    made.finalize()
    assert (made._rg_cache, made._pf_cache) == ({}, {})


def test_only_the_columns_that_are_named_are_read(tmp_path: Path) -> None:
    path = generated(tmp_path)[0]
    ConfigArguments.get_instance().storage_options = {"columns": ["label"]}
    made = reader()
    assert list(made.get_sample(path, 0)) == ["label"]
    assert next(iter(made._rg_cache.values())) == pq.read_metadata(path).row_group(0).column(0).total_compressed_size
    made.finalize()


def test_a_missing_column_and_a_missing_row_are_refused(tmp_path: Path) -> None:
    path = generated(tmp_path)[0]
    made = reader()
    for index in (-1, 8):
        with pytest.raises(DataError, match=f"there is no row {index}; the file has 8 rows"):
            made.get_sample(path, index)
    made.finalize()
    ConfigArguments.get_instance().parquet_columns = [{"name": "other", "dtype": "int32"}]
    with pytest.raises(SchemaMismatchError, match="other"):
        reader().open(path)


def a_reader(name: Any) -> FormatReader:
    return ReaderFactory.get_reader(name, DatasetType.TRAIN, 0, 1)


@pytest.mark.parametrize("make", [GeneratorFactory.get_generator, a_reader])
@pytest.mark.parametrize("name", [FormatType.NPY, "not_a_real_format"])
def test_a_format_that_is_not_there_is_refused_with_those_that_are(make: Any, name: Any) -> None:
    with pytest.raises(ConfigError, match=f"there is no {str(name)!r} here; use one of parquet") as caught:
        make(name)
    assert caught.value.issues[0].where == "dataset.format"


class Counting(FormatReader):
    """A reader that notes what it is asked for; sample n of a file is its name with n."""

    def __init__(self, dataset_type: DatasetType, thread_index: int, epoch: int = 1) -> None:
        super().__init__(dataset_type, thread_index)
        self.epoch = epoch
        self.seen: list[str] = []

    def open(self, filename: str) -> str:
        self.seen.append(f"open {filename}")
        return filename

    def get_sample(self, filename: str, sample_index: int) -> str:
        return f"{self.open_file_map[filename]}{sample_index}"

    def close(self, filename: str) -> None:
        self.seen.append(f"close {filename}")
        super().close(filename)


class NoReader:
    """A class that is no reader."""


def offered(group: str) -> Iterable[EntryPoint]:
    here = f"{__name__}"
    return [
        EntryPoint("mine", f"{here}:Counting", group),
        EntryPoint("no_reader", f"{here}:NoReader", group),
        EntryPoint("gone", "no.such.module:Reader", group),
        EntryPoint("missing", f"{here}:Missing", group),
        EntryPoint("parquet", f"{here}:NoReader", group),
    ]


REGISTRY = Registry("dataset.format", READERS.group, READERS.ours, READERS.base, offered)


def test_installed_packages_add_readers_but_replace_none_of_ours() -> None:
    assert REGISTRY.names() == ["gone", "mine", "missing", "no_reader", "parquet"]
    assert REGISTRY.load("mine") is Counting
    assert REGISTRY.load(FormatType.PARQUET) is ParquetReader


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone", "no.such.module:Reader cannot be imported"),
        ("missing", "Missing cannot be imported"),
        ("no_reader", "must be a class derived from FormatReader"),
        ("other", "there is no 'other' here; use one of gone, mine, missing, no_reader, parquet"),
    ],
)
def test_a_reader_that_cannot_be_used_says_why(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        REGISTRY.load(name)


@pytest.mark.parametrize("registry", [READERS, GENERATORS])
def test_every_class_of_our_tables_can_be_imported(registry: Registry) -> None:
    assert all(registry.load(name) for name in registry.ours)


def test_the_base_reader_walks_its_files_in_whole_batches() -> None:
    ConfigArguments.get_instance().batch_size = 2
    made = Counting(DatasetType.TRAIN, 1)
    made.file_map = {1: [(0, "a", 0), (1, "a", 1), (2, "b", 0), (3, "b", 2), (4, "b", 3)]}
    assert list(made.next()) == [["a0", "a1"], ["b0", "b2"]]
    assert made.seen == ["open a", "close a", "open b", "close b"]
    assert (made.is_index_based(), made.is_iterator_based()) == (True, True)


def test_the_base_reader_finds_a_sample_by_its_number_and_closes_all_at_the_end() -> None:
    made = Counting(DatasetType.VALID, -1)
    made.global_index_map = {7: ("b", 3), 8: ("b", 4)}
    assert (made.read_index(7, 0), made.read_index(8, 0)) == ("b3", "b4")
    made.finalize()
    made.finalize()
    assert made.seen == ["open b", "close b"]


class Loader(BaseDataLoader):
    """A loader of one batch."""

    def read(self) -> None:
        """Prepare nothing."""

    def next(self) -> Iterator[int]:
        yield self.batch_size

    def finalize(self) -> None:
        """Release nothing."""


def test_the_base_loader_knows_the_sizes_of_its_split() -> None:
    args = ConfigArguments.get_instance()
    args.batch_size, args.batch_size_eval, args.total_samples_eval = 3, 5, 50
    loader = Loader(FormatType.PARQUET, DatasetType.VALID, 1, DataLoaderType.CUSTOM)
    assert (loader.num_samples, list(loader.next())) == (50, [5])
    assert Loader(FormatType.PARQUET, DatasetType.TRAIN, 1, DataLoaderType.CUSTOM).batch_size == 3


@pytest.mark.parametrize("base", [BaseDataLoader, BaseCheckpointing, FormatReader])
def test_a_base_class_cannot_be_made_itself(base: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        base()


class Checkpoints(BaseCheckpointing):
    """A checkpoint writer that writes nothing."""

    def __init__(self) -> None:
        super().__init__("pt")

    def set_madvise_mergeable(self, tensor: Any) -> bool:
        return False

    def get_tensor_core(self, length: int, datatype: str = "int8", randomize: bool = True) -> Any:
        return None

    def save_state(self, suffix: str, state: Mapping[str, Any], fsync: bool = False) -> None:
        """Write nothing."""

    def load_state(self, suffix: str, state: Mapping[str, Any]) -> None:
        """Read nothing."""

    def save_checkpoint(self, epoch: int, step_number: int) -> None:
        """Write nothing."""

    def load_checkpoint(self, epoch: int, step_number: int) -> None:
        """Read nothing."""

    def finalize(self) -> None:
        """Release nothing."""


def test_there_is_one_checkpoint_writer_of_a_class() -> None:
    one = Checkpoints.get_instance()
    assert one is Checkpoints.get_instance()
    assert (one.ext, one.checkpoint_size) == ("pt", 0.0)
