"""The reader iterates row groups, so that memory does not grow with the size of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlio_benchmark.reader.parquet_reader import ParquetRows
from verification.contracts.reader import Growing, growing_files, peaks_do_not_follow_the_file, peaks_of
from verification.evidence import Recorder
from verification.probes import memory as probe
from verification.saboteurs.readers import READERS

pytestmark = pytest.mark.claim("truth-6")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Growing:
    return growing_files(tmp_path_factory.mktemp("growing"))


def peaks_are_held(evidence: Recorder, files: Growing, *names: str) -> None:
    """Hold the peaks of the product, and that those of wrong readers are not held."""
    right, *wrong = peaks_of([ParquetRows, *(READERS[name] for name in names)], files)
    peaks_do_not_follow_the_file(evidence, right)
    for name, peaks in zip(names, wrong, strict=True):
        with evidence.saboteur(name):
            peaks_do_not_follow_the_file(evidence, peaks)


def test_peak_memory_is_the_same_for_8_and_64_row_groups(evidence: Recorder, files: Growing) -> None:
    probe.calibrate()
    names = ("pre-buffers-the-file", "joins-all-row-groups", "reads-whole-file-in-row-group-mode")
    peaks_are_held(evidence, files, *names)


def test_peak_memory_is_the_same_with_a_codec(evidence: Recorder, tmp_path: Path) -> None:
    peaks_are_held(evidence, growing_files(tmp_path, "zstd"), "joins-all-row-groups")
