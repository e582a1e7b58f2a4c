"""What stands before the values in the chunks of a portion, remembered from a portion of the same make.

Chunks that are views differ, from one row group to the next and from one file to the next, in their values and in the
checksums of their pages, and in nothing else.  A form knows all other bytes.  A portion whose bytes are those needs
no header read: its values stand where they stood.  A portion that differs in a single one of them is read anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlio_benchmark.parquet.decode import Array
from dlio_benchmark.parquet.decode_headers import DICTIONARY_PAGE, checksum_bytes, page_header
from dlio_benchmark.parquet.decode_spread import Held, Spread
from dlio_benchmark.values import NUMBERS, Sheet, Sheets

_MORE = np.uint8(0x80)
_EVERY = np.uint8(0xFF)
_MOST_MISSES = 2
_SHORTEST_PAUSE, _MOST_DOUBLINGS = 16, 6
_MOST_SLOTS, _MOST_CHUNKS = 512, 1 << 15  # a chunk takes about a kilobyte

Member: TypeAlias = tuple[int, int]


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

    Of a checksum only its length must be the same, that is the topmost bit of each of its bytes.  ``places`` has the
    values of each member; see `Slot` for ``members`` and ``names``.
    """

    def __init__(
        self, memory: memoryview, views: Sequence[View], members: Sequence[tuple[int, int]], names: Sequence[str]
    ) -> None:
        self.members, self.names = members, names
        octets = np.frombuffer(memory, np.uint8)
        begin = octets.__array_interface__["data"][0]
        around: list[NDArray[np.int64]] = []
        masks: list[NDArray[np.uint8]] = []
        self.places: list[Place] = []
        self._ends: list[tuple[int, int]] = []
        for start, stop, values in views:
            first = values.__array_interface__["data"][0] - begin
            self.places.append(Place(values.dtype, len(values), first))
            self._ends.append((first - start, stop - first - values.nbytes))
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

    @cached_property
    def sheets(self) -> Sheets | None:
        """Where columns stand; None unless each has a part in every row group, all equally long and far apart."""
        return _sheets(self.members, self.names, self.places)

    @cached_property
    def spread(self) -> Spread | None:
        """How the portion is read apart; None unless its values are as large as numbers."""
        if not all(place.dtype.itemsize in NUMBERS for place in self.places):
            return None
        each = zip(self.members, self.names, self.places, self._ends, strict=True)
        chunks = [
            Held(name, group, place.dtype, place.rows, before, behind)
            for (group, _), name, place, (before, behind) in each
        ]
        return Spread(chunks, self._mask, self._expected)


class Slot:
    """What portions of one make have in common.

    ``members`` are their chunks as (number of the row group, place there), and ``names`` their columns.  There is no
    ``form`` until a second portion was seen, for of many makes there is but one.  A portion that differs does not put
    another form in its place before a second one is as it is.  Threads may share a slot: at worst one of them learns in
    vain.
    """

    __slots__ = ("_misses", "_other", "_pause", "_pauses", "form", "members", "names", "seen")

    def __init__(self, members: Sequence[Member], names: Sequence[str]) -> None:
        self.members, self.names = members, names
        self.form: Form | None = None
        self.seen = False
        self._other: Form | None = None
        self._misses = self._pause = self._pauses = 0

    def is_promising(self) -> bool:
        """Return whether the portion that is read next may be expected to fit, as far as the last ones tell.

        After two in a row that did not, or one whose values could not be viewed, it says no for a while, which gets
        longer each time.
        """
        if not self._pause:
            return True
        self._pause -= 1
        return False

    def fitting(self, memory: memoryview) -> Form | None:
        """Return the form of a portion whose bytes are ``memory``, or None if it is not known."""
        form, other = self.form, self._other
        if form is None:
            return None
        if form.fits(memory):
            self.tell_fit()
            return form
        if other is not None and other.fits(memory):
            self.form, self._other = other, form
            self.tell_fit()
            return other
        self._misses += 1
        if self._misses >= _MOST_MISSES:
            self._give_up()
        return None

    def tell_fit(self) -> None:
        """Take note of a portion that had the form."""
        self._misses = self._pause = self._pauses = 0

    def learn(self, memory: memoryview, views: Sequence[View] | None) -> None:
        """Take note of a portion that was read header by header; None if some of its values could not be viewed."""
        if views is None:
            self._give_up()
        elif self.seen:
            form = Form(memory, views, self.members, self.names)
            if self.form is None:
                self.form = form
            else:
                self._other = form
        self.seen = True

    def _give_up(self) -> None:
        self._misses = 0
        self._pause = _SHORTEST_PAUSE << self._pauses
        self._pauses = min(self._pauses + 1, _MOST_DOUBLINGS)


class Slots:
    """Slots by their makes; all are forgotten when there are too many, or too many chunks in them."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Slot] = {}
        self._chunks = 0

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._known.values())

    def of(self, make: Hashable, members: Sequence[Member], names: Sequence[str]) -> Slot:
        """Return the slot of a make, a new one if it is not known."""
        slot = self._known.get(make)
        if slot is None:
            if len(self._known) >= _MOST_SLOTS or self._chunks + len(members) > _MOST_CHUNKS:
                self._known.clear()
                self._chunks = 0
            slot = self._known[make] = Slot(members, names)
            self._chunks += len(members)
        return slot


def _sheets(members: Sequence[tuple[int, int]], names: Sequence[str], places: Sequence[Place]) -> Sheets | None:
    found: dict[str, dict[int, Place]] = {}
    for (group, _), name, place in zip(members, names, places, strict=True):
        found.setdefault(name, {})[group] = place
    groups = sorted({group for group, _ in members})
    if any(len(each) < len(groups) for each in found.values()) or len({place.rows for place in places}) > 1:
        return None
    parts = {name: [each[group] for group in groups] for name, each in found.items()}
    runs: list[_Run] = []
    for name, (first, *others) in parts.items():
        step = others[0].start - first.start if others else 0
        if any(one != (first.dtype, first.rows, first.start + step * part) for part, one in enumerate(others, 1)):
            return None
        if not (runs and runs[-1].goes_on(first, step)):
            runs.append(_Run(step))
        runs[-1].names.append(name)
        runs[-1].firsts.append(first)
    return Sheets([run.sheet(len(groups)) for run in runs])


class _Run:
    """Columns of one width at equal distances, whose parts are ``part_step`` bytes apart."""

    def __init__(self, part_step: int) -> None:
        self.part_step = part_step
        self.names: list[str] = []
        self.firsts: list[Place] = []

    @property
    def column_step(self) -> int:
        """The distance of the columns, 0 of one."""
        return self.firsts[1].start - self.firsts[0].start if len(self.firsts) > 1 else 0

    def goes_on(self, first: Place, part_step: int) -> bool:
        """Return whether a column with this first part is the next one."""
        last = self.firsts[-1]
        far = len(self.firsts) == 1 or first.start - last.start == self.column_step
        return far and first.dtype.itemsize == last.dtype.itemsize and part_step == self.part_step

    def sheet(self, parts: int) -> Sheet:
        """Return the columns as a sheet."""
        first, dtypes = self.firsts[0], tuple(one.dtype for one in self.firsts)
        width, steps = first.dtype.itemsize, (self.column_step, self.part_step)
        return Sheet(tuple(self.names), dtypes, width, parts, first.rows, first.start, *steps)


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
