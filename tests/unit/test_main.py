"""The commands and the class for callers in Python: what they take, what they print, and how they refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from dlio_benchmark import main as main_module
from dlio_benchmark import session
from dlio_benchmark.comm import Solo
from dlio_benchmark.command import parse
from dlio_benchmark.config.model import Workload
from dlio_benchmark.errors import CannotCreateError, ConfigError, DlioError, Exit, UsageError
from dlio_benchmark.main import DLIOBenchmark, output_folder, query, run


@pytest.fixture(autouse=True)
def one_rank() -> Iterator[None]:
    session.begin(Workload(), Solo())
    yield
    session.begin(Workload(), Solo())


def tree(folder: Path) -> dict[str, Any]:
    return {
        "framework": "pytorch",
        "model": {"name": "tiny"},
        "workflow": {"generate_data": True, "train": True},
        "dataset": {
            "format": "parquet",
            "data_folder": str(folder / "data"),
            "num_files_train": 4,
            "num_samples_per_file": 8,
            "parquet": {"columns": [{"name": "a", "dtype": "float32", "size": 4}]},
        },
        "reader": {"batch_size": 4},
        "output": {"folder": str(folder / "${model.name}")},
    }


@pytest.mark.parametrize("container", [dict, OmegaConf.create])
def test_a_workload_is_a_mapping_or_a_container_of_omegaconf(tmp_path: Path, container: Any) -> None:
    plain = tree(tmp_path)
    plain["output"]["folder"] = plain["output"]["folder"] if container is not dict else str(tmp_path / "tiny")
    benchmark = DLIOBenchmark(container(plain))
    benchmark.initialize()
    benchmark.run()
    benchmark.finalize()
    assert benchmark.output_folder == str(tmp_path / "tiny")
    assert (benchmark.comm_size, benchmark.my_rank, benchmark.args.num_files_train) == (1, 0, 4)
    summary = json.loads((tmp_path / "tiny" / "summary.json").read_text(encoding="utf-8"))
    assert summary["dlio"]["valid"]


@pytest.mark.parametrize(
    "workload",
    [None, 3, [1], OmegaConf.create([1]), OmegaConf.create({"dataset": "???"}), OmegaConf.create({"train": "${no}"})],
)
def test_anything_else_is_no_workload(workload: Any) -> None:
    with pytest.raises(ConfigError, match=r"- workload: "):
        DLIOBenchmark(workload)


def test_a_run_from_python_leaves_no_result_of_an_earlier_one(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "summary.json").touch()
    broken = {**tree(tmp_path), "reader": {"batch_size": 1000}, "output": {"folder": str(folder)}}
    benchmark = DLIOBenchmark(broken)
    benchmark.initialize()
    with pytest.raises(DlioError, match="no step can be executed"):
        benchmark.run()
    benchmark.finalize()
    assert [path.name for path in folder.iterdir()] == ["dlio.log"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    benchmark = DLIOBenchmark({**tree(tmp_path), "output": {"folder": str(tmp_path / "file" / "out")}})
    with pytest.raises(CannotCreateError, match="file/out: cannot create the output folder"):
        benchmark.initialize()


def test_results_go_where_the_nearest_word_says() -> None:
    named = {"output": {"folder": "/named"}}
    assert output_folder(named, {"DLIO_OUTPUT_FOLDER": "/environ"}, "/run") == "/named"
    assert output_folder({}, {"DLIO_OUTPUT_FOLDER": "/environ"}, "/run") == "/environ"
    assert output_folder({"output": None}, {}, "/run") == "/run"


@pytest.mark.parametrize("words", [["--cfg", "hydra"], ["--cfg=all"], ["--nosuch"], ["--config-dir"]])
def test_an_option_that_is_not_understood_ends_the_command(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(words, {}) == Exit.USAGE
    assert words[0].partition("=")[0] in capsys.readouterr().err
    assert query(words) == Exit.USAGE


def test_a_query_prints_the_value_of_its_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "workload").mkdir()
    (tmp_path / "workload" / "mine.yaml").write_text("model: {name: m}\ndataset: {num_files_train: 77}\n")
    asked = ["workload=mine", "++workload.workflow.query=dataset.num_files_train", f"--config-dir={tmp_path}"]
    assert query(asked) == Exit.OK
    assert capsys.readouterr().out == "77\n"
    assert query(["--help"]) == Exit.OK
    assert "usage: dlio_benchmark_query" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--deadline", "2.5"], ["--deadline=2.5"]])
def test_the_deadline_is_given_in_seconds(words: list[str]) -> None:
    assert parse([*words, "workload=default"]).deadline_s == 2.5


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon", "1e9", ""])
def test_a_deadline_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--deadline takes seconds from 0 to"):
        parse(["--deadline", text])


@pytest.mark.parametrize("name", ["set_dftracer_initialize", "set_dftracer_finalize"])
def test_calls_for_a_tracer_that_is_not_there_do_nothing(name: str) -> None:
    assert getattr(main_module, name)(True) is None
