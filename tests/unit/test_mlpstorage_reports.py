"""Reports read every leaf, and no broken leaf stops them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlio_benchmark.mlpstorage.cli import main
from dlio_benchmark.mlpstorage.reports import write_csv
from dlio_benchmark.mlpstorage.status import Status

METRICS = {
    "train_au_mean_percentage": 97.5,
    "train_au_percentage": [97.0, 98.0],
    "train_au_meet_expectation": "success",
}
SUMMARY = {
    "num_accelerators": 1,
    "num_hosts": 1,
    "host_memory_GB": [32.0, 32.0],
    "host_cpu_count": [2, 4],
    "start": "2026-01-01T00:00:00",
    "metric": METRICS,
    "dlio": {"complete": True, "valid": True, "problems": []},
}
WORKLOAD = {
    "dataset": {"num_files_train": 3500, "num_samples_per_file": 1, "record_length_bytes": 146_600_628},
    "reader": {"batch_size": 7},
}
METADATA = {
    "benchmark_type": "training",
    "model": "unet3d",
    "command": "run",
    "accelerator": "h100",
    "exit_status": 0,
    "parameters": WORKLOAD,
    "override_parameters": {},
    "system_info": {"total_memory_bytes": 64 * 2**30},
    "args": {"what_if": False},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPSTORAGE_HOME", str(tmp_path))


def add_leaf(root: Path, stamp: str, *, summary: Any = SUMMARY, metadata: Any = METADATA, command: str = "run") -> Path:
    leaf = root / "training" / "unet3d" / command / stamp
    leaf.mkdir(parents=True)
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    (leaf / f"training_{stamp}_metadata.json").write_text(text)
    if summary is not None:
        (leaf / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))
    return leaf


def report(root: Path, *words: str) -> list[dict[str, Any]]:
    assert main(["reports", "reportgen", "--results-dir", str(root), *words]) == Status.SUCCESS
    records: list[dict[str, Any]] = json.loads((root / "results.json").read_text())
    return records


def test_a_run_by_the_rules_is_reported_as_closed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaf = add_leaf(tmp_path, "20260101_000000")
    (record,) = report(tmp_path)
    assert record == {
        "run_id": str(leaf),
        "benchmark_type": "training",
        "model": "unet3d",
        "accelerator": "h100",
        "command": "run_benchmark",
        "parameters": WORKLOAD,
        "system_info": {"total_memory_bytes": 64 * 2**30, "total_cores": 6},
        "metrics": METRICS,
        "verification": "CLOSED",
        "issues": [],
    }
    shown = capsys.readouterr().out
    assert "CLOSED" in shown
    assert "97.50" in shown


def test_the_csv_holds_the_same_flattened_with_columns_by_name(tmp_path: Path) -> None:
    add_leaf(tmp_path, "20260101_000000")
    report(tmp_path)
    with (tmp_path / "results.csv").open(newline="") as stream:
        reader = csv.DictReader(stream)
        (row,) = reader
        assert reader.fieldnames == sorted(reader.fieldnames or ())
    assert row["metrics.train_au_percentage"] == "[97.0, 98.0]"
    assert row["parameters.dataset.num_files_train"] == "3500"


class UnwritableError(Exception):
    pass


class Unwritable:
    def __str__(self) -> str:
        raise UnwritableError


def test_a_csv_that_cannot_be_written_whole_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_csv(path, [{"a": 1}, {"a": "x\r\ny"}])
    before = path.read_bytes()
    assert before == b'a\r\n1\r\n"x\r\ny"\r\n'
    with pytest.raises(UnwritableError):
        write_csv(path, [{"a": "x" * 10_000}] * 20 + [{"a": Unwritable()}])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.csv"]


def test_a_name_that_is_no_text_is_reported_all_the_same(tmp_path: Path) -> None:
    write_csv(tmp_path / "results.csv", [{"run_id": "/\udcff"}])
    assert (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines() == ["run_id", "/\\udcff"]


def test_a_report_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_leaf(tmp_path, "20260101_000000")
    (tmp_path / "results.csv").mkdir()
    assert main(["reports", "reportgen", "--results-dir", str(tmp_path)]) != Status.SUCCESS
    assert "results.csv" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*"))


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in SUMMARY.items() if name != key}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda root: add_leaf(root, "1", summary="{"), "summary.json cannot be read"),
        (lambda root: add_leaf(root, "1", summary="[]"), "summary.json holds no object"),
        (lambda root: add_leaf(root, "1", summary=without("metric")), "no metrics"),
        (lambda root: add_leaf(root, "1", summary=without("host_cpu_count")), "host_cpu_count"),
        (lambda root: add_leaf(root, "1", summary=without("num_accelerators")), "num_accelerators"),
        (lambda root: add_leaf(root, "1", metadata="{"), "metadata.json cannot be read"),
        (lambda root: add_leaf(root, "1", metadata={"command": "run"}), "no parameters"),
        (
            lambda root: add_leaf(root, "1", summary=None, metadata={**METADATA, "failure": "the engine failed"}),
            "no summary.json: the engine failed",
        ),
    ],
)
def test_a_broken_leaf_is_invalid_with_the_reason_and_the_others_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: Callable[[Path], Path], said: str
) -> None:
    add_leaf(tmp_path, "20260101_000000")
    leaf = broken(tmp_path)
    assert len(report(tmp_path)) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{leaf}: [INVALID]")]
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize(
    ("summary", "metadata", "said"),
    [
        ({**SUMMARY, "dlio": {"complete": False, "problems": ["interrupted"]}}, METADATA, "interrupted"),
        ({**SUMMARY, "dlio": {"complete": True, "valid": False, "problems": ["bytes"]}}, METADATA, "not valid: bytes"),
        ({**SUMMARY, "metric": {**METRICS, "train_au_meet_expectation": "fail"}}, METADATA, "utilization"),
        (SUMMARY, {**METADATA, "exit_status": 6, "failure": "why"}, "status 6: why"),
        (SUMMARY, {**METADATA, "override_parameters": {"train.epochs": 1}}, "train.epochs"),
        ({**SUMMARY, "dlio": {"complete": True, "valid": True, "loader": "synthetic"}}, METADATA, "no data is read"),
    ],
)
def test_a_run_against_the_rules_is_invalid_and_says_why(
    tmp_path: Path, summary: dict[str, Any], metadata: dict[str, Any], said: str
) -> None:
    add_leaf(tmp_path, "20260101_000000", summary=summary, metadata=metadata)
    (record,) = report(tmp_path)
    assert record["verification"] == "INVALID"
    assert said in record["issues"][0]


def test_five_valid_runs_make_a_submission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for second in range(5):
        add_leaf(tmp_path, f"20260101_00000{second}")
    report(tmp_path)
    assert "submission unet3d h100: [CLOSED] 5 valid runs" in capsys.readouterr().out


def test_other_commands_and_folders_are_left_alone(tmp_path: Path) -> None:
    add_leaf(tmp_path, "1", metadata={**METADATA, "command": "datagen"}, summary=None, command="datagen")
    add_leaf(tmp_path, "2", metadata={**METADATA, "command": "datasize"}, summary=None, command="datasize")
    add_leaf(tmp_path, "3", metadata={**METADATA, "args": {"what_if": True}}, summary=None)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "summary.json").write_text("{")
    assert report(tmp_path) == []
    assert (tmp_path / "results.csv").read_text() == ""


def test_numbers_that_json_has_no_word_for_become_null(tmp_path: Path) -> None:
    text = json.dumps({**SUMMARY, "metric": {**METRICS, "save_checkpoint_io_mean_GB_per_second": float("nan")}})
    add_leaf(tmp_path, "1", summary=text)
    (record,) = report(tmp_path)
    assert record["metrics"]["save_checkpoint_io_mean_GB_per_second"] is None
    assert "nan" not in (tmp_path / "results.csv").read_text()


def test_the_older_metadata_is_read_too(tmp_path: Path) -> None:
    metadata = {
        "args": {"command": "run", "model": "unet3d", "accelerator_type": "a100"},
        "combined_params": WORKLOAD,
        "params_dict": {},
        "benchmark_type": "training",
    }
    add_leaf(tmp_path, "1", metadata=metadata)
    (record,) = report(tmp_path)
    assert (record["accelerator"], record["verification"]) == ("a100", "CLOSED")
    assert record["system_info"]["total_memory_bytes"] == 64 * 2**30


def test_the_reports_go_where_they_are_told(tmp_path: Path) -> None:
    add_leaf(tmp_path / "tree", "1")
    words = ["--results-dir", str(tmp_path / "tree"), "--output-dir", str(tmp_path / "out")]
    assert main(["reports", "reportgen", *words]) == Status.SUCCESS
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["results.csv", "results.json"]
    assert not (tmp_path / "tree" / "results.json").exists()


def test_a_missing_tree_ends_with_three(tmp_path: Path) -> None:
    assert main(["reports", "reportgen", "--results-dir", str(tmp_path / "absent")]) == Status.NOT_FOUND
