"""A run that ends before its time leaves a record of it, and no result of an earlier run beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dlio_benchmark.config.redact import Redactor
from dlio_benchmark.errors import CannotCreateError, Exit
from dlio_benchmark.guard import Failure
from dlio_benchmark.report.failure import FAILURE, SUMMARY, Recorder, forget_earlier

ROOT = Path(__file__).parents[2]
SMALL = ("++workload.dataset.num_files_train=2", "++workload.dataset.num_files_eval=1")


def failure(code: int = 74, error: str = "StorageError", message: str = "m") -> Failure:
    return Failure(1, 2, "host", 3, "epoch 1 train", code, error, message, "trace")


def recorded(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / FAILURE).read_text(encoding="utf-8"))
    return loaded


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "dlio_benchmark.main", "workload=default", "hydra.run.dir=out", *SMALL, *overrides]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "DLIO_LAUNCH_ID": "this launch"}
    return subprocess.Popen(argv, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_a_failure_says_who_where_and_why(tmp_path: Path) -> None:
    Recorder("a launch", Redactor(), str(tmp_path))(failure())
    found = recorded(tmp_path)
    assert found["complete"] is False
    assert found["state"] == "failed"
    assert {name: found[name] for name in ("rank", "size", "host", "stage", "code", "error", "launch")} == {
        "rank": 1,
        "size": 2,
        "host": "host",
        "stage": "epoch 1 train",
        "code": 74,
        "error": "StorageError",
        "launch": "a launch",
    }


@pytest.mark.parametrize("code", [Exit.INTERRUPTED, Exit.TERMINATED])
def test_signals_interrupt(tmp_path: Path, code: Exit) -> None:
    Recorder("", Redactor(), str(tmp_path))(failure(int(code)))
    assert recorded(tmp_path)["state"] == "interrupted"


def test_a_rank_that_follows_another_leaves_the_word_to_it(tmp_path: Path) -> None:
    Recorder("", Redactor(), str(tmp_path))(failure(error="PeerFailedError"))
    Recorder("", Redactor(), None)(failure())
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_not_recorded(tmp_path: Path) -> None:
    recorder = Recorder.of("", {"SOME_TOKEN": "abcdefghijk"}, [])
    recorder.folder = str(tmp_path)
    recorder(failure(message="cannot open abcdefghijk"))
    assert "abcdefghijk" not in (tmp_path / FAILURE).read_text(encoding="utf-8")


def test_a_result_without_its_proof_keeps_its_place_beside_the_record(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text("{}", encoding="utf-8")
    Recorder("", Redactor(), str(tmp_path))(failure())
    assert {path.name for path in tmp_path.iterdir()} == {SUMMARY, FAILURE}


def test_a_record_that_cannot_be_written_does_not_hide_the_failure(tmp_path: Path) -> None:
    Recorder("", Redactor(), str(tmp_path / "nowhere"))(failure())


def test_results_of_an_earlier_run_are_forgotten(tmp_path: Path) -> None:
    ours = (SUMMARY, FAILURE, "0_output.json", "12_output.json", "3_per_epoch_stats.json", "0_output.json.77.partial")
    others = ("kept.json", "x_output.json", "10_output.json.txt")
    for name in (*ours, *others):
        (tmp_path / name).touch()
    forget_earlier(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == set(others)
    (tmp_path / SUMMARY).mkdir()
    with pytest.raises(CannotCreateError, match=SUMMARY):
        forget_earlier(str(tmp_path))


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_marked_and_has_no_summary(tmp_path: Path, signum: int, code: int) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / SUMMARY).touch()
    with start(tmp_path, "++workload.train.computation_time=30") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Starting block 1" in line:
                break
        process.send_signal(signum)
        assert process.wait(timeout=60) == code
    found = recorded(tmp_path / "out")
    assert (found["state"], found["code"], found["launch"]) == ("interrupted", code, "this launch")
    assert found["stage"].startswith("epoch 1 train")
    assert not (tmp_path / "out" / SUMMARY).exists()


def test_a_run_that_fails_leaves_a_record_and_one_that_ends_well_none(tmp_path: Path) -> None:
    fast = "++workload.train.computation_time=0"
    with start(tmp_path, fast, "++workload.train.total_training_steps=100000") as process:
        assert process.wait(timeout=60) == Exit.CONFIG
    assert recorded(tmp_path / "out")["state"] == "failed"
    with start(tmp_path, fast, "++workload.evaluation.eval_time=0") as process:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
    assert "Generation done: 3 files" in said
    summary = json.loads((tmp_path / "out" / SUMMARY).read_text(encoding="utf-8"))["dlio"]
    assert (summary["complete"], summary["valid"], summary["launch"]) == (True, True, "this launch")
    assert summary["problems"] == []
    assert not (tmp_path / "out" / FAILURE).exists()


@pytest.mark.parametrize(
    ("rank", "error", "is_logged"),
    [(0, "InterruptedRunError", True), (1, "InterruptedRunError", False), (1, "StorageError", True)],
)
def test_the_log_says_how_the_run_ended_once(tmp_path: Path, rank: int, error: str, is_logged: bool) -> None:
    log = tmp_path / "dlio.log"
    log.write_text("[OUTPUT] begun\n", encoding="utf-8")
    recorder = Recorder.of("", {"SOME_TOKEN": "abcdefghijk"}, [])
    recorder.log = str(log)
    recorder(Failure(rank, 2, "host", 3, "verify", 74, error, "cannot open abcdefghijk", ""))
    said = log.read_text(encoding="utf-8")
    assert ("failed in stage: verify" in said) is is_logged
    assert "abcdefghijk" not in said
    assert said.startswith("[OUTPUT] begun\n")
