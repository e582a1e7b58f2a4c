"""Parquet files as blocks of rows: only the wanted column chunks are read, and each byte is counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlio_benchmark.clock import Clock, RealClock
from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.parquet.decode_footer import Footer, footer_bytes
from dlio_benchmark.parquet.decode_memory import reserved
from dlio_benchmark.parquet.decode_path import partition_values
from dlio_benchmark.parquet.decode_plan import Plan, plan
from dlio_benchmark.reader.parquet_blocks import ParquetBlocks, naming
from dlio_benchmark.storage.base import InputFile, Storage

_FIRST_READ_BYTES = 64 << 10


class ParquetRows:
    """Opens the Parquet files of one data set; safe to use from several threads.

    ``columns`` None reads all columns of each file.  ``partitions`` names columns that stand in the path instead
    (``.../name=value/...``).  In the modes that read by row group, a block is ``group_window`` row groups; else
    it is as many as decode to ``block_bytes``, at least one.  Row groups without rows belong to no block.
    """

    def __init__(
        self,
        storage: Storage,
        columns: Sequence[Column] | None,
        mode: ReadMode = ReadMode.DEFAULT,
        *,
        partitions: Sequence[str] = (),
        verify_checksums: bool = False,
        block_bytes: int = 16 << 20,
        group_window: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self.columns = None if columns is None else tuple(column for column in columns if column.read)
        self.partitions = frozenset(partitions)
        self.mode = mode
        self.decode = "none" if mode is ReadMode.BYTES else "full"
        self.verify_checksums = verify_checksums
        self.block_bytes = block_bytes
        self.group_window = group_window
        self._storage = storage
        self._clock = clock or RealClock()
        self._plan: Plan | None = None

    def open(self, path: str) -> ParquetBlocks:
        """Open ``path``, read its footer, and check it against the configured columns.

        Raises:
            SchemaMismatchError: if wanted columns are missing or have other types; all of them are named.
            ParquetFileError: if the footer is damaged, or says what cannot be.
            DataMissingError: if there is no such file.
        """
        file = self._storage.open_input(path)
        try:
            return self._opened(path, file)
        except BaseException:
            file.close()
            raise

    def _opened(self, path: str, file: InputFile) -> ParquetBlocks:
        with naming(path):
            text, bytes_read = _footer_text(file)
            footer = Footer(text, file.size)
            constants = self._constants(path, footer)
            chosen = None if self.columns is None else [item for item in self.columns if item.name not in constants]
            known = self._plan
            if known is None or not known.fits(footer, chosen):
                known = self._plan = plan(footer, chosen, path)
        wanted = known.wanted if self.columns is None else self.columns
        return ParquetBlocks(
            path,
            file,
            footer,
            footer_bytes=bytes_read,
            plan=known,
            blocks=self._blocks(footer, known),
            names=tuple(column.name for column in wanted),
            constants=constants,
            decode=self.mode is not ReadMode.BYTES,
            verify=self.verify_checksums,
            clock=self._clock,
        )

    def _constants(self, path: str, footer: Footer) -> dict[str, Any]:
        """Return the values of the wanted columns that the path has instead of the file."""
        if not self.partitions or self.columns is None:
            return {}
        present = set(footer.schema.names)
        absent = [item for item in self.columns if item.name in self.partitions and item.name not in present]
        return partition_values(path, absent)

    def _blocks(self, footer: Footer, known: Plan) -> list[tuple[int, ...]]:
        """Return the row groups of each block."""
        groups = [group for group, rows in enumerate(footer.group_rows) if rows]
        if self.mode is not ReadMode.DEFAULT:
            window = self.group_window
            return [tuple(groups[first : first + window]) for first in range(0, len(groups), window)]
        blocks: list[tuple[int, ...]] = []
        start = total = 0
        for place, group in enumerate(groups):
            decoded = known.decoded_bytes(footer, group)
            if place > start and total + decoded > self.block_bytes:
                blocks.append(tuple(groups[start:place]))
                start, total = place, 0
            total += decoded
        return [*blocks, tuple(groups[start:])] if groups else []


def _footer_text(file: InputFile) -> tuple[memoryview, int]:
    """Return the footer of a file and the bytes read for it: one request, or two if it is long."""
    first = min(file.size, _FIRST_READ_BYTES)
    tail = reserved(first)
    _fill(file, file.size - first, tail)
    length = footer_bytes(tail, file.size)
    if length <= first:
        return tail[first - length :], first
    whole = reserved(length)
    _fill(file, file.size - length, whole[: length - first])
    whole[length - first :] = tail
    return whole, length


def _fill(file: InputFile, start: int, into: memoryview) -> None:
    got = file.pread(start, into)
    if got != len(into):
        msg = f"the footer cannot be read: {got} bytes came from byte {start}, not {len(into)}"
        raise ParquetFileError(msg)
