"""Who is where: the board on which the ranks of a job post what they do, and the thread that reads it.

Each host has one board in shared memory without a name, so nothing is left behind however the job ends.  Every
rank's thread posts its row ten times a second and judges all rows; it needs neither the main thread nor MPI for that.
A rank that is stopped, dead or busy with the interpreter lock is known by a row that is no longer
renewed.  `judged` is the rule: a run is stuck when no rank at all has moved for the deadline, so a slow rank
that makes progress never ends a run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import mmap
import os
import select
import signal
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from dlio_benchmark.errors import DlioError, RankLostError, StalledError, listed
from dlio_benchmark.guard import Guard

TICK_S = 0.1
FROZEN_NS = 2_000_000_000
_LONGEST_TABLE = 64
_FIELDS = struct.Struct("<I B q q q q 96s 96s")
_SUM = struct.Struct("<I")
ROW_BYTES = 256


class State(IntEnum):
    """How far a rank is with its end."""

    RUNNING = 0
    CLOSING = 1
    FAILED = 2


@dataclass(frozen=True, slots=True)
class Row:
    """What a rank posts; times are in nanoseconds of the monotonic clock of the host that reads them.

    ``moved_ns`` is when the rank last changed what it says, ``posted_ns`` when it last said it.
    """

    pid: int = 0
    state: State = State.RUNNING
    operations: int = 0
    done: int = 0
    moved_ns: int = 0
    posted_ns: int = 0
    stage: str = ""
    waiting: str = ""

    def pack(self) -> bytes:
        """Return the row as `ROW_BYTES` bytes with a checksum, so that a torn row is not believed."""
        texts = (text.encode(errors="replace")[:96] for text in (self.stage, self.waiting))
        numbers = (self.operations, self.done, self.moved_ns, self.posted_ns)
        body = _FIELDS.pack(self.pid, self.state, *numbers, *texts)
        return (_SUM.pack(zlib.crc32(body)) + body).ljust(ROW_BYTES, b"\0")

    @classmethod
    def unpack(cls, packed: bytes) -> Row | None:
        """Return the row that `pack` made, or None if ``packed`` is torn or was never written."""
        body = packed[_SUM.size : _SUM.size + _FIELDS.size]
        if _SUM.unpack_from(packed)[0] != zlib.crc32(body):
            return None
        pid, state, operations, done, moved_ns, posted_ns, *texts = _FIELDS.unpack(body)
        stage, waiting = (text.rstrip(b"\0").decode(errors="replace") for text in texts)
        return cls(pid, State(state), operations, done, moved_ns, posted_ns, stage, waiting)

    def shifted(self, ns: int) -> Row:
        """Return the row with its times moved by ``ns``: to ages and back, to cross between clocks."""
        return replace(self, moved_ns=self.moved_ns + ns, posted_ns=self.posted_ns + ns)

    def is_frozen(self, now_ns: int) -> bool:
        """Return whether the rank has stopped posting."""
        return now_ns - self.posted_ns > FROZEN_NS

    def still_ns(self, now_ns: int) -> int:
        """Return for how long the rank has not moved."""
        return now_ns - min(self.moved_ns, self.posted_ns)

    def doing(self) -> str:
        """Return stage and progress in words."""
        return f"{self.stage}, {self.done} done" if self.done else self.stage


class Board:
    """Rows of all ranks, shared by the processes of a host.

    The memory belongs to the file ``fd``, which has no name: the leader of a host makes it, the others
    open it through ``path``.
    """

    def __init__(self, size: int, fd: int) -> None:
        self._size = size
        self._fd = fd
        self._memory = mmap.mmap(fd, size * ROW_BYTES)

    @staticmethod
    def make(size: int) -> int:
        """Return a new file for ``size`` rows."""
        fd = os.memfd_create("dlio_board")
        os.ftruncate(fd, size * ROW_BYTES)
        return fd

    def put(self, rank: int, row: Row) -> None:
        """Post the row of ``rank``."""
        self._memory[rank * ROW_BYTES : (rank + 1) * ROW_BYTES] = row.pack()

    def rows(self) -> dict[int, Row]:
        """Return the rows that can be read, by rank."""
        packed = self._memory[:]
        read = ((rank, Row.unpack(packed[rank * ROW_BYTES :][:ROW_BYTES])) for rank in range(self._size))
        return {rank: row for rank, row in read if row is not None and row.pid}

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


def described(rank: int, row: Row | None, host: str, now_ns: int) -> str:
    """Return one line about a rank: where it is, since when, and whether it still posts."""
    if row is None:
        return f"rank {rank} on host {host}: has posted nothing"
    where = f"waits in {row.waiting} since" if row.waiting else "no progress for"
    line = f"rank {rank} on host {host} (pid {row.pid}): {row.doing()}; {where} {row.still_ns(now_ns) / 1e9:.1f} s"
    return f"{line}; does not answer" if row.is_frozen(now_ns) else line


def table(rows: Mapping[int, Row], hosts: Sequence[str], now_ns: int) -> list[str]:
    """Return lines about the ranks, the missing ones first, cut to a readable number."""
    missing = missing_of(rows, len(hosts), now_ns)
    order = [*missing, *(rank for rank in range(len(hosts)) if rank not in set(missing))]
    lines = [described(rank, rows.get(rank), hosts[rank], now_ns) for rank in order[:_LONGEST_TABLE]]
    return lines if len(order) <= _LONGEST_TABLE else [*lines, f"and {len(order) - _LONGEST_TABLE} more ranks"]


def stalled(stuck: Stuck, rows: Mapping[int, Row], hosts: Sequence[str], now_ns: int) -> StalledError:
    """Return the error that names the missing ranks and shows all."""
    names = ", ".join(f"rank {rank} ({hosts[rank]})" for rank in stuck.missing[:8]) or "no rank, yet nothing completes"
    more = f" and {len(stuck.missing) - 8} more" if len(stuck.missing) > 8 else ""
    headline = f"nothing has moved for {stuck.still_s:.1f} s; missing: {names}{more}"
    return StalledError(listed(headline, table(rows, hosts, now_ns)))


class Watch:
    """A thread that posts this rank's row and judges the others'; its verdict is left in ``guard.verdict``.

    Args:
        neighbours: ranks of this host, whose processes can be seen and signalled.
        relay: is called at each tick to swap rows with other hosts, or None.
    """

    def __init__(
        self,
        board: Board,
        guard: Guard,
        hosts: Sequence[str],
        *,
        neighbours: Mapping[int, int],
        deadline_s: float,
        stall_s: float,
        relay: Callable[[Board], None] | None = None,
    ) -> None:
        self._board = board
        self._guard = guard
        self._hosts = hosts
        self._neighbours = {rank: pid for rank, pid in neighbours.items() if rank != guard.world.rank}
        self._deadline_ns = round(deadline_s * 1e9)
        self._stall_ns = self._next_table_ns = round(stall_s * 1e9)
        self._relay = relay
        self._state = State.RUNNING
        self._said: tuple[object, ...] = ()
        self._moved_ns = 0
        self._judged_ns = 0
        self._stop, self._stopped = os.pipe()
        self._pids: dict[int, int] = {}
        self._thread = threading.Thread(target=self._live, name="dlio-watch", daemon=True)

    def start(self) -> None:
        """Begin to post; from now on SIGUSR1 writes the stacks of this process to standard error."""
        faulthandler.register(signal.SIGUSR1, file=sys.__stderr__ or 2, all_threads=True)
        self.post(State.RUNNING)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the last row stays."""
        os.close(self._stopped)
        if self._thread is not threading.current_thread():
            self._thread.join()
        os.close(self._stop)
        faulthandler.unregister(signal.SIGUSR1)

    def post(self, state: State) -> None:
        """Post this rank's row now, with ``state``; called by the thread that changes it."""
        self._state = state
        self._renew(time.monotonic_ns())

    def settled(self) -> bool:
        """Return whether every neighbour is gone or has ended its work, too."""
        rows = self._board.rows()
        return all(rank not in rows or rows[rank].state is not State.RUNNING for rank in self._neighbours)

    def _renew(self, now_ns: int) -> None:
        pulse = self._guard.pulse
        said = (pulse.stage, pulse.done, pulse.operations, pulse.waiting)
        if said != self._said:
            self._said, self._moved_ns = said, now_ns
        row = Row(
            os.getpid(), self._state, pulse.operations, pulse.done, self._moved_ns, now_ns, pulse.stage, pulse.waiting
        )
        self._board.put(self._guard.world.rank, row)

    def _live(self) -> None:
        poll = select.poll()
        poll.register(self._stop, select.POLLHUP | select.POLLIN)
        for rank, pid in self._neighbours.items():
            with contextlib.suppress(OSError):
                fd = os.pidfd_open(pid)
                self._pids[fd] = rank
                poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(TICK_S * 1000)}
            if self._stop in ready:
                break
            for fd in ready:
                poll.unregister(fd)
                self._lost(self._pids[fd])
            self._tick(time.monotonic_ns())
        for fd in self._pids:
            os.close(fd)

    def _tick(self, now_ns: int) -> None:
        self._renew(now_ns)
        if self._relay is not None:
            self._relay(self._board)
        if self._guard.verdict is not None:
            self._insist(now_ns)
            return
        rows = {rank: row for rank, row in self._board.rows().items() if row.state is not State.CLOSING}
        failed = sorted(rank for rank, row in rows.items() if row.state is State.FAILED)
        if failed and self._guard.world.rank not in failed:
            self._judge(RankLostError(f"rank {failed[0]} on host {self._hosts[failed[0]]} has failed"), now_ns)
        elif stuck := judged(rows, len(self._hosts), now_ns, self._deadline_ns):
            if self._speaks(rows, now_ns):
                self._dump(stuck, rows)
            self._judge(stalled(stuck, rows, self._hosts, now_ns), now_ns)
        else:
            self._show_stall(rows, now_ns)

    def _judge(self, verdict: DlioError, now_ns: int) -> None:
        self._judged_ns = now_ns
        self._guard.verdict = verdict

    def _insist(self, now_ns: int) -> None:
        """End the group from here when the main thread does not come to take the verdict."""
        patience_ns = FROZEN_NS if isinstance(self._guard.verdict, StalledError) else 2 * FROZEN_NS
        if now_ns - self._judged_ns > patience_ns and not self._guard.ending and self._guard.verdict is not None:
            self._guard.fail(self._guard.verdict)

    def _lost(self, rank: int) -> None:
        row = self._board.rows().get(rank)
        if self._state is State.CLOSING or row is None or row.state is not State.RUNNING:
            return
        host, stage = self._hosts[rank], row.doing()
        self._guard.fail(
            RankLostError(f"rank {rank} on host {host} ended without a word (pid {row.pid}), in stage: {stage}")
        )

    def _speaks(self, rows: Mapping[int, Row], now_ns: int) -> bool:
        able = [rank for rank, row in rows.items() if not row.is_frozen(now_ns)]
        return min(able, default=0) == self._guard.world.rank

    def _dump(self, stuck: Stuck, rows: Mapping[int, Row]) -> None:
        """Write the stacks of this process and of the missing ones on this host to standard error."""
        faulthandler.dump_traceback(file=sys.__stderr__ or 2)
        for rank in stuck.missing:
            if rank in self._neighbours and rank in rows and not _is_stopped(self._neighbours[rank]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._neighbours[rank], signal.SIGUSR1)
        time.sleep(TICK_S)

    def _show_stall(self, rows: Mapping[int, Row], now_ns: int) -> None:
        longest = max((row.still_ns(now_ns) for row in rows.values()), default=0)
        if longest < self._stall_ns:
            self._next_table_ns = self._stall_ns
        elif self._stall_ns and longest >= self._next_table_ns:
            self._next_table_ns = 2 * longest
            if self._speaks(rows, now_ns):
                self._guard.say(listed("some ranks stand still", table(rows, self._hosts, now_ns)))


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return True
