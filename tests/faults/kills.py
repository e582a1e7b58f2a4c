"""Generation is killed at random moments, and restarted.

The process that runs this forks one child per attempt, so that the start of the interpreter is paid once, and has
generated without threads before it does.  A child is
killed after a random time, or kills itself at a random call of the operating system, in the middle of a write if
it is one.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from findings import Files, Finding, differences, files_below, make, partial_files, tree

from dlio_benchmark.storage.output import PARTIAL
from dlio_benchmark.storage.posix import Posix

_MOST_KILLS_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Deadly(Posix):
    """Calls that end with the ``last``-th; of a write only a part is made."""

    last: int = 0
    made: list[int] = field(default_factory=lambda: [0])

    def _count(self) -> bool:
        self.made[0] += 1
        return self.made[0] == self.last

    def open(self, path: str, flags: int) -> int:
        """Open, or die."""
        self._die_if(self._count())
        return os.open(path, flags, 0o644)

    def write(self, fd: int, chunk: memoryview) -> int:
        """Write, or write a part and die."""
        dying = self._count()
        wrote = os.write(fd, chunk[: len(chunk) // 2] if dying else chunk)
        self._die_if(dying)
        return wrote

    def fsync(self, fd: int) -> None:
        """Force to the device, or die."""
        self._die_if(self._count())
        os.fsync(fd)

    def rename(self, old: str, new: str) -> None:
        """Rename, and perhaps die at once."""
        os.replace(old, new)
        self._die_if(self._count())

    def _die_if(self, dying: bool) -> None:
        if dying:
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], object], kill_after_s: float | None = None) -> int:
    """Run ``work`` in a forked child and return its wait status; kill it after a time if one is given."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what ``many`` kills showed."""
    dice, found = random.Random(seed), Finding()
    calm = os.path.join(folder, "calm")
    make(calm, tree())
    whole = files_below(calm)
    begin = time.monotonic()
    in_child(lambda: make(os.path.join(folder, "timed"), tree(), threads=1))
    spent_s = time.monotonic() - begin
    while found.figures.get("kills", 0) < many:
        root = os.path.join(folder, "root")
        for _ in range(dice.randint(1, _MOST_KILLS_IN_A_ROW)):
            _kill_once(root, dice, spent_s, found)
            for path in partial_files(root, whole):
                found.wrong(f"after a kill, {path} is not whole")
        _restart(root, whole, found)
        shutil.rmtree(root, ignore_errors=True)
    return found


def _kill_once(root: str, dice: random.Random, spent_s: float, found: Finding) -> None:
    at_once = dice.choice((1, 3))
    if dice.random() < 0.5:
        status = in_child(
            lambda: make(root, tree(), threads=1, files_at_once=at_once), kill_after_s=dice.uniform(0, 1.1 * spent_s)
        )
    else:
        last = dice.randint(1, 90)
        status = in_child(lambda: make(root, tree(), calls=Deadly(last), threads=1, files_at_once=at_once))
    killed = os.WIFSIGNALED(status)
    found.count("kills" if killed else "ended before the kill")
    if not killed and status != 0:
        found.wrong(f"an attempt that was not killed ended with status {status}")


def _restart(root: str, whole: Files, found: Finding) -> None:
    names = list(files_below(root)) if os.path.isdir(root) else []
    found.count("temporary files left by kills", sum(name.endswith(PARTIAL) for name in names))
    found.count("whole files left by kills", sum(name in whole for name in names))
    found.count("restarts")
    status = in_child(lambda: make(root, tree(), threads=1))
    if status != 0:
        found.wrong(f"a restart ended with status {status}")
    for path in differences(root, whole):
        found.wrong(f"after the restart {path} differs from an undisturbed run")
