"""What stands before the values in the chunks of a portion, remembered from a portion of the same make.

Chunks that are views differ, from one row group to the next and from one file to the next, in their values and in the
checksums of their pages, and in nothing else.  A form knows all other bytes.  A portion whose bytes are those needs
no header read: its values stand where they stood.  A portion that differs in a single one of them is read anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlio_benchmark.parquet.decode import Array
from dlio_benchmark.parquet.decode_headers import DICTIONARY_PAGE, checksum_bytes, page_header
from dlio_benchmark.values import Sheet, Sheets

_MORE = np.uint8(0x80)
_EVERY = np.uint8(0xFF)


class View(NamedTuple):
    """Values that were viewed in a portion: bytes ``[start, stop)`` are their chunk, ``values`` the array."""

    start: int
    stop: int
    values: Array


class Place(NamedTuple):
    """Where the values of a chunk stand in a portion."""

    dtype: np.dtype[Any]
    rows: int
    start: int


class Form:
    """The bytes before the values of each chunk of a portion, and where the values are.

    Of a checksum only its length must be the same, that is the topmost bit of each of its bytes.
    """

    __slots__ = ("_at", "_expected", "_mask", "places")

    def __init__(self, memory: memoryview, views: Sequence[View]) -> None:
        octets = np.frombuffer(memory, np.uint8)
        begin = octets.__array_interface__["data"][0]
        around: list[NDArray[np.int64]] = []
        masks: list[NDArray[np.uint8]] = []
        self.places: list[Place] = []
        for start, stop, values in views:
            first = values.__array_interface__["data"][0] - begin
            self.places.append(Place(values.dtype, len(values), first))
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


class Slot:
    """What portions of one make have in common.

    ``members`` are their chunks as (number of the row group, place there), and ``names`` their columns.  There is no
    ``form`` until a second portion was seen, for of many makes there is but one; ``sheets`` come with it, unless the
    parts of columns are not equally far from each other.
    """

    __slots__ = ("form", "members", "names", "seen", "sheets")

    def __init__(self, members: Sequence[tuple[int, int]], names: Sequence[str]) -> None:
        self.members, self.names = members, names
        self.form: Form | None = None
        self.sheets: Sheets | None = None
        self.seen = False

    def learn(self, memory: memoryview, views: Sequence[View]) -> None:
        """Take note of a portion that was read header by header."""
        if self.seen:
            form = Form(memory, views)
            self.sheets = _sheets(self.members, self.names, form.places)
            self.form = form
        self.seen = True


def _sheets(members: Sequence[tuple[int, int]], names: Sequence[str], places: Sequence[Place]) -> Sheets | None:
    """Return where columns stand; None unless each has a part in every row group, all equally long and far apart."""
    found: dict[str, dict[int, Place]] = {}
    for (group, _), name, place in zip(members, names, places, strict=True):
        found.setdefault(name, {})[group] = place
    groups = sorted({group for group, _ in members})
    if any(len(each) < len(groups) for each in found.values()) or len({place.rows for place in places}) > 1:
        return None
    parts = {name: [each[group] for group in groups] for name, each in found.items()}
    together: list[Sheet] = []
    for name, (first, *others) in parts.items():
        step = others[0].start - first.start if others else 0
        if any(one != (first.dtype, first.rows, first.start + step * part) for part, one in enumerate(others, 1)):
            return None
        last = together.pop() if together else None
        joined = last and _beside(last, name, first, step)
        alone = Sheet((name,), (first.dtype,), first.dtype.itemsize, len(groups), first.rows, first.start, 0, step)
        together += [joined] if joined else [last, alone] if last else [alone]
    return Sheets(parts, together)


def _beside(sheet: Sheet, name: str, first: Place, part_step: int) -> Sheet | None:
    """Return ``sheet`` with one column more, if it stands as far from the last one as those from each other."""
    count = len(sheet.names)
    step = first.start - sheet.start - (count - 1) * sheet.column_step
    if first.dtype.itemsize != sheet.width or part_step != sheet.part_step or (count > 1 and step != sheet.column_step):
        return None
    names, dtypes = (*sheet.names, name), (*sheet.dtypes, first.dtype)
    return sheet._replace(names=names, dtypes=dtypes, column_step=step)


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
