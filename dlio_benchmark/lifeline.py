"""The start of the witness: the process that tells which rank of a host ended first when none is left to tell it.

A launcher that sees a rank die kills the others before they can say anything, and knows no ranks, only processes.
The witness (`dlio_benchmark.witness`) is none of the launcher's, reads the board, and sees the ranks end by their
lifelines: pipes that the kernel closes for them, in the order in which they die.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import subprocess
import sys
from collections.abc import Mapping

_START = "import sys; sys.path.insert(0, {root!r}); from dlio_benchmark.witness import main; main()"
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LEAVE_S = 5.0
# A dying process closes its files from the last to the first: this one before the connection to the launcher.
_LATE_FD = 200


class Lifeline:
    """A pipe that this process holds both ends of; others open `fd` of this process to see it end."""

    def __init__(self) -> None:
        self.fd, held = os.pipe()
        least = min(_LATE_FD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._held = fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, least)
        os.close(held)

    def close(self) -> None:
        """Let go; this is an end, too."""
        os.close(self.fd)
        os.close(self._held)


class Lines:
    """The lifelines of the ranks of a host, and `poll`, in which the kernel lists them in the order of their ends.

    They can be handed to another process, for which `fds` lists what it has to inherit.

    Args:
        ranks: process number and lifeline of each rank of this host; one that is gone is left out.
    """

    def __init__(self, ranks: Mapping[int, tuple[int, int]]) -> None:
        self.poll = select.epoll()
        self.ranks: dict[int, int] = {}
        for rank, (pid, fd) in ranks.items():
            with contextlib.suppress(OSError):
                line = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self.ranks[line] = rank
                self.poll.register(line, select.EPOLLIN)

    @property
    def fds(self) -> tuple[int, ...]:
        """The files that these lines are."""
        return (self.poll.fileno(), *self.ranks)

    def close(self) -> None:
        """Let go of the lines in this process."""
        self.poll.close()
        for line in self.ranks:
            os.close(line)


class Witness:
    """The witness of the ranks of this host; it ends when it is dismissed, or soon after this process.

    Args:
        ranks: process number and lifeline of each rank of this host.
    """

    def __init__(self, size: int, board: int, ranks: Mapping[int, tuple[int, int]]) -> None:
        heard, self._tell = os.pipe()
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.closing(Lines(ranks)) as lines:
            lines.poll.register(heard, select.EPOLLIN)
            numbers = [
                size,
                heard,
                board,
                lines.poll.fileno(),
                *(number for one in lines.ranks.items() for number in one),
            ]
            with contextlib.suppress(OSError):  # a group without a witness is a group all the same
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START.format(root=_ROOT), *map(str, numbers)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(heard, board, *lines.fds),
                    start_new_session=True,
                )
        os.close(heard)

    def dismiss(self) -> None:
        """Say that all is well, and see it leave."""
        with contextlib.suppress(OSError):
            os.write(self._tell, b".")
        self.wait()

    def wait(self) -> None:
        """See it leave, as it does when the ranks have ended; it gets a moment for that."""
        os.close(self._tell)
        if self._process is None:
            return
        try:
            self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
