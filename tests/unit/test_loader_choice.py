"""Which loader a workload gets, and what is said when it cannot have the one that it asks for."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dlio_benchmark.clock import RealClock
from dlio_benchmark.common.enumerations import DataLoaderType, FormatType
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.model import Dataset, ReaderSection, Workload
from dlio_benchmark.data_loader.base import Preprocessing, Source
from dlio_benchmark.engine.parts import LOADER_GROUP, LoaderChoice, Wanted, loader_of
from dlio_benchmark.errors import ConfigError
from dlio_benchmark.reader.null import NullReader


def chosen(reader: ReaderSection, form: FormatType = FormatType.PARQUET) -> LoaderChoice:
    workload = Workload(dataset=Dataset(format=form), reader=reader)
    return loader_of(workload, NullReader(10, 5), clock=RealClock(), rank=0, ranks_on_host=1)


@pytest.mark.parametrize(
    ("asked", "threads", "name"),
    [
        (None, 2, "threads"),
        (None, 0, "direct"),
        (DataLoaderType.NONE, 2, "threads"),
        (DataLoaderType.THREADS, None, "threads"),
        (DataLoaderType.DIRECT, 2, "direct"),
        (DataLoaderType.SYNTHETIC, 2, "synthetic"),
    ],
)
def test_the_loader_is_the_one_that_is_asked_for(asked: DataLoaderType | None, threads: int | None, name: str) -> None:
    loader = chosen(ReaderSection(data_loader=asked, read_threads=threads)).loader
    loader.close()
    assert loader.name == name


def test_a_format_without_files_is_not_read() -> None:
    assert chosen(ReaderSection(data_loader=DataLoaderType.THREADS), FormatType.SYNTHETIC).loader.name == "synthetic"


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        (chosen(ReaderSection(data_loader=DataLoaderType.THREADS), FormatType.SYNTHETIC), "dataset.format"),
        (chosen(ReaderSection(data_loader=DataLoaderType.SYNTHETIC)), "reader.data_loader"),
    ],
)
def test_a_result_says_that_no_data_was_read_and_which_key_asked_for_that(choice: LoaderChoice, named: str) -> None:
    assert choice.note == f"no data is read: {named} is synthetic"


def test_without_pytorch_its_loader_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "dlio_benchmark.data_loader.torch", raising=False)
    with pytest.raises(ConfigError, match=r"dlio_benchmark\[pytorch\]'?, or set reader.data_loader=threads"):
        chosen(ReaderSection(data_loader=DataLoaderType.PYTORCH))


def test_a_loader_of_ones_own_is_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own-1.dist-info").mkdir()
    (tmp_path / "own-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    (tmp_path / "own-1.dist-info" / "entry_points.txt").write_text(f"[{LOADER_GROUP}]\nmine = own_loaders:made\n")
    (tmp_path / "own_loaders.py").write_text("def made(wanted):\n    return wanted\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reader = ReaderSection(data_loader=DataLoaderType.CUSTOM, data_loader_classname="mine", read_threads=3)
    got = chosen(reader).loader
    assert isinstance(got, Wanted) and got.threads == 3 and got.workload.reader == reader
    with pytest.raises(ConfigError, match=r"no entry point 'other' in the group '.*'; there are: .*mine"):
        chosen(replace(reader, data_loader_classname="other"))


def test_workers_throw_dice_of_their_own() -> None:
    law = Duration("uniform", (0.0, 1.0))
    workload = Workload(reader=ReaderSection(preprocess_time=law))
    work = Preprocessing(law, RealClock(), dice=None)  # type: ignore[arg-type]
    wanted = Wanted(workload, Source(NullReader(10, 5), RealClock(), work), 3)
    drawn = [one.preprocessing.dice.uniform(0, 1) for one in wanted.sources() if one.preprocessing]
    assert len(set(drawn)) == 3
    assert drawn == [one.preprocessing.dice.uniform(0, 1) for one in wanted.sources() if one.preprocessing]
