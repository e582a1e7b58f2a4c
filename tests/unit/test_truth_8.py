"""No compression, Snappy, GZIP, ZSTD and LZ4: every column chunk has the codec that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.contracts.writer import CODECS, every_chunk_has_the_codec, the_codec_changes_the_size
from verification.evidence import Recorder
from verification.saboteurs.writers import WRITERS, product_writer

pytestmark = pytest.mark.claim("truth-8")


def sabotaging(codec: str) -> list[str]:
    """Return the wrong writers that differ from a right one with ``codec``."""
    if codec == "none":
        return []
    return ["ignores-the-codec", "codec-on-first-column-only", *["writes-snappy-for-lz4"] * (codec == "lz4")]


@pytest.mark.parametrize("codec", CODECS)
def test_every_chunk_of_every_file_has_the_codec(evidence: Recorder, tmp_path: Path, codec: str) -> None:
    every_chunk_has_the_codec(evidence, product_writer, codec, tmp_path / "product")
    evidence.cover("codec", codec)
    for name in sabotaging(codec):
        with evidence.saboteur(name):
            every_chunk_has_the_codec(evidence, WRITERS[name], codec, tmp_path / name)


@pytest.mark.parametrize("codec", CODECS[1:])
def test_every_column_is_smaller_with_a_codec(evidence: Recorder, tmp_path: Path, codec: str) -> None:
    the_codec_changes_the_size(evidence, product_writer, codec, tmp_path / "product")
    for name in ("ignores-the-codec", "codec-on-first-column-only"):
        with evidence.saboteur(name):
            the_codec_changes_the_size(evidence, WRITERS[name], codec, tmp_path / name)
