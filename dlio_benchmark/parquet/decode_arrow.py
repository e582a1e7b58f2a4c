"""Column chunks decoded by pyarrow from bytes that are in memory already.

pyarrow sees a file that consists of the fetched chunks only: each of its reads must be one of them.  So nothing
is read twice or on the side, the bytes are counted where they were fetched, and no file is ever mapped.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.schema import is_any_list
from dlio_benchmark.values import Values

_OFFSET_LIMIT_BYTES = 1 << 31
_LONGEST_WAIT_S = 1.0


class _NotFetchedError(OSError):
    """A read of bytes that are not in memory."""


class _Pieces:
    """A file object that has only ``pieces`` of its bytes, by the offset at which each starts."""

    closed = False

    def __init__(self, size: int) -> None:
        self.size, self.at = size, 0
        self.pieces: Mapping[int, memoryview] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        return self.at

    def read(self, count: int) -> memoryview:
        piece = self.pieces.get(self.at)
        if piece is None or len(piece) < count:
            msg = f"{count} bytes at {self.at} are not part of the wanted column chunks"
            raise _NotFetchedError(msg)
        self.at += count
        return piece[:count]

    def close(self) -> None:
        """Do nothing: nothing is open."""


class ArrowDecoder:
    """Decodes row groups of one file with pyarrow; several threads may do so at once.

    A pyarrow reader serves one thread at a time, so each thread takes an idle one, or opens one more from the
    metadata that are known already.
    """

    def __init__(self, metadata: pq.FileMetaData, file_bytes: int) -> None:
        self._metadata, self._file_bytes = metadata, file_bytes
        self._idle: list[tuple[_Pieces, pq.ParquetFile]] = []

    def read(self, group: int, leaves: Sequence[int], chunks: Mapping[int, memoryview]) -> pa.Table:
        """Return the columns of row group ``group`` that have ``leaves``, whose bytes are ``chunks`` by file offset."""
        with self._reader(chunks) as reader:
            return reader.read_row_group(group, column_indices=list(leaves), use_threads=False)

    def read_text(
        self, group: int, leaf: int, chunks: Mapping[int, memoryview], *, rows_at_once: int, most_bytes: int
    ) -> pa.ChunkedArray:
        """Return a column of text or bytes as `read` would, decoded in steps that end when it gets too large.

        Raises:
            ParquetFileError: if it decodes to more than ``most_bytes``.
        """
        parts: list[pa.Array] = []
        decoded = 0
        with self._reader(chunks) as reader:
            for batch in reader.iter_batches(rows_at_once, [group], [leaf], use_threads=False):
                parts.append(batch.column(0))
                decoded += parts[-1].nbytes
                _check_text(decoded, most_bytes)
        return pa.chunked_array([pa.concat_arrays(parts)])

    @contextmanager
    def _reader(self, chunks: Mapping[int, memoryview]) -> Iterator[Any]:
        source, file = self._taken()
        source.pieces = chunks
        try:
            yield file.reader
        finally:
            source.pieces = {}
            self._idle.append((source, file))

    def _taken(self) -> tuple[_Pieces, pq.ParquetFile]:
        try:
            return self._idle.pop()
        except IndexError:
            source = _Pieces(self._file_bytes)
            return source, pq.ParquetFile(source, metadata=self._metadata, pre_buffer=False)


def check_chunks(metadata: pq.FileMetaData, file_bytes: int, groups: Sequence[int], leaves: Sequence[int]) -> None:
    """See that pyarrow can make sense of what a footer says of the chunks of ``leaves`` in row groups ``groups``.

    Asked for a chunk that contradicts itself, pyarrow ends the process.  On its way to the first byte it looks at all
    of them, too, and then it raises; so it is sent for bytes that are not there.

    Raises:
        ParquetFileError: if a chunk contradicts itself, or is encrypted.
    """
    if not groups or not leaves:
        return
    asked = _Pieces(file_bytes)
    is_left = Event()
    leaving = weakref.ref(asked, lambda _: is_left.set())
    _look_at(asked, metadata, groups, leaves)
    del asked
    # Threads of pyarrow's ask for the bytes.  One that came to an interpreter that ends would abort the process.
    is_left.wait(_LONGEST_WAIT_S)
    del leaving


def _look_at(asked: _Pieces, metadata: pq.FileMetaData, groups: Sequence[int], leaves: Sequence[int]) -> None:
    file = pq.ParquetFile(asked, metadata=metadata, pre_buffer=True)
    try:
        file.reader.read_row_groups(list(groups), column_indices=list(leaves), use_threads=False)
    except _NotFetchedError:
        return
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        msg = f"the footer is damaged: {error}"
        raise ParquetFileError(msg) from error
    finally:
        del file  # the failed read keeps its traceback, in which this frame would keep the reader, in a circle


def _in_one(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    kind = column.type
    if pa.types.is_string(kind):
        column = column.cast(pa.large_string())
    elif pa.types.is_binary(kind):
        column = column.cast(pa.large_binary())
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], kind)


def _rows_of_lists(lists: pa.Array, size: int) -> Values:
    """Return lists as an array of shape (rows, size), or as a fixed-size list array where something is null."""
    if not pa.types.is_fixed_size_list(lists.type):
        lengths = lists.value_lengths()
        odd = next((n for n in lengths.unique().to_pylist() if n not in (size, None)), None)
        if odd is not None:
            msg = f"there is a list of {odd} values, but the column is configured with {size}"
            raise SchemaMismatchError(msg)
        lists = lists.cast(pa.list_(lists.type.value_field, size))
    flat = lists.flatten()
    if lists.null_count or flat.null_count:
        return lists
    return _numbers(flat).reshape(len(lists), size)


def _numbers(array: pa.Array) -> np.ndarray[Any, Any]:
    numbers: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=not pa.types.is_boolean(array.type))
    return numbers


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _check_text(decoded: int, most_bytes: int) -> None:
    if decoded > most_bytes:
        raise ParquetFileError(
            f"the values decode to {decoded} bytes or more; so few stored bytes may give {most_bytes}"
        )


def _plain(array: pa.Array, most_bytes: int) -> pa.Array:
    """Return an array of dictionary indices as the values that they stand for."""
    if is_octets(array.type.value_type):
        import pyarrow.compute as pc  # noqa: PLC0415

        lengths = pc.take(pc.binary_length(array.dictionary), array.indices)
        _check_text(pc.sum(lengths).as_py() or 0, most_bytes)
    return array.dictionary_decode()


def values_of(column: pa.ChunkedArray, target: pa.DataType, most_bytes: int) -> Values:
    """Return a decoded column as values of Arrow type ``target``: NumPy for numbers without nulls and lists of them.

    Raises:
        SchemaMismatchError: if a list is not as long as ``target`` says.
        ParquetFileError: if a dictionary stands for more than ``most_bytes`` bytes of text.
    """
    array = _in_one(column)
    if pa.types.is_fixed_size_list(target) and is_any_list(array.type) and _is_number(target.value_type):
        return _rows_of_lists(array, target.list_size)
    if pa.types.is_dictionary(array.type):
        array = _plain(array, most_bytes)
    if array.type != target and array.nbytes < _OFFSET_LIMIT_BYTES:
        array = array.cast(target)
    return _numbers(array) if _is_number(array.type) and array.null_count == 0 else array


_OFFSETS: dict[pa.DataType, np.dtype[Any]] = {
    pa.string(): np.dtype(np.int32),
    pa.binary(): np.dtype(np.int32),
    pa.large_string(): np.dtype(np.int64),
    pa.large_binary(): np.dtype(np.int64),
}


def is_octets(kind: pa.DataType) -> bool:
    """Return whether values of ``kind`` are text or bytes."""
    return kind in _OFFSETS or bool(pa.types.is_fixed_size_binary(kind))


@lru_cache(maxsize=16)
def _offsets(kind: pa.DataType, count: int, length: int) -> pa.Buffer:
    return pa.py_buffer(np.arange(0, (count + 1) * length, length, dtype=_OFFSETS[kind]))


def octets_of(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """Return equally long ``values``, an array of bytes per row, as an array of text or bytes that shares them."""
    count, length = len(values), values.dtype.itemsize
    offsets = [] if pa.types.is_fixed_size_binary(kind) else [_offsets(kind, count, length)]
    return pa.Array.from_buffers(kind, count, [None, *offsets, pa.py_buffer(values.view(np.uint8))])
