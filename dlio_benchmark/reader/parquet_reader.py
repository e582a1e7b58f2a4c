"""Parquet files as blocks of rows: only the wanted column chunks are read, and each byte is counted."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from dlio_benchmark.batch import Block
from dlio_benchmark.clock import Clock, RealClock
from dlio_benchmark.common.enumerations import DatasetType, ReadMode
from dlio_benchmark.config.columns import wanted_columns
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.errors import DataError, ParquetFileError
from dlio_benchmark.memory import Pieces
from dlio_benchmark.parquet.decode_footer import Footer, footer_bytes
from dlio_benchmark.parquet.decode_form import Slots
from dlio_benchmark.parquet.decode_outline import Outline
from dlio_benchmark.parquet.decode_path import partition_values
from dlio_benchmark.parquet.decode_plan import Plan, plan
from dlio_benchmark.reader.base import OpenFile
from dlio_benchmark.reader.parquet_blocks import ParquetBlocks, naming
from dlio_benchmark.reader.reader_handler import FormatReader
from dlio_benchmark.storage.base import InputFile, Storage
from dlio_benchmark.storage.local import LocalStorage

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
        block_bytes: int = 1 << 20,
        group_window: int = 1,
        clock: Clock | None = None,
        memory: Pieces | None = None,
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
        self._memory = memory or Pieces()
        self._rooms = Pieces()
        self._outline: Outline | None = None

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
            outline = self._outline
            if outline is None or not outline.holds_for(text, file.size):
                outline = self._outline = self._outlined(path, text, file.size)
            constants = partition_values(path, outline.absent)
        wanted = outline.plan.wanted if self.columns is None else self.columns
        return ParquetBlocks(
            path,
            file,
            outline,
            footer_bytes=bytes_read,
            names=tuple(column.name for column in wanted),
            constants=constants,
            decode=self.mode is not ReadMode.BYTES,
            verify=self.verify_checksums,
            clock=self._clock,
            memory=self._memory,
            rooms=self._rooms,
        )

    def _outlined(self, path: str, text: bytes, file_bytes: int) -> Outline:
        """Return what the footer ``text`` says of the file at ``path``."""
        footer = Footer(text, file_bytes)
        absent = self._absent(footer)
        chosen = None if self.columns is None else [item for item in self.columns if item not in absent]
        former, slots = self._outline, Slots()
        if former is not None and former.plan.fits(footer, chosen):
            known, slots = former.plan, former.slots
        else:
            known = plan(footer, chosen, path)
        _check(footer, known)
        return Outline(text, file_bytes, footer, known, self._blocks(footer, known), absent=absent, slots=slots)

    def _absent(self, footer: Footer) -> tuple[Column, ...]:
        """Return the wanted columns that stand in the path instead of the file."""
        if not self.partitions or self.columns is None:
            return ()
        present = set(footer.schema.names)
        return tuple(item for item in self.columns if item.name in self.partitions and item.name not in present)

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


def _check(footer: Footer, known: Plan) -> None:
    """See that a file of our own has no nulls, which it never has.

    Raises:
        ParquetFileError: if its footer allows them.
    """
    if not footer.is_own:
        return
    nullable = [column.name for column in known.wanted if column.leaf and column.leaf.max_def > column.leaf.max_rep]
    if nullable:
        names = ", ".join(map(repr, nullable))
        raise ParquetFileError(f"the footer is damaged: it allows nulls in {names}, where its writer puts none")


def _footer_text(file: InputFile) -> tuple[bytes, int]:
    """Return the footer of a file and the bytes read for it: one request, or two if it is long."""
    first = min(file.size, _FIRST_READ_BYTES)
    tail = memoryview(bytearray(first))
    _fill(file, file.size - first, tail)
    length = footer_bytes(tail, file.size)
    if length <= first:
        return bytes(tail[first - length :]), first
    whole = memoryview(bytearray(length))
    _fill(file, file.size - length, whole[: length - first])
    whole[length - first :] = tail
    return bytes(whole), length


def _fill(file: InputFile, start: int, into: memoryview) -> None:
    got = file.pread(start, into)
    if got != len(into):
        msg = f"the footer cannot be read: {got} bytes came from byte {start}, not {len(into)}"
        raise ParquetFileError(msg)


class ParquetReader(FormatReader):
    """Reads Parquet files with the columns of the configuration, by row group.

    One row group of each open file is kept, so samples should be asked for in the order in which they lie.
    """

    def __init__(self, dataset_type: DatasetType, thread_index: int, epoch: int = 1) -> None:
        super().__init__(dataset_type, thread_index)
        self.epoch = epoch
        self._reader = _by_row_group(self._args.workload())
        self._pf_cache: dict[str, tuple[OpenFile, list[int]]] = {}
        self._rg_cache: dict[tuple[str, int], int] = {}
        self._blocks: dict[str, tuple[int, Block]] = {}

    def open(self, filename: str) -> tuple[OpenFile, list[int]]:
        """Return the file and the first row of each of its row groups, then its rows; the same pair while it is open.

        Raises:
            SchemaMismatchError: if configured columns are absent or have other types.
            ParquetFileError: if the footer is damaged.
            DataMissingError: if there is no such file.
        """
        if filename not in self._pf_cache:
            file = self._reader.open(os.path.relpath(os.path.abspath(filename), os.sep))
            rows = (shape.rows for shape in file.shapes)
            self._pf_cache[filename] = file, list(accumulate(rows, initial=0))
        return self._pf_cache[filename]

    def get_sample(self, filename: str, sample_index: int) -> dict[str, Any]:
        """Return the values of a row by column, decoded; empty in read mode ``bytes``.

        Raises:
            DataError: if the file has no such row.
            ParquetFileError: if the row group is damaged.
        """
        file, offsets = self.open(filename)
        if not 0 <= sample_index < offsets[-1]:
            msg = f"{filename}: there is no row {sample_index}; the file has {offsets[-1]} rows"
            raise DataError(msg)
        index = bisect_right(offsets, sample_index) - 1
        block = self._block(filename, file, index)
        return {name: values[sample_index - offsets[index]] for name, values in block.columns.items()}

    def _block(self, filename: str, file: OpenFile, index: int) -> Block:
        kept, block = self._blocks.get(filename, (-1, None))
        if block is None or kept != index:
            got = file.read(index)
            block = got.block
            self._blocks[filename] = index, block
            self._rg_cache[filename, index] = got.bytes_read
        return block

    def close(self, filename: str) -> None:
        """Release a file and the row group that is kept of it."""
        super().close(filename)
        self._blocks.pop(filename, None)
        if filename in self._pf_cache:
            self._pf_cache.pop(filename)[0].close()

    def finalize(self) -> None:
        """Close every file, and forget what was read."""
        super().finalize()
        for filename in list(self._pf_cache):
            self.close(filename)
        self._rg_cache.clear()


def _by_row_group(workload: Workload) -> ParquetRows:
    parquet = workload.dataset.parquet
    return ParquetRows(
        LocalStorage(os.sep),
        wanted_columns(workload),
        ReadMode.ROW_GROUP if parquet.read_mode is ReadMode.DEFAULT else parquet.read_mode,
        partitions=() if parquet.partition_by is None else (parquet.partition_by,),
        verify_checksums=parquet.verify_checksums,
    )
