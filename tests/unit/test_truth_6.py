"""The reader iterates row groups, so that memory does not grow with the size of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlio_benchmark.reader.parquet_reader import ParquetRows
from verification.contracts.reader import Growing, growing_files, memory_does_not_follow_the_file
from verification.evidence import Recorder
from verification.probes import memory as probe
from verification.saboteurs.readers import READERS

pytestmark = pytest.mark.claim("truth-6")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Growing:
    return growing_files(tmp_path_factory.mktemp("growing"))


def test_peak_memory_is_the_same_for_8_and_64_row_groups(evidence: Recorder, files: Growing) -> None:
    probe.calibrate()
    memory_does_not_follow_the_file(evidence, ParquetRows, files)
    for name in ("pre-buffers-the-file", "joins-all-row-groups", "reads-whole-file-in-row-group-mode"):
        with evidence.saboteur(name):
            memory_does_not_follow_the_file(evidence, READERS[name], files)


def test_peak_memory_is_the_same_with_a_codec(evidence: Recorder, tmp_path: Path) -> None:
    files = growing_files(tmp_path, "zstd")
    memory_does_not_follow_the_file(evidence, ParquetRows, files)
    with evidence.saboteur("joins-all-row-groups"):
        memory_does_not_follow_the_file(evidence, READERS["joins-all-row-groups"], files)
