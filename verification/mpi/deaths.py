"""Which rank died first: when one dies, launchers kill the others at once, and then blame any of them."""

from __future__ import annotations

import json
import os
import platform
import select
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

POLL_S = 0.01


class DeathWatch:
    """Watches the ranks of one launch from outside, in the order in which the kernel reports their ends.

    Ranks make themselves known by the first line of their journals, and wait to be watched before they begin.  On
    systems without process descriptors, and for ranks on other hosts, it knows nothing.
    """

    def __init__(self, folder: Path, attempt: int, ranks: int) -> None:
        self._folder, self._attempt, self._count = folder, attempt, ranks
        self._known: set[Path] = set()
        self._ranks: dict[int, int] = {}
        self._poll = select.epoll() if hasattr(os, "pidfd_open") and hasattr(select, "epoll") else None
        self.dead: list[int] = []

    def wait(self, seconds: float) -> None:
        """Spend up to ``seconds`` watching, and less while not all ranks are known."""
        seconds = seconds if len(self._known) == self._count else POLL_S
        self._find()
        if self._poll is None:
            select.select([], [], [], seconds)
            return
        for descriptor, _ in self._poll.poll(seconds):
            self._poll.unregister(descriptor)
            self.dead.append(self._ranks.pop(descriptor))
            os.close(descriptor)

    def close(self) -> None:
        """Release all descriptors."""
        for descriptor in self._ranks:
            os.close(descriptor)
        self._ranks.clear()
        if self._poll is not None:
            self._poll.close()

    def _find(self) -> None:
        for path in set(self._folder.glob(f"mpi-attempt{self._attempt}-rank*.jsonl")) - self._known:
            first = path.read_text(encoding="utf-8", errors="replace").partition("\n")
            if first[1]:
                self._known.add(path)
                self._register(json.loads(first[0]))
        if len(self._known) == self._count:
            watched_file(self._folder, self._attempt).touch()

    def _register(self, session: Mapping[str, Any]) -> None:
        if self._poll is None or session["host"] != platform.node():
            return
        try:
            descriptor = os.pidfd_open(session["pid"])
        except OSError:
            return  # it has ended already
        self._ranks[descriptor] = session["rank"]
        self._poll.register(descriptor, select.EPOLLIN)


def watched_file(folder: Path, attempt: int) -> Path:
    """Return the file that appears when all ranks of a launch are watched."""
    return folder / f"attempt{attempt}.watched"


def await_watch(folder: Path, attempt: int, patience_s: float = 5.0) -> None:
    """Return when this launch is watched, or after ``patience_s``: then only the blame may be wrong."""
    limit = time.monotonic() + patience_s
    while not watched_file(folder, attempt).exists() and time.monotonic() < limit:
        time.sleep(POLL_S)
