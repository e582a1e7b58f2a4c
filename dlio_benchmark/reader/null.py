"""A reader without storage: what is measured with it is everything but reading."""

from __future__ import annotations

from collections.abc import Sequence

from dlio_benchmark.batch import Block
from dlio_benchmark.reader.base import BlockRead, BlockShape


class NullReader:
    """Opens any path as a file of ``rows`` rows in blocks of ``block_rows`` without columns, at no cost."""

    decode: str = "none"

    def __init__(self, rows: int, block_rows: int) -> None:
        self.rows, self.block_rows = rows, block_rows

    def open(self, path: str) -> NullFile:
        """Return a file that holds nothing; ``path`` need not exist."""
        whole, rest = divmod(self.rows, self.block_rows)
        counts = [self.block_rows] * whole + [rest] * (rest > 0)
        shapes = tuple(BlockShape(rows, 1, 0, 0) for rows in counts)
        return NullFile(path, shapes)


class NullFile:
    """An open file of a `NullReader`."""

    footer_bytes = 0

    def __init__(self, path: str, shapes: Sequence[BlockShape]) -> None:
        self.path = path
        self.shapes = shapes
        by_rows = {shape.rows: BlockRead(Block(shape.rows), 1, 0, 0, 0, 0, 0) for shape in shapes}
        self._reads = [by_rows[shape.rows] for shape in shapes]

    def read(self, index: int) -> BlockRead:
        """Return block ``index``: rows without values."""
        return self._reads[index]

    def close(self) -> None:
        """Do nothing."""
