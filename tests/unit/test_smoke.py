"""The target starts, and it generates a small data set and trains on it: what comes before all other claims."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from verification import oracle
from verification.contracts.report import strict_json
from verification.evidence import Recorder
from verification.mpi.launch import clean_environment
from verification.saboteurs.results import spoiled

ROOT = Path(__file__).parents[2]
TARGET = os.environ.get("DLIO_VERIFICATION_TARGET", "native")
ENGINE = (sys.executable if TARGET == "native" else TARGET, "-m", "dlio_benchmark.main")
SILENT = (sys.executable, "-c", "")
ABSENT = (sys.executable, "-m", "dlio_benchmark.absent")
SMALL = (
    "++workload.workflow.generate_data=True",
    "++workload.workflow.train=True",
    "++workload.framework=pytorch",
    "++workload.dataset.format=parquet",
    "++workload.dataset.num_files_train=4",
    "++workload.dataset.num_samples_per_file=16",
    "++workload.dataset.record_length_bytes=4096",
    "++workload.reader.batch_size=4",
    "++workload.train.epochs=1",
    "++workload.train.computation_time=0.001",
)


def ended(engine: Sequence[str], *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the engine with ``words`` in ``folder``."""
    extra = {"PYTHONPATH": str(ROOT)} if TARGET == "native" else {}
    return subprocess.run(
        [*engine, *words],
        cwd=folder,
        env=clean_environment(extra),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def it_starts(evidence: Recorder, engine: Sequence[str], folder: Path) -> None:
    """Hold that the target starts and says what it is."""
    done = ended(engine, "--version", folder=folder)
    evidence.equal(done.returncode, 0, what="exit code of --version")
    evidence.equal("dlio" in done.stdout.lower(), True, what="name and version")


def it_generates(evidence: Recorder, engine: Sequence[str], folder: Path) -> Path:
    """Hold that the target generates files of the configured rows, and return its results."""
    folder.mkdir()
    places = (f"++workload.dataset.data_folder={folder / 'data'}", f"++hydra.run.dir={folder / 'out'}")
    done = ended(engine, "workload=default", *SMALL, *places, folder=folder)
    evidence.equal(done.returncode, 0, what="exit code of a small run")
    files = sorted((folder / "data").rglob("train/*.parquet"))
    evidence.equal([oracle.footer(path).rows for path in files], [16] * 4, what="rows of the files")
    return folder / "out"


def it_trained(evidence: Recorder, out: Path) -> None:
    """Hold that the results of a run hold its steps."""
    load = strict_json(out / "0_output.json")["1"]["load"].get("block1", [])
    evidence.equal(len(load), 4 * 16 // 4, what="steps of a small run")
    evidence.equal("metric" in strict_json(out / "summary.json"), True, what="metrics of a small run")


@pytest.mark.claim("smoke-1")
def test_the_target_starts(evidence: Recorder, tmp_path: Path) -> None:
    it_starts(evidence, ENGINE, tmp_path)
    for engine in (ABSENT, SILENT):
        with evidence.saboteur("target-that-does-not-start"):
            it_starts(evidence, engine, tmp_path)


@pytest.mark.claim("smoke-2")
def test_the_target_generates_and_trains(evidence: Recorder, tmp_path: Path) -> None:
    out = it_generates(evidence, ENGINE, tmp_path / "target")
    it_trained(evidence, out)
    with evidence.saboteur("target-that-generates-nothing"):
        it_generates(evidence, SILENT, tmp_path / "silent")
    with evidence.saboteur("reports-success-with-no-samples"):
        it_trained(evidence, spoiled("reports-success-with-no-samples", out, tmp_path))
