"""Codecs in footers: known ones pass whoever wrote the file, an unknown one is refused before pyarrow sees it."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.parquet.decode_codecs import check_codecs

ROWS = 40
TABLE = pa.table(
    {
        "number": range(ROWS),
        "text": ["x" * n for n in range(ROWS)],
        "list": [[n, n] for n in range(ROWS)],
        "struct": [{"a": n, "b": [True]} for n in range(ROWS)],
    }
)
CODECS = {"none": 0, "snappy": 1, "gzip": 2, "brotli": 4, "zstd": 6, "lz4": 7}


def footer_of(**options: Any) -> tuple[bytes, int]:
    """Return the footer that pyarrow writes, and the number of its chunks."""
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, row_group_size=16, **options)
    body = sink.getvalue()
    metadata = pq.read_metadata(io.BytesIO(body))
    return body[-8 - metadata.serialized_size : -8], metadata.num_row_groups * metadata.num_columns


def codec_places(footer: bytes, codec: int) -> list[int]:
    """Return where a codec stands: behind the path of its column, before the number of values of a row group."""
    return [at + 1 for at in range(len(footer) - 3) if footer[at : at + 3] == bytes([0x15, 2 * codec, 0x16])]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("options", [{}, {"write_statistics": False}, {"write_page_index": True}])
def test_known_codecs_pass(codec: str, options: dict[str, Any]) -> None:
    footer, chunks = footer_of(compression=codec, **options)
    check_codecs(footer, chunks)


@pytest.mark.parametrize("unknown", [8, 13, 60])
def test_an_unknown_codec_of_any_chunk_is_named(unknown: int) -> None:
    footer, chunks = footer_of(compression="zstd")
    places = codec_places(footer, CODECS["zstd"])
    assert len(places) == chunks
    for place in places:
        damaged = bytearray(footer)
        damaged[place] = 2 * unknown
        with pytest.raises(ParquetFileError, match=f"names the codec {unknown}, which does not exist"):
            check_codecs(bytes(damaged), chunks)


@given(st.integers(0, 2000), st.binary(max_size=4))
def test_any_damage_is_refused_or_passes_but_never_breaks_the_walk(at: int, new: bytes) -> None:
    footer, chunks = footer_of()
    damaged = bytearray(footer)
    damaged[at % len(damaged) : at % len(damaged) + len(new)] = new
    with contextlib.suppress(ParquetFileError):
        check_codecs(bytes(damaged), chunks)
