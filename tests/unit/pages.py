"""Walks over the pages of a Parquet file by its footer's offsets, with a Thrift reader of the tests' own."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from thrift_reader import ThriftReader

PLAIN_SIZE, STORED_SIZE, CHECKSUM, VERSION_2 = 2, 3, 4, 8
LEVEL_SIZES = (5, 6)
UNPACKED_BY = {"SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "LZ4": "lz4_raw"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page: where its octets begin in the file, what they are, and what header and footer say of them."""

    at: int
    octets: bytes
    plain_size: int
    checksum: int | None
    codec: str
    levels: int

    @property
    def is_damaged(self) -> bool:
        """Whether the checksum is there and is that of other octets."""
        return self.checksum is not None and zlib.crc32(self.octets) != self.checksum & 0xFFFFFFFF

    def unpacks(self, codec: str) -> bool:
        """Return whether ``codec`` (the footers' word) turns the octets into as many as the header says."""
        packed, wanted = self.octets[self.levels :], self.plain_size - self.levels
        if codec == "UNCOMPRESSED":
            return len(packed) == wanted
        try:
            return len(pa.decompress(packed, wanted, UNPACKED_BY[codec], asbytes=True)) == wanted
        except (OSError, ValueError):
            return False


def pages(body: bytes) -> Iterator[Page]:
    """Yield all pages of a file, chunk by chunk; an index at the end of the file is none."""
    footer = pq.read_metadata(io.BytesIO(body))
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            chunk = footer.row_group(group).column(number)
            first = chunk.dictionary_page_offset
            at = chunk.data_page_offset if first is None else min(first, chunk.data_page_offset)
            end = at + chunk.total_compressed_size
            while at < end:
                reader = ThriftReader(body, at)
                header = reader.struct()
                levels = sum(header[VERSION_2][number] for number in LEVEL_SIZES) if VERSION_2 in header else 0
                octets = body[reader.at : reader.at + header[STORED_SIZE]]
                yield Page(reader.at, octets, header[PLAIN_SIZE], header.get(CHECKSUM), chunk.compression, levels)
                at = reader.at + header[STORED_SIZE]
