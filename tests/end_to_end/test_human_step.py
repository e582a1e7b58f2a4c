"""What the first verification left to a human, done by a machine: the two commands, on two processes."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from verification import oracle
from verification.contracts.package import Ended, Installed, build_wheel, copy_sources, install
from verification.contracts.report import (
    Asked,
    every_rank_did_its_part,
    strict_json,
    the_metrics_follow_from_the_step_times,
    the_summary_follows_from_files_and_steps,
)
from verification.evidence import Recorder
from verification.probes.processes import MARK, marked
from verification.saboteurs.results import spoiled

ROOT = Path(__file__).parents[2]
FILES, BATCH, EPOCHS = 56, 7, 2
SHRUNK = ("--params", f"dataset.num_files_train={FILES}", "dataset.record_length_bytes=16384")
SHORTER = (f"train.epochs={EPOCHS}", "train.computation_time=0.01")
MEMORY_GIB = 64
ERRORS = ("[error]", "traceback", "error:", "out of memory", "schema")
POINTS = 0.01


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return the package as it comes out of a wheel."""
    folder = tmp_path_factory.mktemp("package")
    return install(build_wheel(copy_sources(ROOT, folder / "source"), folder / "wheel"), folder / "site")


@dataclass(frozen=True)
class Commands:
    """The two commands, in one folder."""

    installed: Installed
    folder: Path
    mark: str

    def datagen(self, codec: str, processes: int) -> Ended:
        """Generate on so many processes."""
        words = ("--num-processes", str(processes), "--dataset-format", "parquet", "--compression", codec)
        return self._training("datagen", *words, *SHRUNK)

    def run(self, ranks: int, *params: str) -> Ended:
        """Train on so many accelerators."""
        words = ("--accelerator-type", "h100", "--client-host-memory-in-gb", str(MEMORY_GIB))
        return self._training("run", "--num-accelerators", str(ranks), *words, *SHRUNK, *SHORTER, *params)

    def _training(self, command: str, *words: str) -> Ended:
        places = ("--data-dir", str(self.folder / "DATA"), "--results-dir", str(self.folder / "RESULTS"))
        line = ("mlpstorage", "training", command, "--model", "unet3d", *places, *words)
        return self.installed.run(*line, cwd=self.folder, extra={MARK: self.mark})

    @property
    def files(self) -> list[Path]:
        """The files that were generated."""
        return sorted((self.folder / "DATA").rglob("*.parquet"))

    @property
    def newest(self) -> Path:
        """The results of the last run."""
        return max((self.folder / "RESULTS").glob("training/unet3d/run/*"))


@pytest.fixture
def commands(installed: Installed, tmp_path: Path) -> Commands:
    return Commands(installed, tmp_path, uuid.uuid4().hex)


def ended_well(evidence: Recorder, command: str, ended: Ended) -> None:
    """Hold that a command succeeded without a word about an error."""
    said = (ended.stdout + ended.stderr).lower().splitlines()
    bad = [line for line in said if any(word in line for word in ERRORS)]
    evidence.hold(ended.code, what=f"exit code of {command}", at_least=0, at_most=0)
    evidence.hold(len(bad), what="lines that report an error", at_most=0, unit="lines")
    evidence.cover("command", command)


def chunks_have_the_codec(evidence: Recorder, files: list[Path], codec: str) -> None:
    """Hold that all files are there, that every chunk has the codec, and that no two files are alike."""
    found = oracle.codecs(files)
    evidence.equal(len(files), FILES, what="files generated")
    evidence.hold(found.total() - found[codec], what=f"chunks that are not {codec.upper()}", at_most=0, unit="chunks")
    alike = len(files) - len({hashlib.sha256(path.read_bytes()).digest() for path in files})
    rows = [repr(oracle.rows(path)) for path in files]
    evidence.hold(alike, what="files with the bytes of another", at_most=0, unit="files")
    evidence.hold(len(rows) - len(set(rows)), what="files with the rows of another", at_most=0, unit="files")


def without_the_codec(files: list[Path], folder: Path) -> list[Path]:
    """Return files with the rows of others, as a generator writes them that ignores the codec."""
    folder.mkdir()
    for path in files:
        pq.write_table(pq.read_table(path), folder / path.name, compression="none")
    return sorted(folder.iterdir())


def result_is_proven(evidence: Recorder, out: Path, asked: Asked) -> None:
    """Hold the result to the files, to the steps of every rank, and to its own step times."""
    every_rank_did_its_part(evidence, out, asked)
    the_summary_follows_from_files_and_steps(evidence, out, asked)
    the_metrics_follow_from_the_step_times(evidence, out, asked, points=POINTS)
    peaks = strict_json(out / "summary.json")["dlio"]["peak_rss_bytes"]
    evidence.hold(sum(peaks) / 2**30, what="memory of all ranks", at_least=0.001, at_most=MEMORY_GIB, unit="GiB")


def nothing_is_left(evidence: Recorder, commands: Commands) -> None:
    """Hold that no process of the commands is alive, and that no file was left half-written."""
    evidence.equal(marked(commands.mark), [], what="processes left")
    partial = [path.name for path in commands.folder.rglob("*") if "partial" in path.name or "journal" in path.name]
    evidence.equal(partial, [], what="unfinished files left")


@pytest.mark.claim("end-to-end-1", "truth-10")
def test_the_two_commands_generate_zstd_and_train_on_it(evidence: Recorder, commands: Commands, tmp_path: Path) -> None:
    ended_well(evidence, "datagen", commands.datagen("zstd", 2))
    chunks_have_the_codec(evidence, commands.files, "zstd")
    for ranks in (1, 2):
        ended_well(evidence, "run", commands.run(ranks))
        result_is_proven(evidence, commands.newest, Asked(commands.files, ranks, BATCH, EPOCHS))
        evidence.cover("ranks", ranks)
    nothing_is_left(evidence, commands)
    asked = Asked(commands.files, 2, BATCH, EPOCHS)
    for name in ("rank-1-does-nothing", "reports-success-with-no-samples", "utilization-without-waits"):
        wrong = spoiled(name, commands.newest, tmp_path / "wrong")
        with evidence.saboteur(name):
            result_is_proven(evidence, wrong, asked)
    with evidence.saboteur("ignores-the-codec"):
        chunks_have_the_codec(evidence, without_the_codec(commands.files, tmp_path / "plain"), "zstd")


@pytest.mark.claim("truth-10")
@pytest.mark.parametrize(("codec", "mode"), [("gzip", "row_group"), ("lz4", "default")])
def test_the_two_commands_work_with_other_codecs_and_by_row_group(
    evidence: Recorder, commands: Commands, tmp_path: Path, codec: str, mode: str
) -> None:
    ended_well(evidence, "datagen", commands.datagen(codec, 1))
    chunks_have_the_codec(evidence, commands.files, codec)
    ended_well(evidence, "run", commands.run(2, f"dataset.parquet.read_mode={mode}"))
    asked = Asked(commands.files, 2, BATCH, EPOCHS)
    result_is_proven(evidence, commands.newest, asked)
    evidence.equal(strict_json(commands.newest / "summary.json")["dlio"]["read_mode"], mode, what="read mode told")
    nothing_is_left(evidence, commands)
    for name in ("rank-1-does-nothing", "reports-success-with-no-samples", "rank-that-returns-early"):
        wrong = spoiled(name, commands.newest, tmp_path / "wrong")
        with evidence.saboteur(name):
            result_is_proven(evidence, wrong, asked)
