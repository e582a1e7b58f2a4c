"""The footer of a Parquet file: where it lies, what it says, and whether that can be true."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.parquet.decode import Chunk
from dlio_benchmark.parquet.decode_arrow import check_chunks
from dlio_benchmark.parquet.decode_codecs import check_codecs

TAIL_BYTES = 8
_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_OWN_FILES = "dlio_benchmark version "
_LONGEST_STRING = 100 << 20
_MOST_ELEMENTS = 1 << 20
MOST_BYTES = 128 << 20
_PLAUSIBLE_BYTES = 256 << 20
_PLAUSIBLE_RATIO = 1032


def footer_bytes(tail: memoryview, file_bytes: int) -> int:
    """Return the length of the footer with its tail, from the last bytes of a file of ``file_bytes`` bytes.

    Raises:
        ParquetFileError: if this is not the end of a Parquet file.
    """
    ending = bytes(tail[-4:])
    if file_bytes < TAIL_BYTES + 4 or ending != _MAGIC:
        known = "its footer is encrypted" if ending == _ENCRYPTED else f"it ends with {ending!r}"
        msg = f"not a Parquet file: {known}, has {file_bytes} bytes, and should end with {_MAGIC!r}"
        raise ParquetFileError(msg)
    length = int.from_bytes(tail[-8:-4], "little") + TAIL_BYTES
    if length > file_bytes - 4:
        msg = f"the footer cannot have {length} bytes in a file of {file_bytes}; the file is damaged or cut off"
        raise ParquetFileError(msg)
    if length > MOST_BYTES:
        msg = (
            f"the footer has {length} bytes, at most {MOST_BYTES} are read; the file is damaged, or was written with "
            "too many row groups or columns"
        )
        raise ParquetFileError(msg)
    return length


class Footer:
    """A parsed footer whose row groups have been checked for rows; chunks are checked when they are asked for."""

    __slots__ = ("_end", "_file_bytes", "_same", "group_rows", "is_own", "metadata", "schema")

    def __init__(self, footer: bytes, file_bytes: int) -> None:
        """Parse ``footer``, the last bytes of the file; ParquetFileError if it is damaged."""
        try:
            parsed = pq.ParquetFile(
                pa.BufferReader(pa.py_buffer(footer)),
                thrift_string_size_limit=_LONGEST_STRING,
                thrift_container_size_limit=_MOST_ELEMENTS,
            )
            self.metadata: pq.FileMetaData = parsed.metadata
            self.schema: pa.Schema = parsed.schema_arrow
            if any(map(pa.types.is_dictionary, self.schema.types)):
                import pyarrow.compute  # noqa: F401, PLC0415 - decoding needs it, and may be timed
            groups = [self.metadata.row_group(group) for group in range(self.metadata.num_row_groups)]
            self.group_rows: tuple[int, ...] = tuple(group.num_rows for group in groups)
        except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
            msg = f"the footer is damaged: {error}"
            raise ParquetFileError(msg) from error
        rows = self.metadata.num_rows
        if min(self.group_rows, default=0) < 0 or sum(self.group_rows) != rows:
            msg = f"the footer says {rows} rows, but its row groups have {sum(self.group_rows)}"
            raise ParquetFileError(msg)
        check_codecs(footer[:-TAIL_BYTES], len(groups) * self.metadata.num_columns)
        self._same: dict[Any, Any] = {}  # numbers and names that many chunks share, each held once
        self._end, self._file_bytes = file_bytes - len(footer), file_bytes
        self.is_own: bool = self.metadata.created_by.startswith(_OWN_FILES)

    def chunks(self, group: int, leaves: tuple[int, ...]) -> list[Chunk]:
        """Return the chunks of ``leaves`` in row group ``group``, which has rows.

        Raises:
            ParquetFileError: if one lies outside the data part of the file, or has no plausible size.
        """
        column_of, rows, end = self.metadata.row_group(group).column, self.group_rows[group], self._end
        found = []
        one = self._same.setdefault
        for leaf in leaves:
            column = column_of(leaf)
            start, first, stored = column.data_page_offset, column.dictionary_page_offset, column.total_compressed_size
            if first is not None and 0 < first < start:
                start = first
            values, decoded = column.num_values, column.total_uncompressed_size
            if start < 4 or stored < 1 or start + stored > end or values < 0 or decoded < 0:
                where = f"row group {group}, column {column.path_in_schema!r}"
                what = f"{stored} bytes at {start}, {values} values; the data end at {end}"
                msg = f"{where}: the footer places it at impossible bytes: {what}"
                raise ParquetFileError(msg)
            codec = column.compression
            same = one(values, values), one(codec, codec), one(decoded, decoded)
            found.append(Chunk(leaf, start, one(stored, stored), rows, *same))
        return found

    def stored(self, leaves: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
        """Return path and physical type of each of ``leaves``; nothing for a file without row groups.

        The Parquet schema would say as much, but pyarrow ties metadata whose schema was asked for into a cycle, and
        every footer would wait for the garbage collector.

        Raises:
            ParquetFileError: if a chunk of ``leaves`` contradicts itself; until this is known, none may be asked for.
        """
        if not self.group_rows:
            return ()
        if not self.is_own:
            filled = [group for group, rows in enumerate(self.group_rows) if rows]
            check_chunks(self.metadata, self._file_bytes, filled, leaves)
        chunks = map(self.metadata.row_group(0).column, leaves)
        return tuple((chunk.path_in_schema, chunk.physical_type) for chunk in chunks)

    def name(self, leaf: int) -> str:
        """Return the dotted path of a leaf."""
        return str(self.metadata.schema.column(leaf).path)


def most_decoded(stored_bytes: int) -> int:
    """Return to how many bytes ``stored_bytes`` may decode; a lie up to that size does no harm."""
    return max(_PLAUSIBLE_BYTES, stored_bytes * _PLAUSIBLE_RATIO)
