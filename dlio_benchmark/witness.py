"""The witness of the ranks of a host: says which one ended first, and where it was, when no rank is left to say so.

It is started by `dlio_benchmark.lifeline` and is no rank: no launcher knows it.  What it says goes to the standard
error of the rank that started it, into the log, and as a record into the folder of the results.  It takes nothing but
the board and the lifelines, and loads what a record needs only when there is something to record.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Mapping, Sequence

from dlio_benchmark.board import Board, Row, State, remove_segments
from dlio_benchmark.errors import Exit, RankLostError

_OTHERS_S = 2.0
_LEAVE_S = 10.0


class Deaths:
    """Which ranks have ended, the first one first; and whether the group was closed in order.

    Args:
        heard: where whoever started this says that all is well.
        poll: the kernel's list of the lines and of ``heard``; it keeps the order in which they changed.
        lines: the lifelines, and whose they are.
    """

    def __init__(self, heard: int, poll: select.epoll, lines: Mapping[int, int]) -> None:
        self.order: list[int] = []
        self.closed = False
        self._heard = heard
        self._poll = poll
        self._open = dict(lines)

    @property
    def left(self) -> int:
        """How many ranks have not ended."""
        return len(self._open)

    def look(self, seconds: float | None = None) -> None:
        """Wait until another rank has ended or the group was closed, at most ``seconds``."""
        for fd, _ in self._poll.poll(seconds):
            self._poll.unregister(fd)
            if fd == self._heard:
                self.closed = bool(os.read(fd, 1))
            else:
                self.order.append(self._open.pop(fd))

    def wait_for_all(self, seconds: float) -> None:
        """Wait until every rank has ended or the group was closed, at most ``seconds``."""
        until = time.monotonic() + seconds
        while self.left and not self.closed and (rest := until - time.monotonic()) > 0:
            self.look(rest)


def lost(deaths: Deaths, board: Board) -> tuple[int, Row] | None:
    """Wait for an end without a word; return that rank and its last row, or None if the ranks need no witness."""
    while not deaths.closed:
        rows = board.rows()
        if any(row.state is State.FAILED for row in rows.values()):
            return None
        mute = [rank for rank in deaths.order if rank in rows and rows[rank].state is State.RUNNING]
        if mute:
            return _unless_told(deaths, board, mute[0])
        if not deaths.left:
            return None
        deaths.look()
    return None


def _unless_told(deaths: Deaths, board: Board, rank: int) -> tuple[int, Row] | None:
    """Return the rank's last row if none of those that are left tells of it."""
    until = time.monotonic() + _OTHERS_S
    while deaths.left and (rest := until - time.monotonic()) > 0 and not _is_told(board):
        deaths.look(min(rest, 0.05))
    return None if _is_told(board) else (rank, board.rows()[rank])


def _is_told(board: Board) -> bool:
    return any(row.state is State.FAILED for row in board.rows().values())


def tell(rank: int, size: int, row: Row, *, log: str, folder: str) -> None:
    """Say that a rank ended without a word; add it to ``log``, and leave a record in ``folder`` if there is none."""
    from dlio_benchmark.config.redact import Redactor  # noqa: PLC0415 - see above
    from dlio_benchmark.guard import Failure  # noqa: PLC0415
    from dlio_benchmark.report.failure import FAILURE, LAUNCH_VARIABLE, Recorder  # noqa: PLC0415

    what = "it ended without a word, and no rank of its host was left to tell"
    failure = Failure(
        rank, size, row.host, row.pid, row.doing(), int(Exit.INTERNAL), RankLostError.__name__, what, trace=""
    )
    with contextlib.suppress(OSError):
        os.write(2, f"dlio_benchmark: {failure}\n".encode(errors="replace"))
    if log and os.path.exists(log):
        with contextlib.suppress(OSError), open(log, "a", encoding="utf-8", errors="replace") as file:
            file.write(f"[ERROR] {failure}\n")
    if folder and not os.path.exists(os.path.join(folder, FAILURE)):
        Recorder(os.environ.get(LAUNCH_VARIABLE, ""), Redactor(), folder)(failure)


def run(numbers: Sequence[int]) -> None:
    """Watch: ``numbers`` are the size of the group, what to hear by, the board, the list, lines and their ranks."""
    size, heard, fd, listed, *rest = numbers
    lines = dict(zip(*[iter(rest)] * 2, strict=True))
    board = Board(size, fd)
    deaths = Deaths(heard, select.epoll.fromfd(listed), lines)
    found = lost(deaths, board)
    if found is not None:
        log, _, folder = board.noted().partition("\0")
        tell(found[0], size, found[1], log=log, folder=folder)
    if not deaths.closed:
        deaths.wait_for_all(_LEAVE_S)
        remove_segments(row.segment for row in board.rows().values())
    board.close()


def main() -> None:
    """Watch as the command line says."""
    run([int(word) for word in sys.argv[1:]])
