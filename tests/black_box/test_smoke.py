"""Before anything is said of a target: it starts, generates, and trains."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from verification.errors import VerificationError
from verification.evidence import Recorder
from verification.targets import Target
from verification.targets.checks import NUMBERS, generated, trains_on_what_it_generates
from verification.targets.cli import Cli, target
from verification.targets.protocol import FILES, ROWS, workload
from verification.targets.wrong import Wrong, wrong


def starts_and_says_its_version(evidence: Recorder, asked: Target) -> None:
    """Hold that a target answers when it is asked who it is, and that the answer has a version in it."""
    version = trouble = ""
    try:
        version = asked.describe().version
    except VerificationError as error:
        trouble = str(error)
    evidence.equal(trouble, "", what="why the target does not start")
    evidence.equal(re.findall(r"^\d[\w.+!-]*$", version), [version], what="version that the target says")


@pytest.mark.claim("smoke-1")
@pytest.mark.parametrize("command", ["-c 'raise SystemExit(1)'", "-c 'import dlio_benchmark.absent'"])
def test_a_target_that_does_not_start_is_seen(evidence: Recorder, started: Cli, tmp_path: Path, command: str) -> None:
    starts_and_says_its_version(evidence, started)
    failing = tmp_path / "python-without"
    failing.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    failing.chmod(0o755)
    for words in (f"{sys.executable} {command}", f"env {sys.executable} {command}", failing, tmp_path / "python"):
        with evidence.saboteur("target-that-does-not-start"):
            starts_and_says_its_version(evidence, target(f"broken={words}"))


@pytest.mark.claim("smoke-1")
@pytest.mark.parametrize("version", ["", "unknown"])
def test_a_target_without_a_version_is_seen(evidence: Recorder, started: Cli, version: str) -> None:
    starts_and_says_its_version(evidence, started)
    with evidence.saboteur("target-that-does-not-start"):
        starts_and_says_its_version(evidence, Wrong(started, known=lambda told: replace(told, version=version)))


def leaves_bytes_on_the_disk(evidence: Recorder, asked: Target, folder: Path) -> None:
    """Hold the size of what is left below a folder, whatever it is called, to the numbers that were asked for."""
    folder.mkdir(parents=True)
    asked.generate(workload(NUMBERS), folder)
    found = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    least = FILES * ROWS * len(NUMBERS) * 8
    evidence.hold(found, what="bytes that generation leaves on the disk", at_least=least, unit="B")


@pytest.mark.claim("smoke-2")
def test_generation_leaves_bytes_on_the_disk(evidence: Recorder, asked: Target, tmp_path: Path) -> None:
    leaves_bytes_on_the_disk(evidence, asked, tmp_path / "right")
    name = "target-that-generates-nothing"
    with evidence.saboteur(name):
        leaves_bytes_on_the_disk(evidence, wrong(name, asked), tmp_path / "wrong")


@pytest.mark.claim("smoke-2")
def test_the_target_generates_and_trains(evidence: Recorder, started: Cli, tmp_path: Path) -> None:
    trains_on_what_it_generates(evidence, started, tmp_path / "right")


@pytest.fixture(scope="module")
def refused(started: Cli, tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Return whether the target refuses a type that there is not."""
    folder = tmp_path_factory.mktemp("refused")
    return started.generate(workload([{"name": "a", "dtype": "absent"}]), folder).code != 0


@pytest.mark.claim("smoke-2")
@pytest.mark.parametrize("name", ["reports-success-with-no-samples", "target-that-generates-nothing"])
def test_a_target_that_does_nothing_is_seen(
    evidence: Recorder, started: Cli, refused: bool, tmp_path: Path, name: str
) -> None:
    evidence.equal(not refused, False, what="an unknown type succeeds")
    with evidence.saboteur(name):
        trains_on_what_it_generates(evidence, wrong(name, started), tmp_path)


@pytest.mark.claim("smoke-2")
def test_a_target_without_files_is_seen_before_it_trains(evidence: Recorder, asked: Target, tmp_path: Path) -> None:
    tree = workload(NUMBERS)
    generated(evidence, asked, tree, tmp_path / "right")
    with evidence.saboteur("target-that-generates-nothing"):
        generated(evidence, wrong("target-that-generates-nothing", asked), tree, tmp_path / "wrong")
