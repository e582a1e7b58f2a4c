"""Wrong readers that give other rows, or none, for what is in a file, or do not give the file back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlio_benchmark.batch import Block
from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.memory import Pieces
from dlio_benchmark.reader.base import BlockRead, OpenFile
from verification.saboteurs.wrong_reader import WrongFile, WrongReader

Alter = Callable[["_Altered", int], BlockRead]


class _Altered(WrongFile):
    def __init__(self, inner: OpenFile, alter: Alter) -> None:
        super().__init__(inner)
        self._alter = alter

    def read(self, index: int) -> BlockRead:
        return self._alter(self, index)


def _taken(got: BlockRead, rows: Sequence[int] | np.ndarray[Any, Any]) -> BlockRead:
    return replace(got, block=got.block.take(np.asarray(rows, dtype=np.int64), Pieces()))


def _one_late(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    return _taken(got, np.minimum(np.arange(got.block.rows) + 1, max(0, got.block.rows - 1)))


def _last_row_lost(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    last = index == len(file.shapes) - 1
    return _taken(got, np.arange(got.block.rows - (1 if last and got.block.rows else 0)))


def _first_row_again(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    rows = np.arange(got.block.rows)
    rows[-1:] = 0
    return _taken(got, rows)


def _block_before(file: _Altered, index: int) -> BlockRead:
    return file.inner.read(max(0, index - 1))


def _renamed(got: BlockRead, columns: Mapping[str, Any]) -> BlockRead:
    return replace(got, block=Block(got.block.rows, columns))


def _sorted_columns(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    return _renamed(got, dict(sorted(got.block.columns.items())))


def _swapped_columns(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    names, values = list(got.block.columns), list(got.block.columns.values())
    return _renamed(got, dict(zip(names, values[1:] + values[:1], strict=True)))


def _without_nulls(file: _Altered, index: int) -> BlockRead:
    got = file.inner.read(index)
    return _renamed(got, {name: _filled(values) for name, values in got.block.columns.items()})


def _filled(values: Any) -> Any:
    if isinstance(values, np.ndarray) or not values.null_count or pa.types.is_nested(values.type):
        return values
    return pc.fill_null(values, pa.scalar(0).cast(values.type))


def _without_errors(file: _Altered, index: int) -> BlockRead:
    try:
        return file.inner.read(index)
    except ParquetFileError:
        shape = file.shapes[index]
        return BlockRead(Block(0), shape.row_groups, shape.stored_bytes, shape.stored_bytes, 1, 0, 0)


def _zeros_for_errors(file: _Altered, index: int) -> BlockRead:
    try:
        return file.inner.read(index)
    except ParquetFileError:
        shape = file.shapes[index]
        names = getattr(file.inner, "_names", ())
        columns = {name: pa.nulls(shape.rows, pa.int64()) for name in names}
        return BlockRead(Block(shape.rows, columns), shape.row_groups, shape.stored_bytes, shape.stored_bytes, 1, 0, 0)


class _AltersBlocks(WrongReader):
    alter: Alter

    def open(self, path: str) -> OpenFile:
        return _Altered(self.inner.open(path), type(self).alter)


def _altering(name: str, alter: Alter) -> type[_AltersBlocks]:
    return type(name, (_AltersBlocks,), {"alter": staticmethod(alter), "__module__": __name__})


class _Unclosed(WrongFile):
    def close(self) -> None:
        """Do nothing."""


class LeaksOpenFiles(WrongReader):
    """Never closes a file."""

    leaked: list[OpenFile] = []

    def open(self, path: str) -> OpenFile:
        file = self.inner.open(path)
        self.leaked.append(file)
        return _Unclosed(file)


class VerifiesNoChecksums(WrongReader):
    """Reads pages without looking at their checksum."""


ALTERING: Mapping[str, type[_AltersBlocks]] = {
    "off-by-one-row": _altering("OffByOneRow", _one_late),
    "drops-the-last-rows": _altering("DropsTheLastRows", _last_row_lost),
    "reads-a-row-twice": _altering("ReadsARowTwice", _first_row_again),
    "stale-buffer": _altering("StaleBuffer", _block_before),
    "ignores-the-column-order": _altering("IgnoresTheColumnOrder", _sorted_columns),
    "swaps-two-columns": _altering("SwapsTwoColumns", _swapped_columns),
    "drops-nulls": _altering("DropsNulls", _without_nulls),
    "swallows-read-errors": _altering("SwallowsReadErrors", _without_errors),
    "serves-nulls-for-damage": _altering("ServesNullsForDamage", _zeros_for_errors),
}
"""Readers that differ from the right one in what they make of a block."""
