"""Page bodies decompressed to exactly the size that their header states."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from dlio_benchmark.parquet.decode_headers import PageError

NO_CODEC = "UNCOMPRESSED"
_NAMES = {"SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "LZ4": "lz4_raw"}
_LITERAL_BYTES = 5


class UnknownLayout(Exception):  # noqa: N818 - no error: it selects the full decoder
    """The layout of a page is legal, but not one that can be viewed."""


def _snappy_size(body: memoryview) -> int:
    size = 0
    for place, byte in enumerate(body[:5]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            break
    return size


def _gzip_size(body: memoryview) -> int:
    return int.from_bytes(body[-4:], "little")


_STATED_SIZE: dict[str, Callable[[memoryview], int]] = {"SNAPPY": _snappy_size, "GZIP": _gzip_size}


def decompressed(codec: str, body: memoryview, size: int, at: int) -> memoryview:
    """Return the ``size`` bytes that ``body``, the page at ``at``, decompresses to.

    Except for zstd the codecs accept a page that decompresses to less, and leave the rest as it was in memory.
    Snappy and gzip state the size; a block of LZ4 ends with literals, which must be the end of the result.

    Raises:
        PageError: if the page does not decompress to that size.
        UnknownLayout: if this is not a codec known here.
    """
    if codec not in _NAMES:
        raise UnknownLayout
    if size == 0:
        return memoryview(b"")
    if codec in _STATED_SIZE and _STATED_SIZE[codec](body) != size:
        raise PageError(at, f"the page does not decompress to the {size} bytes that its header says")
    try:
        result = memoryview(pa.Codec(_NAMES[codec]).decompress(body, size)).cast("B")
    except (OSError, ValueError) as error:
        if codec == "LZ4":
            raise UnknownLayout from error
        raise PageError(at, f"the page cannot be decompressed: {error}") from error
    end = min(size, _LITERAL_BYTES)
    if codec == "LZ4" and result[-end:] != body[-end:]:
        raise UnknownLayout
    return result
