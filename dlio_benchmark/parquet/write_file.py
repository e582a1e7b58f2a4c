"""One Parquet file: pages made from rows, laid down in order, and the footer that says where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import xxhash

from dlio_benchmark.common.enumerations import Compression
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import CannotCreateError
from dlio_benchmark.parquet.encode import ChunkEncoder, Codec, Page, Part, Rows
from dlio_benchmark.parquet.encode_footer import MAGIC, ChunkWritten, FooterBuilder, tail
from dlio_benchmark.parquet.encode_schema import values_per_row
from dlio_benchmark.parquet.write_pipeline import Job, in_order
from dlio_benchmark.parquet.write_plan import FileShape, PageSpan
from dlio_benchmark.storage.base import OutputFile

_LIGHT_BYTES = 64 << 10
_HEAVY = frozenset({Compression.GZIP, Compression.ZSTD})
_STAGE_BYTES = 4 << 20


class Sink:
    """A file being written, its length so far, and the digest of its bytes.

    All writes but the last are of the same round size at round offsets, which the page cache takes best.
    """

    def __init__(self, out: OutputFile, on_bytes: Callable[[int], None]) -> None:
        self._out, self._on_bytes = out, on_bytes
        self._hash = xxhash.xxh3_128()
        self._stage = np.empty(_STAGE_BYTES, np.uint8)
        self._staged = 0
        self.bytes = 0

    def add(self, parts: Iterable[Part]) -> None:
        """Append ``parts``; they may be changed after the call."""
        for part in parts:
            many = len(part)
            self.bytes += many
            octets, done = np.frombuffer(part, np.uint8), 0
            while done < many:
                room = min(many - done, _STAGE_BYTES - self._staged)
                # NumPy lets other threads run meanwhile.
                np.copyto(self._stage[self._staged : self._staged + room], octets[done : done + room])
                self._staged += room
                done += room
                if self._staged == _STAGE_BYTES:
                    self.flush()

    def flush(self) -> None:
        """Write what is staged."""
        if self._staged:
            self._write(self._stage[: self._staged].data)
            self._staged = 0

    def digest(self) -> str:
        """Return the xxh3_128 of all that has been written, in hexadecimal."""
        return str(self._hash.hexdigest())

    def _write(self, part: Part) -> None:
        self._hash.update(part)
        self._on_bytes(self._out.write(part))


class PageMaker:
    """Makes the pages of a file; `make` may be called from several threads at once."""

    def __init__(self, path: str, columns: Sequence[Column], rows: Sequence[Rows], shape: FileShape, *, codec: Codec):
        self._path, self._columns, self._rows, self._shape = path, columns, rows, shape
        self._is_light = shape.mean_page_bytes < _LIGHT_BYTES and codec.compression not in _HEAVY
        self._encoders = {
            group_rows: [ChunkEncoder(column, codec, group_rows * values_per_row(column)) for column in columns]
            for group_rows in {min(shape.group_rows, shape.rows), shape.rows % shape.group_rows} - {0}
        }

    def useful(self, threads: int) -> int:
        """Return how many of ``threads`` help: with light pages several only wait for the interpreter, so one."""
        return min(threads, 1) if self._is_light else threads

    def encoder(self, span: PageSpan) -> ChunkEncoder:
        """Return what encodes the chunk that ``span`` belongs to."""
        _, start, stop = self._shape.group_of(span.start)
        return self._encoders[stop - start][span.column]

    def make(self, spans: Sequence[PageSpan]) -> list[Page]:
        """Return the data page of each span.

        Raises:
            CannotCreateError: if there is no memory for it, or the codec fails; names file, row group and column.
        """
        return [self._page(span) for span in spans]

    def _page(self, span: PageSpan) -> Page:
        try:
            return self.encoder(span).page(self._rows[span.column], span.start, span.stop)
        except (MemoryError, pa.ArrowException) as error:
            msg = f"{self._where(span)}: cannot make a page of {self._shape.payload_bytes([span])} bytes: {error!r}"
            raise CannotCreateError(msg) from error
        except Exception as error:
            error.add_note(self._where(span))
            raise

    def _where(self, span: PageSpan) -> str:
        group = self._shape.group_of(span.start)[0]
        return f"{self._path}: row group {group}, column {self._columns[span.column].name!r}"


@dataclass(slots=True)
class GroupRecorder:
    """Lays pages into the sink and tells the footer of each row group that is whole."""

    sink: Sink
    footer: FooterBuilder
    maker: PageMaker
    shape: FileShape
    chunks: list[ChunkWritten]

    def add_all(self, pages: Iterable[tuple[PageSpan, Page]]) -> None:
        """Append the next pages of the file, and before the first of a chunk its dictionary."""
        for span, page in pages:
            self._add(span, page)

    def _add(self, span: PageSpan, page: Page) -> None:
        _, start, stop = self.shape.group_of(span.start)
        if span.start == start:
            self.chunks.append(ChunkWritten(self.maker.encoder(span), self.sink.bytes))
            if self.chunks[-1].encoder.dictionary is not None:
                self._lay(self.chunks[-1].encoder.dictionary)
        self._lay(page)
        if span.stop == stop and len(self.chunks) == len(self.shape.page_rows):
            self.footer.add_group(stop - start, self.chunks)
            self.chunks.clear()

    def _lay(self, page: Page) -> None:
        self.chunks[-1].add(page)
        self.sink.add(page.parts)


def write_pages(maker: PageMaker, shape: FileShape, sink: Sink, footer: FooterBuilder, *, threads: int) -> bytes:
    """Write a whole file to ``sink`` and return its end: footer, length, magic bytes."""
    recorder = GroupRecorder(sink, footer, maker, shape, [])
    jobs = (Job(partial(_made, maker, spans), shape.payload_bytes(spans)) for spans in shape.jobs())
    sink.add([MAGIC])
    with closing(in_order(jobs, maker.useful(threads))) as made:
        for pages in made:
            recorder.add_all(pages)
            del pages  # so that they are gone while the next are awaited
    end = tail(footer.encoded())
    sink.add([end])
    sink.flush()
    return end


def _made(maker: PageMaker, spans: Sequence[PageSpan]) -> list[tuple[PageSpan, Page]]:
    return list(zip(spans, maker.make(spans), strict=True))
