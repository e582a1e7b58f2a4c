"""The reader reads the configured columns, not the whole table."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.reader.parquet_reader import ParquetRows
from verification.contracts.reader import (
    CODECS,
    MODES,
    every_pass_reads_again,
    read_by_system,
    reads_only_the_wanted_chunks,
    the_system_reads_only_the_wanted_chunks,
    wide_file,
)
from verification.evidence import Recorder
from verification.probes import bytes as probe
from verification.saboteurs.readers import READERS

pytestmark = pytest.mark.claim("truth-4")
BY_CODEC = {codec: wide_file(codec) for codec in CODECS}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("codec", CODECS)
def test_the_storage_is_asked_for_the_wanted_chunks_only(evidence: Recorder, codec: str, mode: ReadMode) -> None:
    reads_only_the_wanted_chunks(evidence, ParquetRows, BY_CODEC[codec], mode)
    evidence.cover("codec", codec)
    evidence.cover("mode", mode)
    for name in ("reads-all-columns-then-selects", "counts-unread-bytes", "reads-whole-file-in-row-group-mode"):
        with evidence.saboteur(name):
            reads_only_the_wanted_chunks(evidence, READERS[name], BY_CODEC[codec], mode)


@pytest.mark.parametrize("mode", MODES)
def test_the_operating_system_reads_the_wanted_chunks_only(evidence: Recorder, tmp_path: Path, mode: ReadMode) -> None:
    probe.calibrate()
    paths = [tmp_path / f"{codec}.parquet" for codec in CODECS]
    for path, codec in zip(paths, CODECS, strict=True):
        path.write_bytes(BY_CODEC[codec])
        evidence.cover("codec", codec)
    evidence.cover("mode", mode)
    names = ("reads-all-columns-then-selects", "caches-from-epoch-2")
    right, *wrong = read_by_system([ParquetRows, *(READERS[name] for name in names)], paths, mode)
    the_system_reads_only_the_wanted_chunks(evidence, paths, right)
    for name, counts in zip(names, wrong, strict=True):
        with evidence.saboteur(name):
            the_system_reads_only_the_wanted_chunks(evidence, paths, counts)


@pytest.mark.parametrize("mode", MODES)
def test_each_pass_reads_the_wanted_chunks_and_opening_reads_none(evidence: Recorder, mode: ReadMode) -> None:
    every_pass_reads_again(evidence, ParquetRows, BY_CODEC["zstd"], mode)
    wrong = ("caches-from-epoch-2", "reads-before-the-clock-starts", "reports-planned-for-read", "counts-unread-bytes")
    for name in wrong:
        with evidence.saboteur(name):
            every_pass_reads_again(evidence, READERS[name], BY_CODEC["zstd"], mode)
