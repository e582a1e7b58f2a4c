"""Damage to files, kind by kind, with what must come of it.

A fault case is not "something goes wrong": it says which class of error must be raised, at which moment, and what
the message must name.  Damage that may leave the rows intact (a flipped bit in padding) allows identical rows, too;
rows that differ are never allowed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random

FOOTER_LENGTH = 4
MAGIC = b"PAR1"
NOBODY = 65534


class Moment(Enum):
    """When an error must be raised at the latest."""

    OPEN = "open"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Damage:
    """A way to damage the bytes of a Parquet file, and what a reader must do about it.

    ``error`` is the name of the class, or of a base of it, that must be raised by ``moment``; ``may_be_harmless``
    allows identical rows instead.  A damaged footer may also tell of another schema, which is another class.
    """

    kind: str
    apply: Callable[[bytes, Random], bytes]
    moment: Moment
    error: str = "ParquetFileError"
    may_be_harmless: bool = False

    def on(self, path: Path, random: Random) -> None:
        """Replace the file at ``path`` by its damaged copy."""
        path.write_bytes(self.apply(path.read_bytes(), random))


def body_end(content: bytes) -> int:
    """Return where the pages end and the footer begins."""
    length = int.from_bytes(content[-8:-4], "little")
    return max(len(content) - 8 - length, len(MAGIC))


def _flip(content: bytes, random: Random, begin: int, end: int) -> bytes:
    damaged = bytearray(content)
    damaged[random.randrange(begin, max(end, begin + 1))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _zero(content: bytes, random: Random) -> bytes:
    end = body_end(content)
    start = random.randrange(len(MAGIC), max(end, len(MAGIC) + 1))
    stop = min(end, start + random.randrange(1, 64))
    return content[:start] + bytes(stop - start) + content[stop:]


def _truncate(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(1, len(content))]


def _garble_footer(content: bytes, random: Random) -> bytes:
    begin, end = body_end(content), len(content) - 8
    return content[:begin] + random.randbytes(end - begin) + content[-8:]


def _lengthen_footer(content: bytes, random: Random) -> bytes:
    too_long = len(content) + random.randrange(1, 2**20)
    return content[:-8] + too_long.to_bytes(FOOTER_LENGTH, "little") + content[-4:]


DAMAGES: tuple[Damage, ...] = (
    Damage("empty", lambda _content, _random: b"", Moment.OPEN),
    Damage("not parquet", lambda content, random: random.randbytes(len(content)), Moment.OPEN),
    Damage("text", lambda _content, _random: b"this is a text\n" * 20, Moment.OPEN),
    Damage("only magic", lambda _content, _random: MAGIC, Moment.OPEN),
    Damage("truncated", _truncate, Moment.OPEN),
    Damage("magic gone", lambda content, _random: content[:-4] + b"XXXX", Moment.OPEN),
    Damage("garbled footer", _garble_footer, Moment.READ, error="DataError", may_be_harmless=True),
    Damage("footer too long", _lengthen_footer, Moment.OPEN),
    Damage(
        "flipped bit",
        lambda content, random: _flip(content, random, len(MAGIC), body_end(content)),
        Moment.READ,
        may_be_harmless=True,
    ),
    Damage(
        "flipped bit in the footer",
        lambda content, random: _flip(content, random, body_end(content), len(content) - 8),
        Moment.READ,
        error="DataError",
        may_be_harmless=True,
    ),
    Damage("zeroed range", _zero, Moment.READ, may_be_harmless=True),
)
BY_KIND = {damage.kind: damage for damage in DAMAGES}


@contextmanager
def unprivileged() -> Iterator[None]:
    """Run a block without the rights of root, to which no permission is denied; nothing changes for others."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
