"""LZ4 and ZSTD are codecs by name, and both reach every column chunk."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlio_benchmark.common.enumerations import Compression
from verification.contracts.writer import every_chunk_has_the_codec, the_codec_changes_the_size
from verification.evidence import Recorder
from verification.saboteurs.writers import WRITERS, product_writer

pytestmark = pytest.mark.claim("truth-2")
ADDED = ("lz4", "zstd")


@pytest.mark.parametrize("codec", ADDED)
def test_the_codec_reaches_every_chunk(evidence: Recorder, tmp_path: Path, codec: str) -> None:
    evidence.equal(Compression[codec.upper()].value, codec, what="value of the member")
    every_chunk_has_the_codec(evidence, product_writer, codec, tmp_path / "product")
    evidence.cover("codec", codec)
    wrong = ["codec-on-first-column-only", "ignores-the-codec", *["writes-snappy-for-lz4"] * (codec == "lz4")]
    for name in wrong:
        with evidence.saboteur(name):
            every_chunk_has_the_codec(evidence, WRITERS[name], codec, tmp_path / name)


@pytest.mark.parametrize("codec", ADDED)
def test_the_codec_shrinks_every_column(evidence: Recorder, tmp_path: Path, codec: str) -> None:
    the_codec_changes_the_size(evidence, product_writer, codec, tmp_path / "product")
    for name in ("codec-on-first-column-only", "ignores-the-codec"):
        with evidence.saboteur(name):
            the_codec_changes_the_size(evidence, WRITERS[name], codec, tmp_path / name)
