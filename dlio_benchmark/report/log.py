"""The log of a run: plain lines on stderr and in the log file, written by rank 0 only."""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
from collections.abc import Mapping
from typing import TextIO

from dlio_benchmark.config.redact import Redactor
from dlio_benchmark.errors import CannotCreateError, ConfigError, Issue

LEVELS: Mapping[str, int] = {
    "debug": 10,
    "info": 20,
    "warning": 30,
    "warn": 30,
    "output": 35,
    "error": 40,
    "critical": 50,
}


def level_of(environ: Mapping[str, str]) -> int:
    """Return the level that ``DLIO_LOG_LEVEL`` names; warning if it is not set.

    Raises:
        ConfigError: if there is no such level.
    """
    word = environ.get("DLIO_LOG_LEVEL", "warning")
    if word.lower() not in LEVELS:
        raise ConfigError([Issue("DLIO_LOG_LEVEL", f"must be one of {', '.join(LEVELS)}, got {word!r}")])
    return LEVELS[word.lower()]


def local_time() -> str:
    """Return the local time with microseconds, as the log lines carry it."""
    return datetime.datetime.now(datetime.UTC).astimezone().strftime("%Y-%m-%dT%H:%M:%S.%f")


class Log:
    """Lines ``[LEVEL] message`` for people and for tools that read them, without the secrets that are known."""

    def __init__(
        self,
        *,
        quiet: bool = False,
        level: int = LEVELS["warning"],
        stream: TextIO | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self.quiet = quiet
        self.redactor = redactor or Redactor()
        self._level = level
        self._stream = stream or sys.stderr
        self._file: TextIO | None = None
        self.path: str | None = None

    def open(self, folder: str, name: str) -> None:
        """Begin the log file anew.

        Raises:
            CannotCreateError: if it cannot be made.
        """
        if self.quiet:
            return
        self.path = os.path.join(folder, name)
        try:
            self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115 - closed by close()
        except OSError as error:
            msg = f"{self.path}: cannot write the log: {error.strerror}"
            raise CannotCreateError(msg) from error

    def line(self, level: str, text: str) -> None:
        """Write a message, if its level is wanted; it may have several lines.

        Raises:
            CannotCreateError: if the log file cannot be written.
        """
        if self.quiet or LEVELS[level] < self._level:
            return
        out = f"[{level.upper()}] {self.redactor.text(text)}\n"
        self._stream.write(out)
        self._stream.flush()
        if self._file is not None:
            self._keep(self._file, out)

    def _keep(self, file: TextIO, text: str) -> None:
        try:
            file.write(text)
            file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                self.close()
            msg = f"{self.path}: cannot write the log: {error.strerror}"
            raise CannotCreateError(msg) from error

    def output(self, text: str) -> None:
        """Write a message with its time, at the level that is shown by default."""
        self.line("output", f"{local_time()} {text}")

    def close(self) -> None:
        """Close the log file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
