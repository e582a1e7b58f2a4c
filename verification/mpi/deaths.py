"""Which rank died first: when one dies, launchers kill the others at once, and then blame any of them."""

from __future__ import annotations

import json
import os
import select
from pathlib import Path


class DeathWatch:
    """Watches the ranks of one launch from outside, in the order in which the kernel reports their ends.

    Ranks make themselves known by the first line of their journals.  On systems without process descriptors, and
    for ranks on other hosts, it knows nothing.
    """

    def __init__(self, folder: Path, attempt: int) -> None:
        self._folder, self._attempt = folder, attempt
        self._known: set[Path] = set()
        self._ranks: dict[int, int] = {}
        self._poll = select.epoll() if hasattr(os, "pidfd_open") and hasattr(select, "epoll") else None
        self.dead: list[int] = []

    def wait(self, seconds: float) -> None:
        """Spend up to ``seconds`` watching; new ranks are found at the beginning."""
        if self._poll is None:
            select.select([], [], [], seconds)
            return
        self._find()
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
            if not first[1] or self._poll is None:
                continue
            self._known.add(path)
            line = json.loads(first[0])
            try:
                descriptor = os.pidfd_open(line["pid"])
            except OSError:
                continue  # it is on another host, or has ended already
            self._ranks[descriptor] = line["rank"]
            self._poll.register(descriptor, select.EPOLLIN)
