"""Runs of rows packed into one buffer, so that they travel between processes as a single piece of memory.

NumPy columns are laid down as they are, each at an aligned place; Arrow columns of a run follow as one Arrow IPC
stream.  Unpacking copies nothing: what comes out are views of the buffer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlio_benchmark.batch import Block, Run
from dlio_benchmark.values import Values

Octets = NDArray[np.uint8]

_ALIGN = 64


@dataclass(frozen=True, slots=True)
class _Laid:
    """Where the values of one column stand; ``dtype`` None means in the Arrow stream of the run."""

    name: str
    start: int = 0
    dtype: str | None = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RunLayout:
    """Where the columns of one run stand in the buffer; ``stream`` is the extent of its Arrow columns."""

    rows: int
    columns: tuple[_Laid, ...]
    stream: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Parcel:
    """Runs that wait to be packed: their layouts, and the bytes of the buffer that they need."""

    runs: Sequence[tuple[RunLayout, dict[str, Values]]]
    bytes: int

    def layouts(self) -> tuple[RunLayout, ...]:
        """Return what the receiver needs to find the values."""
        return tuple(layout for layout, _ in self.runs)

    def pack(self, into: Octets) -> None:
        """Copy all values to their places in ``into``, which is at least `bytes` long."""
        for layout, columns in self.runs:
            for column in layout.columns:
                if column.dtype is not None:
                    _view(into, column)[...] = columns[column.name]
            start, stop = layout.stream
            if stop > start:
                _write(_arrow_part(layout, columns), pa.FixedSizeBufferWriter(pa.py_buffer(into[start:stop])))


def parcel_of(runs: Iterable[Run]) -> Parcel:
    """Return ``runs`` with places for all their values; nothing is copied yet."""
    place = 0
    out: list[tuple[RunLayout, dict[str, Values]]] = []
    for block, first, last in runs:
        columns = {name: values[first:last] for name, values in block.columns.items()}
        laid: list[_Laid] = []
        for name, values in columns.items():
            if isinstance(values, np.ndarray):
                laid.append(_Laid(name, place, values.dtype.str, values.shape))
                place = _aligned(place + values.nbytes)
            else:
                laid.append(_Laid(name))
        layout = RunLayout(last - first, tuple(laid))
        if any(column.dtype is None for column in laid):
            mock = pa.MockOutputStream()
            _write(_arrow_part(layout, columns), mock)
            layout = RunLayout(layout.rows, layout.columns, (place, place + mock.size()))
            place = _aligned(place + mock.size())
        out.append((layout, columns))
    return Parcel(out, place)


def unpacked(memory: Octets, layouts: Iterable[RunLayout]) -> Iterator[Run]:
    """Yield the runs that were packed into ``memory``; their values are views of it."""
    for layout in layouts:
        start, stop = layout.stream
        arrow = _read(memory[start:stop]) if stop > start else {}
        columns = {
            column.name: arrow[column.name] if column.dtype is None else _view(memory, column)
            for column in layout.columns
        }
        yield Block(layout.rows, columns), 0, layout.rows


def _aligned(place: int) -> int:
    return -(-place // _ALIGN) * _ALIGN


def _view(memory: Octets, column: _Laid) -> NDArray[Any]:
    return np.ndarray(column.shape, np.dtype(column.dtype), memory, column.start)


def _arrow_part(layout: RunLayout, columns: dict[str, Values]) -> pa.RecordBatch:
    names = [column.name for column in layout.columns if column.dtype is None]
    return pa.RecordBatch.from_arrays([columns[name] for name in names], names)


def _write(batch: pa.RecordBatch, sink: pa.NativeFile) -> None:
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _read(memory: Octets) -> dict[str, pa.Array]:
    with pa.ipc.open_stream(pa.py_buffer(memory)) as reader:
        batch = reader.read_next_batch()
    return dict(zip(batch.schema.names, batch.columns, strict=True))
