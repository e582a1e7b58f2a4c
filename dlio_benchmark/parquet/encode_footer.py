"""The footer: where each column chunk lies, what is in it, and the schema.

`FooterBuilder` is told of pages in the order in which they are written and keeps some dozen bytes per column chunk.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from dlio_benchmark import __version__
from dlio_benchmark.config.model import Column
from dlio_benchmark.parquet.encode import ChunkEncoder, Encoding, Page
from dlio_benchmark.parquet.encode_schema import ELEMENTS, arrow_schema, leaf_path, schema_elements
from dlio_benchmark.parquet.thrift import Field, Wire, i32, i64, listed, nested, octets, struct, text, zigzag

MAGIC = b"PAR1"
ARROW_SCHEMA = "ARROW:schema"
_FORMAT_VERSION = 2


@dataclass(slots=True)
class ChunkWritten:
    """A column chunk that begins at ``offset``; pages are added in file order."""

    encoder: ChunkEncoder
    offset: int
    data_offset: int = 0
    values: int = 0
    plain_bytes: int = 0
    stored_bytes: int = 0

    def add(self, page: Page) -> None:
        """Count a page that follows those before it."""
        if page is self.encoder.dictionary:
            self.data_offset = self.offset + page.stored_bytes
        self.values += page.values
        self.plain_bytes += page.plain_bytes
        self.stored_bytes += page.stored_bytes

    def encoded(self) -> bytes:
        """Return the footer's entry of the chunk."""
        dictionary = [i64(11, self.offset)] if self.data_offset else []
        described = struct(
            *_same_in_all_groups(self.encoder.column, self.encoder.codec.number, self.encoder.encodings),
            i64(5, self.values),
            i64(6, self.plain_bytes),
            i64(7, self.stored_bytes),
            i64(9, self.data_offset or self.offset),
            *dictionary,
        )
        return struct(_NO_OFFSET, nested(3, described))


@lru_cache(maxsize=1024)
def _same_in_all_groups(column: Column, codec: int, encodings: tuple[Encoding, ...]) -> tuple[Field, ...]:
    return (
        i32(1, ELEMENTS[column.dtype].type),
        listed(2, Wire.I32, [zigzag(encoding) for encoding in encodings]),
        listed(3, Wire.BINARY, [octets(name) for name in leaf_path(column)]),
        i32(4, codec),
    )


_NO_OFFSET = i64(2, 0)


@dataclass(slots=True)
class FooterBuilder:
    """Collects the row groups of a file with these columns."""

    columns: tuple[Column, ...]
    metadata: Mapping[str, str]
    rows: int = 0
    groups: list[bytes] = field(default_factory=list)

    def add_group(self, rows: int, chunks: Sequence[ChunkWritten]) -> None:
        """Add a row group of ``rows`` rows, whose chunks stand in the order of the columns."""
        self.rows += rows
        group = struct(
            listed(1, Wire.STRUCT, [chunk.encoded() for chunk in chunks]),
            i64(2, sum(chunk.plain_bytes for chunk in chunks)),
            i64(3, rows),
            i64(5, chunks[0].offset),
            i64(6, sum(chunk.stored_bytes for chunk in chunks)),
        )
        self.groups.append(group)

    def encoded(self) -> bytes:
        """Return the footer's metadata, without its length and the magic bytes behind it."""
        arrow = base64.b64encode(arrow_schema(self.columns).serialize()).decode()
        pairs = {**self.metadata, ARROW_SCHEMA: arrow}
        return struct(
            i32(1, _FORMAT_VERSION),
            listed(2, Wire.STRUCT, schema_elements(self.columns)),
            i64(3, self.rows),
            listed(4, Wire.STRUCT, self.groups),
            listed(5, Wire.STRUCT, [struct(text(1, key), text(2, value)) for key, value in pairs.items()]),
            text(6, f"dlio_benchmark version {__version__}"),
        )


def tail(footer: bytes) -> bytes:
    """Return what ends a file: the footer, its length, and the magic bytes."""
    return footer + len(footer).to_bytes(4, "little") + MAGIC
