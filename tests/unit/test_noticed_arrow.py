"""Small wrongs of what is left to pyarrow: which bytes it sees, how much text it may make, and what comes out of it."""

from __future__ import annotations

import io
import mmap
import re
import weakref
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlio_benchmark.errors import ParquetFileError, SchemaMismatchError
from dlio_benchmark.parquet import decode_arrow
from dlio_benchmark.parquet.decode_arrow import ArrowDecoder, check_chunks, octets_of, values_of

MUCH = 1 << 30
TEXT = pa.table({"number": pa.array(range(100), pa.int64()), "text": [f"{row % 7}" * (row % 5) for row in range(100)]})


class OneFile:
    """A file in memory, of which a decoder is given single chunks."""

    def __init__(self, table: pa.Table = TEXT, **options: Any) -> None:
        sink = io.BytesIO()
        pq.write_table(table, sink, **options)
        self.body = sink.getvalue()
        self.metadata = pq.read_metadata(sink)
        self.decoder = ArrowDecoder(self.metadata, len(self.body))

    def chunks(self, group: int, *leaves: int) -> dict[int, memoryview]:
        """Return the bytes of chunks by their place in the file."""
        found = {}
        for leaf in leaves:
            chunk = self.metadata.row_group(group).column(leaf)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            found[start] = memoryview(self.body)[start : start + chunk.total_compressed_size]
        return found


def test_row_groups_are_decoded_from_their_own_chunks_again_and_again() -> None:
    file = OneFile(row_group_size=30)
    for group in (0, 3, 1, 2, 0):
        rows = slice(group * 30, group * 30 + 30)
        found = file.decoder.read(group, [0, 1], file.chunks(group, 0, 1))
        assert found.to_pydict() == {name: TEXT.column(name).to_pylist()[rows] for name in TEXT.column_names}
        assert file.decoder.read(group, [1], file.chunks(group, 1)).column_names == ["text"]
        with pytest.raises(OSError, match="are not part of the wanted column chunks"):
            file.decoder.read(group, [0, 1], file.chunks(group, 1))
    assert len(file.decoder._idle) == 1
    assert file.decoder._idle[0][0].pieces == {}


def test_text_is_decoded_in_steps_up_to_its_limit_and_no_byte_above() -> None:
    file = OneFile(row_group_size=50)
    for group in (0, 1):
        wanted = TEXT.column("text").to_pylist()[group * 50 : group * 50 + 50]
        for at_once in (1, 7, 50, 1000):
            steps = [pa.array(wanted[at : at + at_once]).nbytes for at in range(0, 50, at_once)]
            told = {"rows_at_once": at_once, "most_bytes": sum(steps)}
            found = file.decoder.read_text(group, 1, file.chunks(group, 1), **told)
            assert found.to_pylist() == wanted
            with pytest.raises(ParquetFileError, match=f"decode to {sum(steps)} bytes or more"):
                file.decoder.read_text(group, 1, file.chunks(group, 1), **told | {"most_bytes": sum(steps) - 1})
    assert len(file.decoder._idle) == 1


def contradicting(file: OneFile) -> list[bytes]:
    """Return the end of the file once for each chunk, with a histogram of three levels there, where there are two."""
    length = int.from_bytes(file.body[-8:-4], "little")
    footer = file.body[-8 - length : -8]
    found = []
    for histogram in re.finditer(rb"\x19\x26", footer):
        changed = footer[: histogram.start() + 1] + b"\x36\x00" + footer[histogram.end() :]
        found.append(changed + len(changed).to_bytes(4, "little") + b"PAR1")
    return found


def test_chunks_that_contradict_themselves_are_found_wherever_they_are_looked_for() -> None:
    file = OneFile(row_group_size=50)
    check_chunks(file.metadata, len(file.body), [0, 1], [0, 1])
    footers = contradicting(file)
    assert len(footers) == 4
    for number, footer in enumerate(footers):
        metadata = pq.read_metadata(io.BytesIO(b"PAR1" + footer))
        group, leaf = divmod(number, 2)
        for groups, leaves in (([0, 1], [0, 1]), ([group], [leaf]), ([group], [0, 1]), ([0, 1], [leaf])):
            with pytest.raises(ParquetFileError, match="histogram size mismatch"):
                check_chunks(metadata, len(file.body), groups, leaves)
        for groups, leaves in (([1 - group], [0, 1]), ([0, 1], [1 - leaf]), ([], [0, 1]), ([0, 1], [])):
            check_chunks(metadata, len(file.body), groups, leaves)


def test_no_thread_is_left_that_may_come_to_python_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread holds what is read from until somebody waits for it."""
    waited, held = Event(), []

    class Waiting(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.set()
            return super().wait(timeout)

    def hold(asked: object) -> None:
        held.append(weakref.ref(asked))
        waited.wait()

    def look(asked: object, *_: Any) -> None:
        Thread(target=hold, args=(asked,)).start()

    monkeypatch.setattr(decode_arrow, "Event", Waiting)
    monkeypatch.setattr(decode_arrow, "_look_at", look)
    file = OneFile(row_group_size=50)
    try:
        check_chunks(file.metadata, len(file.body), [0], [0])
        assert [reference() for reference in held] == [None]
    finally:
        waited.set()


CHUNKED: dict[str, tuple[pa.ChunkedArray, pa.DataType]] = {
    "none": (pa.chunked_array([], pa.int32()), pa.int32()),
    "no text": (pa.chunked_array([], pa.string()), pa.string()),
    "one": (pa.chunked_array([[1, 2]], pa.int32()), pa.int32()),
    "two": (pa.chunked_array([[1, 2], [3]], pa.int32()), pa.int32()),
    "text": (pa.chunked_array([["a", "b"], ["c"]]), pa.string()),
    "bytes": (pa.chunked_array([[b"a", b"b"], [b"c"]]), pa.binary()),
    "large text": (pa.chunked_array([["a"], ["b"]], pa.large_string()), pa.string()),
    "truths": (pa.chunked_array([[True, False], [True]]), pa.bool_()),
    "with nulls": (pa.chunked_array([[1, None], [3]], pa.int16()), pa.int16()),
    "of another width": (pa.chunked_array([[1, 2], [3]], pa.int32()), pa.int64()),
    "words": (pa.chunked_array([pa.array(["x", "y", "x", None]).dictionary_encode()]), pa.string()),
    "numbers by index": (pa.chunked_array([pa.array([7, 8, 7]).dictionary_encode()]), pa.int64()),
    "lists of text": (pa.chunked_array([[["a"], ["b"]], [["c"]]]), pa.list_(pa.string())),
    "pairs": (pa.chunked_array([[[1, 2], [3, 4]], [[5, 6]]], pa.list_(pa.int32(), 2)), pa.list_(pa.int32(), 2)),
    "lists of two": (pa.chunked_array([[[1, 2], [3, 4]], [[5, 6]]], pa.list_(pa.int32())), pa.list_(pa.int32(), 2)),
    "large lists of two": (pa.chunked_array([[[1, 2]], [[5, 6]]], pa.large_list(pa.int32())), pa.list_(pa.int32(), 2)),
    "pairs and nulls": (pa.chunked_array([[[1, 2], None, [3, None]]], pa.list_(pa.int8())), pa.list_(pa.int8(), 2)),
    "a null among pairs": (pa.chunked_array([[[1, 2], [3, None]]], pa.list_(pa.int8())), pa.list_(pa.int8(), 2)),
    "pairs of truths": (pa.chunked_array([[[True, False]]], pa.list_(pa.bool_(), 2)), pa.list_(pa.bool_(), 2)),
    "pairs of halves": (
        pa.chunked_array([pa.array([[np.float16(1), np.float16(2)]], pa.list_(pa.float16()))]),
        pa.list_(pa.float16(), 2),
    ),
}
NUMBERS = ("none", "one", "two", "truths", "of another width", "numbers by index")
LISTS = ("pairs", "lists of two", "large lists of two", "pairs of truths", "pairs of halves")


@pytest.mark.parametrize("name", CHUNKED)
def test_columns_of_pyarrow_come_out_as_numpy_where_they_are_numbers_without_nulls(name: str) -> None:
    column, target = CHUNKED[name]
    found = values_of(column, target, MUCH)
    assert isinstance(found, np.ndarray) == (name in NUMBERS + LISTS)
    wanted = column.to_pylist()
    if isinstance(found, np.ndarray):
        assert found.dtype == (target.value_type if name in LISTS else target).to_pandas_dtype()
        assert found.shape == ((len(wanted), 2) if name in LISTS else (len(wanted),))
        assert found.tolist() == wanted
    else:
        assert found.to_pylist() == wanted
        assert isinstance(found, pa.Array)
        if name != "lists of text":
            assert found.type == target or pa.types.is_fixed_size_list(target)


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.large_list(pa.int32())])
def test_lists_of_another_length_than_configured_are_named(kind: pa.DataType) -> None:
    for odd in ([1], [1, 2, 3], []):
        column = pa.chunked_array([[[1, 2], None], [odd, [3, 4]]], kind)
        with pytest.raises(SchemaMismatchError, match=f"a list of {len(odd)} values.*configured with 2"):
            values_of(column, pa.list_(pa.int32(), 2), MUCH)


def test_words_stand_for_no_more_text_than_their_bytes_may_give() -> None:
    for kind in (pa.string(), pa.binary()):
        words = pa.array(["long", "x", None, "long", "long"]).cast(kind).dictionary_encode()
        column = pa.chunked_array([words])
        assert len(values_of(column, kind, 13)) == 5
        with pytest.raises(ParquetFileError, match="13 bytes or more; so few stored bytes may give 12"):
            values_of(column, kind, 12)
    nothing = pa.chunked_array([pa.array([None, None], pa.string()).dictionary_encode()])
    assert values_of(nothing, pa.string(), 0).to_pylist() == [None, None]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(3)])
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_equally_long_text_shares_the_memory_of_its_values(kind: pa.DataType, rows: int) -> None:
    texts = [f"{row:03}".encode() for row in range(rows)]
    values = np.array(texts, "V3")
    found = octets_of(values, kind)
    found.validate(full=True)
    assert found.type == kind
    assert found.cast(pa.binary()).to_pylist() == texts
    assert found.buffers()[-1].address == values.__array_interface__["data"][0]


def test_text_stays_in_large_offsets_from_two_gibibytes_on() -> None:
    limit = 1 << 31
    nothing = pa.py_buffer(mmap.mmap(-1, limit, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ))
    for size, kind in ((limit - 9, pa.string()), (limit - 8, pa.large_string())):
        offsets = pa.py_buffer(np.array([0, size], np.int64))
        text = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, nothing])
        assert text.nbytes == size + 8
        found = values_of(pa.chunked_array([text]), pa.string(), MUCH)
        assert found.type == kind
        assert found.buffers()[2].address == nothing.address
