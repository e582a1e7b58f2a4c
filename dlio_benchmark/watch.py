"""The thread that posts what this rank does, judges what all ranks do, and ends what cannot go on.

It looks ten times a second, and at once when a process of this host ends; it needs neither the main thread nor MPI
for that.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dlio_benchmark.board import FROZEN_NS, Board, Row, State, Stuck, judged, missing_of, segments, stalled, table
from dlio_benchmark.errors import (
    DlioError,
    Exit,
    InterruptedRunError,
    PeerFailedError,
    RankLostError,
    StalledError,
    listed,
)
from dlio_benchmark.guard import Guard

TICK_S = 0.1
_PACE_NS = 600_000
_PF_EXITING = 4
_STARTER = -1


class Watch:
    """A thread that posts this rank's row and judges the others'; its verdict is left in ``guard.verdict``.

    Args:
        neighbours: ranks of this host, whose processes can be seen and signalled.
        relay: is called at each tick to swap rows with other hosts, or None.
        starter: a process of this host without which the group is of no use to anybody, or None.
    """

    def __init__(
        self,
        board: Board,
        guard: Guard,
        *,
        neighbours: Mapping[int, int],
        deadline_s: float,
        stall_s: float,
        relay: Callable[[Board], None] | None = None,
        starter: int | None = None,
    ) -> None:
        self._starter = starter
        self._board = board
        self._guard = guard
        self._neighbours = {rank: pid for rank, pid in neighbours.items() if rank != guard.world.rank}
        self._deadline_ns = round(deadline_s * 1e9)
        self._stall_ns = self._next_table_ns = round(stall_s * 1e9)
        self._relay = relay
        self._state, self._code = State.RUNNING, 0
        self._said: tuple[object, ...] = ()
        self._noted = self._guard.pulse.papers
        self._moved_ns = 0
        self._judged_ns = self._next_look_ns = self._ticked_ns = 0
        self._missing: tuple[int, ...] = ()
        self._stop, self._stopped = os.pipe()
        self._segment = ""
        self._pids: dict[int, int] = {}
        self._thread = threading.Thread(target=self._live, name="dlio-watch", daemon=True)

    def start(self) -> None:
        """Begin to post; from now on SIGUSR1 writes the stacks of this process to standard error."""
        # Only the thread that is interrupted: it stands still, the frames of others may change while they are walked.
        faulthandler.register(signal.SIGUSR1, file=sys.__stderr__ or 2, all_threads=False)
        self._ticked_ns = time.monotonic_ns()
        mapped = segments()
        self._segment = mapped[self._guard.world.rank % len(mapped)] if mapped else ""
        self.post(State.RUNNING)
        self._guard.pulse.post = self.renew
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the last row stays."""
        self._guard.pulse.post = None
        os.close(self._stopped)
        if self._thread is not threading.current_thread():
            self._thread.join()
        os.close(self._stop)

    def post(self, state: State, code: int = 0) -> None:
        """Post this rank's row now, with ``state``; called by the thread that changes it."""
        self._state, self._code = state, code
        self.renew()

    def settled(self) -> bool:
        """Return whether every neighbour that still can has ended its work, too."""
        rows = self._board.rows()
        awaited = self._neighbours.keys() & rows.keys() - set(self._missing)
        return all(rows[rank].state is not State.RUNNING for rank in awaited)

    def renew(self) -> None:
        """Post this rank's row again, with the present moment."""
        now_ns, pulse = time.monotonic_ns(), self._guard.pulse
        said = (self._state, pulse.stage, pulse.done, pulse.operations, pulse.waiting)
        if said != self._said:
            self._said, self._moved_ns = said, now_ns
        numbers = (pulse.operations, pulse.done, self._moved_ns, now_ns)
        row = Row(
            os.getpid(), self._state, self._code, *numbers, pulse.stage, pulse.waiting, self._guard.host, self._segment
        )
        self._board.put(self._guard.world.rank, row)
        if pulse.papers != self._noted:
            self._noted = pulse.papers
            self._board.note("\0".join(self._noted))

    def _live(self) -> None:
        poll = select.poll()
        poll.register(self._stop, select.POLLHUP | select.POLLIN)
        followed = {_STARTER: self._starter} if self._starter is not None else {}
        for rank, pid in {**self._neighbours, **followed}.items():
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
            gone = sorted(self._pids[fd] for fd in ready)
            if gone and gone[0] == _STARTER:
                self._guard.fail(InterruptedRunError(f"the process that started the job (pid {self._starter}) is gone"))
            elif gone:
                self._lost(gone)
            self._tick(time.monotonic_ns())
        for fd in self._pids:
            os.close(fd)

    def _tick(self, now_ns: int) -> None:
        """Post and look; a process that was stopped itself, maybe with the whole job, begins to wait anew."""
        if now_ns - self._ticked_ns > FROZEN_NS:
            self._said = ()
            self._next_look_ns = now_ns + FROZEN_NS
        self._ticked_ns = now_ns
        self.renew()
        if self._relay is not None:
            self._relay(self._board)
        if self._guard.verdict is not None:
            self._insist(now_ns)
        elif now_ns >= self._next_look_ns:
            self._next_look_ns = now_ns + self._guard.world.size * _PACE_NS
            self._look(now_ns)

    def _look(self, now_ns: int) -> None:
        rows = self._board.rows()
        failed = sorted(rank for rank, row in rows.items() if row.state is State.FAILED)
        if failed and self._guard.world.rank not in failed:
            self._judge(_followed(failed[0], rows[failed[0]]), now_ns)
        elif stuck := judged(rows, self._guard.world.size, now_ns, self._deadline_ns):
            if self._speaks(rows, now_ns):
                self._dump(stuck, rows)
            self._missing = stuck.missing
            self._judge(stalled(stuck, rows, self._guard.world.size, now_ns), now_ns)
        else:
            self._show_stall(rows, now_ns)

    def _judge(self, verdict: DlioError, now_ns: int) -> None:
        self._judged_ns = now_ns
        self._guard.verdict = verdict

    def _insist(self, now_ns: int) -> None:
        """End the group from here when the main thread does not come to take the verdict."""
        patience_ns = FROZEN_NS // 2 if isinstance(self._guard.verdict, StalledError) else 2 * FROZEN_NS
        if now_ns - self._judged_ns > patience_ns and not self._guard.ending and self._guard.verdict is not None:
            self._guard.fail(self._guard.verdict)

    def _lost(self, gone: Sequence[int]) -> None:
        """End the group because of neighbours that are ``gone``, naming the one that went first.

        A launcher kills the others within a millisecond, and their ends can be seen first; the cause is the one among
        the dying that the others waited for.
        """
        rows = {rank: row for rank, row in self._board.rows().items() if row.state is State.RUNNING}
        if self._state is State.CLOSING or not any(rank in rows for rank in gone):
            return
        missing = missing_of(rows, self._guard.world.size, time.monotonic_ns())
        dying = [rank for rank in missing if rank in self._neighbours and rank in rows and _is_dying(rows[rank].pid)]
        rank = next(iter([*dying, *(rank for rank in gone if rank in rows)]))
        who = f"rank {rank} on host {rows[rank].host} (pid {rows[rank].pid})"
        self._guard.fail(RankLostError(f"{who} ended without a word, in stage: {rows[rank].doing()}"))

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
                self._guard.say(listed("some ranks stand still", table(rows, self._guard.world.size, now_ns)))


def _followed(rank: int, row: Row) -> PeerFailedError:
    code = Exit(row.code) if row.code in set(Exit) else Exit.INTERNAL
    return PeerFailedError(rank, code, f"it ends with exit code {row.code}, in stage: {row.doing()}")


def _is_stopped(pid: int) -> bool:
    return _stat(pid)[0] in "TtZX"


def _is_dying(pid: int) -> bool:
    state, flags = _stat(pid)
    return state in "ZX" or bool(flags & _PF_EXITING)


def _stat(pid: int) -> tuple[str, int]:
    """Return state and flags of a process; as of a dead one if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return fields[0], int(fields[6])
