"""Folders may be named from wherever the command is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mlpstorage_bench import Bench, bench_in

from dlio_benchmark.config.decode import decode
from dlio_benchmark.mlpstorage.folders import absolute
from dlio_benchmark.mlpstorage.status import Status


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return bench_in(tmp_path, monkeypatch)


@pytest.mark.parametrize("up", ["..", "../here/..", "./../here/../"])
def test_the_engine_can_use_folders_that_go_up(bench: Bench, monkeypatch: pytest.MonkeyPatch, up: str) -> None:
    (bench.root / "here").mkdir()
    monkeypatch.chdir(bench.root / "here")
    places = ("--data-dir", f"{up}/data", "--results-dir", f"{up}/results", "--dlio-bin-path", up)
    assert bench.datagen(*places) == bench.run(*places, "--checkpoint-folder", f"{up}/saved") == Status.SUCCESS
    for command in ("datagen", "run"):
        (leaf,) = bench.leaves(command)
        assert not [word for word in bench.engine_words(command) if ".." in word]
        assert f"++hydra.run.dir={leaf}" in bench.engine_words(command)
        workload = bench.workload(command)
        assert workload["dataset"]["data_folder"] == str(bench.generated)
        assert decode(workload).workload.dataset.data_folder == str(bench.generated)
        metadata = bench.metadata(command)
        assert metadata["parameters"]["dataset"]["data_folder"] == str(bench.generated)
        assert metadata["result_dir"] == str(leaf)


def test_a_configuration_is_shown_with_the_folder_that_a_run_would_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (bench.root / "here").mkdir()
    monkeypatch.chdir(bench.root / "here")
    assert bench.configview("--data-dir", "../data") == Status.SUCCESS
    assert f"data_folder: {bench.generated}" in capfd.readouterr().out


def test_the_folder_above_a_link_is_the_one_above_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "near").symlink_to("far/away")
    assert absolute(tmp_path / "near" / ".." / "data") == tmp_path / "far" / "data"
    assert os.path.samefile(absolute(tmp_path / "near" / ".."), tmp_path / "near" / "..")


def test_a_link_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to("far")
    monkeypatch.chdir(tmp_path)
    assert absolute("near/data") == absolute("far/../near/data") == tmp_path / "near" / "data"
