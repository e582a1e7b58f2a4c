"""The codecs that a footer names: checked before pyarrow is asked for one, for it ends the process over an unknown one.

In footers of the usual make the codec of a chunk stands before four numbers that always follow it, which a regular
expression finds.  If it does not find as many as there are chunks, the whole footer is walked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dlio_benchmark.errors import ParquetFileError

KNOWN_CODECS = frozenset(range(8))
_NUMBER = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_usual = re.compile(rb"\x15(%b)\x16%b\x16%b\x16%b[\x16\x26]" % ((_NUMBER,) * 4)).findall
_USUAL_CODECS = frozenset(bytes([2 * codec]) for codec in KNOWN_CODECS)

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
_DEEPEST = 32
# From the footer to its row groups, to their chunks, to their metadata, to the codec.
_WAY = (4, 1, 3, 4)


def check_codecs(text: bytes, chunks: int) -> None:
    """Look at the codecs of all ``chunks`` column chunks of the footer ``text``, which pyarrow could parse.

    Raises:
        ParquetFileError: if one is unknown.
    """
    usual = _usual(text)
    if len(usual) == chunks and _USUAL_CODECS.issuperset(usual):
        return
    try:
        named = list(_Walk(text).codecs())
    except IndexError:
        raise ParquetFileError("the footer is damaged: its fields do not end") from None
    if len(named) != chunks:
        raise ParquetFileError(f"the footer is damaged: it names {len(named)} codecs for {chunks} column chunks")
    unknown = sorted(set(named) - KNOWN_CODECS)
    if unknown:
        raise ParquetFileError(f"the footer is damaged: it names the codec {unknown[0]}, which does not exist")


class _Walk:
    """A walk over Thrift's compact protocol; IndexError if it leaves the bytes."""

    def __init__(self, text: bytes) -> None:
        self._text, self._at = text, 0

    def codecs(self, depth: int = 0) -> Iterator[int]:
        """Yield the codecs below the struct at the cursor, which ends behind it."""
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            if field != _WAY[depth]:
                self._skip(kind)
            elif depth == len(_WAY) - 1 and kind in (4, 5, 6):
                yield self._integer()
            else:
                yield from self._below(kind, depth)

    def _below(self, kind: int, depth: int) -> Iterator[int]:
        if kind == _LIST and depth < 2:
            many, kind = self._list()
        else:
            many = 1
        for _ in range(many):
            if kind == _STRUCT and depth < len(_WAY) - 1:
                yield from self.codecs(depth + 1)
            else:
                self._skip(kind)

    def _byte(self) -> int:
        self._at += 1
        return self._text[self._at - 1]

    def _varint(self) -> int:
        bits = place = 0
        while True:
            byte = self._byte()
            bits |= (byte & 0x7F) << place
            place += 7
            if byte < 0x80:
                return bits

    def _integer(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        return (self._varint() if head >> 4 == 15 else head >> 4), head & 15

    def _skip(self, kind: int, depth: int = 0, *, element: bool = False) -> None:
        if depth > _DEEPEST:
            raise IndexError
        if kind in (_TRUE, _FALSE):
            self._at += element
        elif kind in _STEPS:
            self._at += _STEPS[kind]
        elif kind == _BINARY:
            length = self._varint()
            self._at += length
        elif kind in (_LIST, _SET):
            many, kind = self._list()
            self._elements(many, (kind,), depth)
        elif kind == _MAP:
            many = self._varint()
            kinds = self._byte() if many else 0
            self._elements(many, (kinds >> 4, kinds & 15), depth)
        elif kind == _STRUCT:
            while head := self._byte():
                if not head >> 4:
                    self._varint()
                self._skip(head & 15, depth + 1)
        else:
            self._varint()

    def _elements(self, many: int, kinds: tuple[int, ...], depth: int) -> None:
        if many > len(self._text):
            raise IndexError
        for _ in range(many):
            for kind in kinds:
                self._skip(kind, depth + 1, element=True)


_STEPS = {_BYTE: 1, _DOUBLE: 8}
