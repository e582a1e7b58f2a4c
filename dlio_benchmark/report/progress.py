"""Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere; rank 0 only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_LINE_EVERY_S, _BAR_EVERY_S = 10.0, 0.1
MIB = 2**20


class Meter:
    """Counts work against a total and tells about rate and remaining time now and then."""

    def __init__(
        self,
        what: str,
        total: int,
        *,
        say: Callable[[str], None] | None,
        unit: str = "files",
        stream: TextIO | None = None,
    ) -> None:
        self._what, self._total, self._unit, self._say = what, total, unit, say
        self._stream = stream or sys.stderr
        self._done = 0
        self._bytes = 0
        self._begin = self._told = time.monotonic()
        self._every_s = _LINE_EVERY_S
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Meter:
        if self._say is not None and self._stream.isatty():
            self._bar, self._task = _bar(self._what, self._total)
            self._bar.start()
            self._every_s = _BAR_EVERY_S
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._draw()
            self._bar.stop()

    def advance(self, many: int, stored_bytes: int = 0) -> None:
        """Count work that was done."""
        self._done += many
        self._bytes += stored_bytes
        if self._say is None:
            return
        now = time.monotonic()
        if now - self._told < self._every_s:
            return
        self._told = now
        if self._bar is None:
            self._say(self.text())
        else:
            self._draw()

    def _draw(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, rate=self._rate())

    def _rate(self) -> str:
        spent = max(time.monotonic() - self._begin, 1e-9)
        if self._bytes:
            return f"{self._bytes / MIB / spent:.1f} MiB/s"
        return f"{self._done / spent:.1f} {self._unit}/s"

    def text(self) -> str:
        """Return done, total, rate and remaining time in words."""
        spent = max(time.monotonic() - self._begin, 1e-9)
        left = spent / self._done * (self._total - self._done) if self._done else 0.0
        share = 100 * self._done / self._total if self._total else 100.0
        return (
            f"{self._what}: {self._done}/{self._total} {self._unit} ({share:.0f} %), {self._rate()}, "
            f"about {left:.0f} s left"
        )


def _bar(what: str, total: int) -> tuple[RichProgress, TaskID]:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    return bar, bar.add_task(what, total=total, rate="")
