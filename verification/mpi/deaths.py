"""Which rank died first: when one dies, launchers kill the others at once, and then blame any of them."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import time
from contextlib import suppress
from pathlib import Path

POLL_S = 0.01
# A dying process lets go of its files from the last to the first: of this one before the connection to the launcher.
LATE_FD = 200


class DeathWatch:
    """Watches the ranks of one launch from outside, in the order in which the kernel reports their ends.

    Each rank holds a lifeline, a named pipe that the kernel closes early when it dies: before a launcher can have
    noticed, and have killed others.  Ranks make themselves known by the first line of their journals, and wait to be
    watched before they begin.  On systems without epoll, and for ranks on other hosts, it knows nothing.
    """

    def __init__(self, folder: Path, attempt: int, ranks: int) -> None:
        self._folder, self._attempt, self._count = folder, attempt, ranks
        self._known: set[Path] = set()
        self._ranks: dict[int, int] = {}
        self._poll = select.epoll() if hasattr(select, "epoll") else None
        self.dead: list[int] = []
        for rank in range(ranks if self._poll else 0):
            with suppress(OSError):
                self._watch(rank)

    def _watch(self, rank: int) -> None:
        path = lifeline(self._folder, self._attempt, rank)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        line = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._ranks[line] = rank
        if self._poll is not None:
            self._poll.register(line, 0)  # nothing but the end of the writer, which is always told

    def wait(self, seconds: float) -> None:
        """Spend up to ``seconds`` watching, and less while not all ranks are known."""
        seconds = seconds if len(self._known) == self._count else POLL_S
        self._find()
        if self._poll is None:
            select.select([], [], [], seconds)
            return
        self._listen(self._poll, seconds)

    def _listen(self, poll: select.epoll, seconds: float) -> None:
        for line, _ in poll.poll(seconds):
            poll.unregister(line)
            self.dead.append(self._ranks.pop(line))
            os.close(line)

    def close(self) -> None:
        """Release all descriptors, and remove the lifelines."""
        for line in self._ranks:
            os.close(line)
        self._ranks.clear()
        if self._poll is not None:
            self._poll.close()
        for rank in range(self._count):
            lifeline(self._folder, self._attempt, rank).unlink(missing_ok=True)

    def _find(self) -> None:
        for path in set(self._folder.glob(f"mpi-attempt{self._attempt}-rank*.jsonl")) - self._known:
            if "\n" in path.read_text(encoding="utf-8", errors="replace"):
                self._known.add(path)
        if len(self._known) == self._count:
            if self._poll is not None:
                self._listen(self._poll, 0)  # lines that were taken hold of stand in the kernel's list until then
            watched_file(self._folder, self._attempt).touch()


def lifeline(folder: Path, attempt: int, rank: int) -> Path:
    """Return the named pipe that a rank holds open until it ends."""
    return folder / f"attempt{attempt}-rank{rank}.lifeline"


def announce(folder: Path, attempt: int, rank: int) -> int | None:
    """Take hold of the lifeline of this rank until it ends; return its descriptor, None where nobody watches."""
    try:
        line = os.open(lifeline(folder, attempt, rank), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        least = min(LATE_FD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        return fcntl.fcntl(line, fcntl.F_DUPFD_CLOEXEC, least)
    finally:
        os.close(line)


def watched_file(folder: Path, attempt: int) -> Path:
    """Return the file that appears when all ranks of a launch are watched."""
    return folder / f"attempt{attempt}.watched"


def await_watch(folder: Path, attempt: int, patience_s: float = 5.0) -> None:
    """Return when this launch is watched, or after ``patience_s``: then only the blame may be wrong."""
    limit = time.monotonic() + patience_s
    while not watched_file(folder, attempt).exists() and time.monotonic() < limit:
        time.sleep(POLL_S)
