"""What stands before the values in the chunks of a portion, remembered from a portion of the same make.

Chunks that are views differ, from one row group to the next and from one file to the next, in their values and in the
checksums of their pages, and in nothing else.  A form knows all other bytes.  A portion whose bytes are those needs
no header read: its values stand where they stood.  A portion that differs in a single one of them is read anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlio_benchmark.parquet.decode import Array
from dlio_benchmark.parquet.decode_headers import DICTIONARY_PAGE, checksum_bytes, page_header

_MORE = np.uint8(0x80)
_EVERY = np.uint8(0xFF)


class View(NamedTuple):
    """Values that were viewed in a portion: bytes ``[start, stop)`` are their chunk, ``values`` the array."""

    start: int
    stop: int
    values: Array


_Place = tuple[np.dtype[Any], int, int]


class _Columns(Mapping[str, Array]):
    """Columns as views of a portion's memory."""

    __slots__ = ("_memory", "_places")

    def __init__(self, memory: memoryview, places: dict[str, _Place]) -> None:
        self._memory, self._places = memory, places

    def __getitem__(self, name: str) -> Array:
        return np.frombuffer(self._memory, *self._places[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # a copy has the values, and none of the bytes between them


class Form:
    """The bytes before the values of each chunk of a portion, and where the values are.

    Of a checksum only its length must be the same, that is the topmost bit of each of its bytes.
    """

    __slots__ = ("_at", "_by_name", "_expected", "_mask", "_places")

    def __init__(self, memory: memoryview, views: Sequence[View]) -> None:
        octets = np.frombuffer(memory, np.uint8)
        begin = octets.__array_interface__["data"][0]
        around: list[NDArray[np.int64]] = []
        masks: list[NDArray[np.uint8]] = []
        self._places: list[_Place] = []
        self._by_name: dict[str, _Place] | None = None
        for start, stop, values in views:
            first = values.__array_interface__["data"][0] - begin
            self._places.append((values.dtype, len(values), first))
            mask = np.full(first - start, _EVERY)
            for checksum in _checksums(memory, start, first):
                mask[checksum.start - start : checksum.stop - start] = _MORE
            after = np.arange(first + values.nbytes, stop)
            around += [np.arange(start, first), after]
            masks += [mask, np.full(len(after), _EVERY)]
        self._at = np.concatenate(around)
        self._mask = np.concatenate(masks)
        self._expected = octets[self._at] & self._mask

    def fits(self, memory: memoryview) -> bool:
        """Return whether ``memory``, as long as that which the form is of, has the same bytes around its values."""
        found = np.frombuffer(memory, np.uint8).take(self._at)
        found &= self._mask
        return bool((found == self._expected).all())

    def values(self, memory: memoryview) -> list[Array]:
        """Return the values of each chunk as a view of ``memory``, in the order of the portion."""
        view = np.frombuffer
        return [view(memory, dtype, count, start) for dtype, count, start in self._places]

    def columns(self, memory: memoryview, names: Sequence[str]) -> Mapping[str, Array]:
        """Return the values of chunks that are columns of these names; each view is made when it is asked for."""
        if self._by_name is None:
            self._by_name = dict(zip(names, self._places, strict=True))
        return _Columns(memory, self._by_name)


class Slot:
    """What portions of one make have in common.

    ``members`` are their chunks as (number of the row group, place there), ``names`` their columns, and ``group`` is
    the number of the row group if there is only one.  There is no ``form`` until a second portion was seen, for of many
    makes there is but one.
    """

    __slots__ = ("form", "group", "members", "names", "seen")

    def __init__(self, members: Sequence[tuple[int, int]], names: Sequence[str]) -> None:
        self.members, self.names = members, names
        groups = {number for number, _ in members}
        self.group = groups.pop() if len(groups) == 1 else None
        self.form: Form | None = None
        self.seen = False

    def learn(self, memory: memoryview, views: Sequence[View]) -> None:
        """Take note of a portion that was read header by header."""
        if self.seen:
            self.form = Form(memory, views)
        self.seen = True


def _checksums(memory: memoryview, start: int, first: int) -> list[slice]:
    """Return where checksums stand in the headers from ``start`` to the page that has the values at ``first``."""
    found, at = [], start
    while at < first:
        header = page_header(memory, at, len(memory), crc=False)
        found.append(checksum_bytes(memory, at))
        at = header.body + header.stored
        if header.content.kind != DICTIONARY_PAGE:
            break
    return found
