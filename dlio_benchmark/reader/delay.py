"""A reader whose blocks come late by a known time, to calibrate what the metrics say about slow storage."""

from __future__ import annotations

from dataclasses import replace

from dlio_benchmark.clock import Clock
from dlio_benchmark.reader.base import BlockRead, OpenFile, Reader


class DelayReader:
    """Opens files with ``reader``; each of their blocks takes ``seconds`` longer, which counts as I/O."""

    def __init__(self, reader: Reader, seconds: float, clock: Clock) -> None:
        self.decode = reader.decode
        self._reader, self._seconds, self._clock = reader, seconds, clock

    def open(self, path: str) -> DelayFile:
        """Open ``path`` as the wrapped reader does."""
        return DelayFile(self._reader.open(path), self._seconds, self._clock)


class DelayFile:
    """An open file of a `DelayReader`."""

    def __init__(self, file: OpenFile, seconds: float, clock: Clock) -> None:
        self.path, self.footer_bytes, self.shapes = file.path, file.footer_bytes, file.shapes
        self._file, self._seconds, self._clock = file, seconds, clock

    def read(self, index: int) -> BlockRead:
        """Return block ``index`` after the delay."""
        begin_ns = self._clock.now_ns()
        self._clock.sleep(self._seconds)
        delay_ns = self._clock.now_ns() - begin_ns
        found = self._file.read(index)
        return replace(found, io_ns=found.io_ns + delay_ns)

    def close(self) -> None:
        """Release the file."""
        self._file.close()
