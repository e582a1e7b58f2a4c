"""DLIO's face of the Parquet reader: samples one by one, out of row groups that are read and decoded once."""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from typing import Any

from dlio_benchmark.batch import Block
from dlio_benchmark.clock import RealClock
from dlio_benchmark.common.enumerations import DatasetType, ReadMode
from dlio_benchmark.config.model import Workload
from dlio_benchmark.engine.parts import reader_of
from dlio_benchmark.errors import DataError
from dlio_benchmark.reader.base import OpenFile
from dlio_benchmark.reader.reader_handler import FormatReader
from dlio_benchmark.storage.local import LocalStorage


class ParquetReader(FormatReader):
    """Reads Parquet files with the columns of the configuration, by row group.

    One row group of each open file is kept, so samples should be asked for in the order in which they lie.
    """

    def __init__(self, dataset_type: DatasetType, thread_index: int, epoch: int = 1) -> None:
        super().__init__(dataset_type, thread_index)
        self.epoch = epoch
        self._reader = reader_of(_by_row_group(self._args.workload()), LocalStorage(os.sep), RealClock())
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


def _by_row_group(workload: Workload) -> Workload:
    parquet = workload.dataset.parquet
    if parquet.read_mode is ReadMode.DEFAULT:
        parquet = replace(parquet, read_mode=ReadMode.ROW_GROUP)
    return replace(workload, dataset=replace(workload.dataset, parquet=parquet))
