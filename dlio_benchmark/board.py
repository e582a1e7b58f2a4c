"""Who is where: the board on which the ranks of a job post what they do, and how it is judged.

Each host has one board in shared memory without a name, so nothing is left behind however the job ends.  A rank that is
stopped, dead or busy with the interpreter lock is known by a row that is no longer renewed.  `judged` is the rule:
a run is stuck when no rank at all has moved for the deadline, so a slow rank that makes progress never ends a run.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from dlio_benchmark.errors import StalledError, listed

MARK = "DLIO_BENCHMARK_LAUNCH"
BOARD = "DLIO_BENCHMARK_BOARD"
_SEGMENT = re.compile(r"/dev/shm/(mpich_shm_|sm_segment\.)[\w.-]+")  # noqa: S108 - not ours, only removed
FROZEN_NS = 2_000_000_000
_LONGEST_TABLE = 64
_FIELDS = struct.Struct("<I B B q q q q 96s 96s 64s 64s")
_SUM = struct.Struct("<I")
ROW_BYTES = 384
_NOTE = struct.Struct("<I I")
_NOTE_BYTES = 4096


def segments() -> list[str]:
    """Return the paths of the MPI library's shared memory that this process maps."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    return sorted({path for line in lines if _SEGMENT.fullmatch(path := line.split(maxsplit=5)[-1])})


def remove_segments(paths: Iterable[str]) -> None:
    """Remove those of ``paths`` that are shared memory of an MPI library and still there.

    The libraries leave it behind when a job is aborted or killed.
    """
    for path in paths:
        if _SEGMENT.fullmatch(path):
            with contextlib.suppress(OSError):
                os.unlink(path)


class State(IntEnum):
    """How far a rank is with its end."""

    RUNNING = 0
    CLOSING = 1
    FAILED = 2


@dataclass(frozen=True, slots=True)
class Row:
    """What a rank posts; times are in nanoseconds of the monotonic clock of the host that reads them.

    ``moved_ns`` is when the rank last changed what it says, ``posted_ns`` when it last said it; ``code`` is what it
    ends with once it has failed; ``segment`` is shared memory of the MPI library that goes with the job.
    """

    pid: int = 0
    state: State = State.RUNNING
    code: int = 0
    operations: int = 0
    done: int = 0
    moved_ns: int = 0
    posted_ns: int = 0
    stage: str = ""
    waiting: str = ""
    host: str = ""
    segment: str = ""

    def pack(self) -> bytes:
        """Return the row as `ROW_BYTES` bytes with a checksum, so that a torn row is not believed."""
        texts = (text.encode(errors="replace") for text in (self.stage, self.waiting, self.host, self.segment))
        numbers = (self.operations, self.done, self.moved_ns, self.posted_ns)
        body = _FIELDS.pack(self.pid, self.state, self.code, *numbers, *texts)
        return (_SUM.pack(zlib.crc32(body)) + body).ljust(ROW_BYTES, b"\0")

    @classmethod
    def unpack(cls, packed: bytes) -> Row | None:
        """Return the row that `pack` made, or None if ``packed`` is torn or was never written."""
        body = packed[_SUM.size : _SUM.size + _FIELDS.size]
        if _SUM.unpack_from(packed)[0] != zlib.crc32(body):
            return None
        pid, state, code, operations, done, moved_ns, posted_ns, *texts = _FIELDS.unpack(body)
        words = (text.rstrip(b"\0").decode(errors="replace") for text in texts)
        return cls(pid, State(state), code, operations, done, moved_ns, posted_ns, *words)

    def shifted(self, ns: int) -> Row:
        """Return the row with its times moved by ``ns``: to ages and back, to cross between clocks."""
        return replace(self, moved_ns=self.moved_ns + ns, posted_ns=self.posted_ns + ns)

    def is_frozen(self, now_ns: int) -> bool:
        """Return whether the rank has stopped posting."""
        return now_ns - self.posted_ns > FROZEN_NS

    def still_ns(self, now_ns: int) -> int:
        """Return for how long the rank has not moved."""
        return max(0, now_ns - min(self.moved_ns, self.posted_ns))

    def doing(self) -> str:
        """Return stage and progress in words."""
        return f"{self.stage}, {self.done} done" if self.done else self.stage


class Board:
    """Rows of all ranks, and a note for those who come after them, shared by the processes of a host.

    The memory belongs to the file ``fd``, which has no name: whoever makes it tells the others the path by which
    they can open it, `path_of`.
    """

    def __init__(self, size: int, fd: int) -> None:
        self._size = size
        self._fd = fd
        self._memory = mmap.mmap(fd, size * ROW_BYTES + _NOTE_BYTES)

    @staticmethod
    def make(size: int, mark: str = "") -> int:
        """Return a new file for ``size`` rows."""
        fd = os.memfd_create(f"dlio_board{mark}")
        os.ftruncate(fd, size * ROW_BYTES + _NOTE_BYTES)
        return fd

    @staticmethod
    def path_of(fd: int) -> str:
        """Return the path by which other processes of this host open ``fd``, as long as this process lives."""
        return f"/proc/{os.getpid()}/fd/{fd}"

    @property
    def path(self) -> str:
        """The path by which other processes of this host open the board."""
        return self.path_of(self._fd)

    @staticmethod
    def find(path: str, mark: str) -> int | None:
        """Return the opened file at ``path``, or None if it is not the one that was made with ``mark``."""
        try:
            if mark and os.readlink(path).startswith(f"/memfd:dlio_board{mark}"):
                return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            pass
        return None

    @staticmethod
    def maker(path: str) -> int:
        """Return the number of the process that made the board which `find` found at ``path``."""
        return int(path.split("/")[2])

    def put(self, rank: int, row: Row) -> None:
        """Post the row of ``rank``."""
        self._memory[rank * ROW_BYTES : (rank + 1) * ROW_BYTES] = row.pack()

    def rows(self) -> dict[int, Row]:
        """Return the rows that can be read, by rank."""
        packed = self._memory[:]
        read = ((rank, Row.unpack(packed[rank * ROW_BYTES :][:ROW_BYTES])) for rank in range(self._size))
        return {rank: row for rank, row in read if row is not None and row.pid}

    def note(self, text: str) -> None:
        """Keep ``text``, in place of what was noted before; a text that is too long is not kept."""
        body = text.encode(errors="surrogateescape")
        if len(body) <= _NOTE_BYTES - _NOTE.size:
            self._memory[-_NOTE_BYTES:] = (_NOTE.pack(len(body), zlib.crc32(body)) + body).ljust(_NOTE_BYTES, b"\0")

    def noted(self) -> str:
        """Return what was noted, or nothing if it is torn or was never written."""
        packed = self._memory[-_NOTE_BYTES:]
        length, checksum = _NOTE.unpack_from(packed)
        body = packed[_NOTE.size :][:length]
        return body.decode(errors="surrogateescape") if zlib.crc32(body) == checksum else ""

    def claim(self) -> bool:
        """Return whether this process is the first of its host to ask; the others are refused while it lives."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class Stuck:
    """Nobody moves: ``missing`` are the ranks that the others wait for."""

    missing: tuple[int, ...]
    still_s: float


def missing_of(rows: Mapping[int, Row], size: int, now_ns: int) -> tuple[int, ...]:
    """Return the ranks that the furthest waiting ranks wait for; all that do not wait if none waits."""
    fresh = {rank: row for rank, row in rows.items() if row.waiting and not row.is_frozen(now_ns)}
    furthest = max((row.operations for row in fresh.values()), default=0)
    return tuple(rank for rank in range(size) if rank not in fresh or fresh[rank].operations < furthest)


def judged(rows: Mapping[int, Row], size: int, now_ns: int, deadline_ns: int) -> Stuck | None:
    """Return who is missing if no known rank has moved for the deadline, else None."""
    still = min((row.still_ns(now_ns) for row in rows.values()), default=0)
    if not deadline_ns or still < deadline_ns:
        return None
    return Stuck(missing_of(rows, size, now_ns), still / 1e9)


def described(rank: int, row: Row | None, now_ns: int) -> str:
    """Return one line about a rank: where it is, since when, and whether it still posts."""
    if row is None:
        return f"rank {rank}: has posted nothing"
    where = f"waits in {row.waiting} since" if row.waiting else "no progress for"
    if row.state is State.FAILED:
        where = f"ends with code {row.code} since"
    line = f"rank {rank} on host {row.host} (pid {row.pid}): {row.doing()}; {where} {row.still_ns(now_ns) / 1e9:.1f} s"
    return f"{line}; does not answer" if row.is_frozen(now_ns) else line


def table(rows: Mapping[int, Row], size: int, now_ns: int) -> list[str]:
    """Return lines about the ranks, the missing ones first, cut to a readable number."""
    missing = missing_of(rows, size, now_ns)
    order = [*missing, *(rank for rank in range(size) if rank not in set(missing))]
    lines = [described(rank, rows.get(rank), now_ns) for rank in order[:_LONGEST_TABLE]]
    return lines if len(order) <= _LONGEST_TABLE else [*lines, f"and {len(order) - _LONGEST_TABLE} more ranks"]


def stalled(stuck: Stuck, rows: Mapping[int, Row], size: int, now_ns: int) -> StalledError:
    """Return the error that names the missing ranks and shows all."""
    names = spelled(stuck.missing) if stuck.missing else "no rank, yet nothing completes"
    headline = f"nothing has moved for {stuck.still_s:.1f} s; missing: {names}"
    return StalledError(listed(headline, table(rows, size, now_ns)))


def spelled(ranks: Sequence[int]) -> str:
    """Return sorted rank numbers in words: ``rank 3``, ``ranks 0-2, 5``."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"rank {text}" if len(ranks) == 1 else f"ranks {text}"
