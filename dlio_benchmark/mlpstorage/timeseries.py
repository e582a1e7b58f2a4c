"""Samples of this host's counters while a run goes on, as the kernel prints them."""

from __future__ import annotations

import contextlib
import platform
import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SOURCES = {
    "diskstats": "/proc/diskstats",
    "vmstat": "/proc/vmstat",
    "meminfo": "/proc/meminfo",
    "loadavg": "/proc/loadavg",
    "netdev": "/proc/net/dev",
}


class Timeseries:
    """The samples of one run; the newest are kept when there are more than ``most``."""

    def __init__(self, interval_s: float, most: int) -> None:
        self.interval_s = interval_s
        self.started = datetime.now(tz=UTC)
        self._samples: deque[dict[str, Any]] = deque(maxlen=most)

    @contextlib.contextmanager
    def sampling(self) -> Iterator[None]:
        """Take a sample at once, then one per interval in a thread, and one at the end."""
        over = threading.Event()

        def sample() -> None:
            while not over.wait(self.interval_s):
                self.sample()

        self.sample()
        thread = threading.Thread(target=sample, name="timeseries", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.sample()

    def sample(self) -> None:
        """Add one sample of all counters that this host has."""
        counters: dict[str, Any] = {"timestamp": datetime.now(tz=UTC).isoformat()}
        for name, path in _SOURCES.items():
            with contextlib.suppress(OSError):
                counters[name] = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        self._samples.append(counters)

    def document(self) -> dict[str, Any]:
        """Return the content of the timeseries file."""
        return {
            "collection_interval_seconds": self.interval_s,
            "start_time": self.started.isoformat(),
            "end_time": datetime.now(tz=UTC).isoformat(),
            "num_samples": len(self._samples),
            "samples_by_host": {platform.node(): list(self._samples)},
        }
