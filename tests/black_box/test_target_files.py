"""The files of a target, judged by pyarrow's footers and by duckdb: codecs, row groups, types."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.evidence import Recorder
from verification.targets import Target
from verification.targets.checks import every_chunk_has_the_codec, row_groups_are_exact, values_are_of_their_types
from verification.targets.wrong import wrong

CODECS = {
    "none": (),
    "snappy": ("ignores-the-codec",),
    "gzip": ("codec-on-first-column-only", "writes-snappy-for-lz4"),
    "zstd": ("ignores-the-codec", "codec-on-first-column-only"),
    "lz4": ("writes-snappy-for-lz4", "codec-on-first-column-only"),
}
GEOMETRIES = {"divides": (48, 16), "remainder": (40, 16), "larger than file": (10, 16), "one row": (3, 1)}
GROUPS = ("ignores-the-row-group-size", "row-groups-follow-generation-batches", "row-group-one-row-short")
TYPES = (
    "writes-float64-as-float32",
    "writes-bool-as-int8",
    "writes-constant-columns",
    "repeats-rows-in-every-row-group",
)


@pytest.mark.claim("truth-2", "truth-8")
@pytest.mark.parametrize("codec", CODECS)
def test_every_chunk_has_the_codec(evidence: Recorder, asked: Target, tmp_path: Path, codec: str) -> None:
    every_chunk_has_the_codec(evidence, asked, codec, tmp_path / "right")
    evidence.cover("codec", codec)
    for name in CODECS[codec]:
        with evidence.saboteur(name):
            every_chunk_has_the_codec(evidence, wrong(name, asked), codec, tmp_path / name)


@pytest.mark.claim("truth-9")
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_row_groups_are_exact(evidence: Recorder, asked: Target, tmp_path: Path, geometry: str) -> None:
    rows, size = GEOMETRIES[geometry]
    row_groups_are_exact(evidence, asked, rows, size, tmp_path / "right")
    evidence.cover("geometry", geometry)
    for name in GROUPS if geometry == "remainder" else ():
        with evidence.saboteur(name):
            row_groups_are_exact(evidence, wrong(name, asked), rows, size, tmp_path / name)


@pytest.mark.claim("truth-7")
def test_values_are_of_their_types(evidence: Recorder, asked: Target, tmp_path: Path) -> None:
    values_are_of_their_types(evidence, asked, tmp_path / "right")
    for name in TYPES:
        with evidence.saboteur(name):
            values_are_of_their_types(evidence, wrong(name, asked), tmp_path / name)
