"""The runs of a target, judged by codes, counters and times of steps: projection, mismatches, ranks."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest

from verification.evidence import Recorder
from verification.targets import Target
from verification.targets.checks import (
    Mismatch,
    Reading,
    a_mismatch_is_named,
    an_epoch_reads_the_wanted_chunks,
    retyped,
    trains_on_what_it_generates,
    without,
)
from verification.targets.wrong import wrong

MODES, CODECS = ("default", "row_group"), ("none", "snappy", "gzip", "zstd", "lz4")
ALL = ("alpha", "beta", "gamma", "delta")
CHANGES = {
    "one column missing": (without("gamma"), ("gamma",), ("vague-schema-error",)),
    "two columns missing": (without("beta", "gamma"), ("beta", "gamma"), ("names-only-the-first-missing-column",)),
    "all columns missing": (without(*ALL), ALL, ()),
    "other type": (retyped("gamma", pa.float32()), ("gamma",), ("vague-schema-error",)),
}
POSITIONS = {"first file": 0, "later file": 2}


@pytest.mark.claim("truth-4")
@pytest.mark.parametrize(("mode", "codec"), list(product(MODES, CODECS)))
def test_an_epoch_reads_the_wanted_chunks(
    evidence: Recorder, asked: Target, tmp_path: Path, mode: str, codec: str
) -> None:
    reading = Reading(mode, codec)
    an_epoch_reads_the_wanted_chunks(evidence, asked, reading, tmp_path / "right")
    evidence.cover("mode", mode)
    evidence.cover("codec", codec)
    for name in ("reads-all-columns-then-selects", "counts-unread-bytes") if codec == "zstd" else ():
        with evidence.saboteur(name):
            an_epoch_reads_the_wanted_chunks(evidence, wrong(name, asked), reading, tmp_path / name)


@pytest.mark.claim("truth-5")
@pytest.mark.parametrize(("kind", "position"), list(product(CHANGES, POSITIONS)))
def test_a_mismatch_is_named(evidence: Recorder, asked: Target, tmp_path: Path, kind: str, position: str) -> None:
    change, named, seen = CHANGES[kind]
    mismatch = Mismatch(change, named, POSITIONS[position])
    a_mismatch_is_named(evidence, asked, mismatch, tmp_path / "right")
    evidence.cover("mismatch", kind)
    evidence.cover("position", position)
    unchecked = ("checks-only-the-first-file",) if POSITIONS[position] else ("skips-the-schema-check",)
    for name in (*unchecked, *seen):
        with evidence.saboteur(name):
            a_mismatch_is_named(evidence, wrong(name, asked), mismatch, tmp_path / name)


@pytest.mark.claim("truth-10")
@pytest.mark.parametrize("ranks", [1, 2])
def test_every_rank_trains(evidence: Recorder, asked: Target, tmp_path: Path, ranks: int) -> None:
    trains_on_what_it_generates(evidence, asked, tmp_path / "right", ranks=ranks)
    evidence.cover("ranks", ranks)
    for name in ("reports-success-with-no-samples", *["rank-1-does-nothing"] * (ranks - 1)):
        with evidence.saboteur(name):
            trains_on_what_it_generates(evidence, wrong(name, asked), tmp_path / name, ranks=ranks)
