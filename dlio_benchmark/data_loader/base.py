"""What turns a plan into batches, and the walk over a plan that every loader makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from dlio_benchmark.batch import Batch, Run
from dlio_benchmark.clock import Clock
from dlio_benchmark.config.duration import Dice, Duration
from dlio_benchmark.memory import Pieces
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Piece
from dlio_benchmark.reader.base import BlockRead, OpenFile, Reader, ReadRows

Paths = Callable[[int], str]


class Loader(Protocol):
    """Gives the batches of a plan; one epoch at a time."""

    @property
    def name(self) -> str:
        """The loader in a word, as results carry it."""

    def batches(self, plan: EpochPlan, paths: Paths, tally: Tally) -> Iterator[Batch]:
        """Yield ``len(plan)`` batches in the order of the plan, and count into ``tally`` what was read for them.

        Args:
            plan: which rows of which files.
            paths: path of a file by its number.
            tally: is complete once the iterator has ended.

        Raises:
            DlioError: as the reader raises it; later batches do not come.
        """

    def close(self) -> None:
        """Stop threads and workers; calling it again does nothing."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Emulated work per sample, done where blocks are read."""

    per_sample: Duration
    clock: Clock
    dice: Dice

    def work(self, rows: int) -> None:
        """Take the time that ``rows`` samples need."""
        if not self.per_sample.is_zero:
            self.clock.sleep(sum(self.per_sample.draw(self.dice) for _ in range(rows)))


@dataclass(frozen=True, slots=True)
class Source:
    """Reads the pieces of a plan: the one place where blocks become runs and are counted."""

    reader: Reader
    clock: Clock
    preprocessing: Preprocessing | None = None
    memory: Pieces = field(default_factory=Pieces)

    def open(self, path: str) -> tuple[OpenFile, Tally]:
        """Open a file; the tally says what its footer took."""
        begin = self.clock.now_ns()
        file = self.reader.open(path)
        return file, Tally(files=1, footer_bytes=file.footer_bytes, io_ns=self.clock.now_ns() - begin)

    def read(self, file: OpenFile, piece: Piece) -> tuple[Run, Tally]:
        """Read the block of a piece and return the run of its rows, shuffled where the plan says so."""
        shape = file.shapes[piece.block]
        if piece.moves_rows:
            got, shuffle_ns = self._moved(file, piece, shape.rows)
            run, decode_ns = (got.block, 0, got.block.rows), got.decode_ns
        else:
            got, shuffle_ns = file.read(piece.block), 0
            begin = self.clock.now_ns()
            run = (got.block.whole(self.memory), piece.start, piece.stop)
            decode_ns = got.decode_ns + self.clock.now_ns() - begin
        tally = Tally(
            rows=piece.stop - piece.start,
            row_groups=got.row_groups,
            blocks=1,
            requests=got.requests,
            bytes_promised=shape.stored_bytes,
            bytes_requested=got.bytes_requested,
            bytes_read=got.bytes_read,
            io_ns=got.io_ns,
            decode_ns=decode_ns,
            shuffle_ns=shuffle_ns,
        )
        del got  # its parts are not kept while samples are worked on
        if self.preprocessing is not None:
            begin = self.clock.now_ns()
            self.preprocessing.work(piece.stop - piece.start)
            tally.preprocess_ns = self.clock.now_ns() - begin
        return run, tally

    def _moved(self, file: OpenFile, piece: Piece, rows: int) -> tuple[BlockRead, int]:
        """Read a block of ``rows`` rows, and return those of a piece in their order, and the time that moving took."""
        now_ns = self.clock.now_ns
        read_rows: ReadRows | None = getattr(file, "read_rows", None)
        if read_rows is not None:
            begin = now_ns()
            chosen = piece.chosen(rows)
            took_ns = now_ns() - begin
            got = read_rows(piece.block, chosen)
            return got, took_ns + got.shuffle_ns
        got = file.read(piece.block)
        begin = now_ns()
        block = got.block.take(piece.chosen(got.block.rows), self.memory)
        return replace(got, block=block), now_ns() - begin


def block_rows(file: OpenFile) -> Sequence[int]:
    """Return the rows of each block of a file."""
    return [shape.rows for shape in file.shapes]
