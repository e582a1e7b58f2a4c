"""Commands of the past: one line each in a file in the user's home."""

from __future__ import annotations

import contextlib
import fcntl
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dlio_benchmark.errors import UsageError
from dlio_benchmark.mlpstorage.parameters import REDACTED
from dlio_benchmark.mlpstorage.request import shown_word
from dlio_benchmark.mlpstorage.results import STAMP_FORMAT

FILE_NAME = "mlps_history"
HOME_VARIABLE = "MLPSTORAGE_HOME"


@dataclass(frozen=True, slots=True)
class Entry:
    """A command of the past."""

    number: int
    stamp: str
    line: str

    def __str__(self) -> str:
        return f"{self.number},{self.stamp},{self.line}"


def path(environment: Mapping[str, str]) -> Path:
    """Return the history file."""
    home = environment.get(HOME_VARIABLE)
    return (Path(home) if home else Path.home()) / FILE_NAME


def record(file: Path, argv: Sequence[str], *, now: datetime) -> None:
    """Add a command under the next number; a file that cannot be written is only warned about."""
    line = shlex.join(["mlpstorage", *(shown_word(word) for word in argv)])
    if not line.isprintable():
        return
    try:
        with file.open("a+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            number = max((entry.number for entry in _parse(stream.read())), default=0) + 1
            stream.write(f"{Entry(number, now.strftime(STAMP_FORMAT), line)}\n")
    except OSError as error:
        print(f"warning: the history cannot be written: {error}", file=sys.stderr)


def read(file: Path) -> list[Entry]:
    """Return the commands in ``file``, oldest first; lines that are none are skipped."""
    try:
        return _parse(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def _parse(text: str) -> list[Entry]:
    entries: list[Entry] = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            number, stamp, command = line.split(",", 2)
            entries.append(Entry(int(number), stamp, command))
    return entries


def shown(file: Path, *, limit: int | None, number: int | None) -> list[Entry]:
    """Return the entries to show: the one called ``number``, or the last ``limit``, or all.

    Raises:
        UsageError: if there is no such entry.
    """
    entries = read(file) if number is None else [entry_of(file, number)]
    return entries[-limit:] if limit else entries


def entry_of(file: Path, number: int) -> Entry:
    """Return the entry called ``number``; UsageError if there is none."""
    for entry in read(file):
        if entry.number == number:
            return entry
    raise UsageError(f"the history has no command {number}; see mlpstorage history show")


def words_of(entry: Entry) -> list[str]:
    """Return the arguments of the command in ``entry``.

    Raises:
        UsageError: if they held a secret, which the history does not keep.
    """
    words = shlex.split(entry.line)
    if any(word.endswith(f"={REDACTED}") for word in words):
        raise UsageError(f"command {entry.number} held a secret, which the history does not keep: type it again")
    return words[1:]
