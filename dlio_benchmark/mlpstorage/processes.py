"""A child process whose output is shown and kept line by line, and which never outlives its parent's interest."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, BinaryIO

from dlio_benchmark import launch
from dlio_benchmark.guard import FAILED_IN

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 3.0
_POLL_S = 0.1
_OUTPUT_VARIABLE = "DLIO_OUTPUT_FOLDER"
_LAUNCH_VARIABLE = "DLIO_LAUNCH_ID"
_FAILED = FAILED_IN.encode()
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code, that of the rank that failed first if it has ranks; 128 + number for a signal.
        launch: the text by which a result can be told to be this launch's.
        interrupted_by: the signal that asked us to end it, if one did.
        unkept: why its output could not be kept, if it could not.
    """

    code: int
    launch: str
    interrupted_by: signal.Signals | None = None
    unkept: str | None = None


@dataclass(frozen=True, slots=True)
class Sink:
    """Where one stream of a child goes: the terminal's stream and a file."""

    terminal: BinaryIO
    path: Path


def run(
    words: Sequence[str],
    stdout: Sink,
    stderr: Sink,
    *,
    ranks: int = 1,
    secrets: Sequence[str] = (),
    variables: Mapping[str, str] = _NONE,
) -> Ended:
    """Run ``words`` to its end; each line of its output goes to the terminal and to the sink's file.

    A SIGINT, SIGTERM or SIGHUP to this process ends the child and all that it started within seconds.

    Args:
        ranks: the most ranks that it starts.
        secrets: texts that are neither shown nor kept.
        variables: what its environment has besides that of this process.

    Raises:
        OSError: if the child cannot be started, or a file cannot be opened.
    """
    mark = uuid.uuid4().hex
    environ = {name: text for name, text in os.environ.items() if name != _OUTPUT_VARIABLE}
    environ |= {_LAUNCH_VARIABLE: mark, **variables}
    pipe = subprocess.PIPE
    with (
        _watched_signals() as asked,
        open(stdout.path, "wb", buffering=0) as out,
        open(stderr.path, "wb", buffering=0) as err,
        launch.Launched(words, ranks, environ, mark=mark, stdout=pipe, stderr=pipe) as job,
    ):
        told = _Pump(job.process.stdout, stdout.terminal, out, secrets)
        warned = _Pump(job.process.stderr, stderr.terminal, err, secrets)
        try:
            _wait(job, asked)
        finally:
            job.end(_GRACE_S)
            for pump in (told, warned):
                pump.join(timeout=1.0)
        warned.move(job.last_words(warned.failure).encode())
        return Ended(job.code(), mark, asked[0] if asked else None, told.unkept or warned.unkept)


@contextlib.contextmanager
def _watched_signals() -> Iterator[list[signal.Signals]]:
    """Yield the list into which signals to this process are put instead of ending it; main thread only.

    Under nohup, which has SIGHUP ignored, a run outlives its terminal.
    """
    asked: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    taken = [number for number in _SIGNALS if number != signal.SIGHUP or not outlives]
    before = {number: signal.signal(number, lambda got, _: asked.append(signal.Signals(got))) for number in taken}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(job: launch.Launched, asked: Sequence[signal.Signals]) -> None:
    """Return when the job has ended; when asked to end, pass the wish on and wait no longer than the grace."""
    while job.wait(_POLL_S) is None and not asked:
        pass
    if not asked:
        return
    job.ask(signal.SIGINT if asked[0] is signal.SIGINT else signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    while len(asked) == 1 and time.monotonic() < deadline and job.wait(_POLL_S) is None:
        pass
    if job.process.poll() is None:
        job.process.kill()


class _Pump(threading.Thread):
    """Moves a stream line by line to a terminal and a file until its end, also when these take no more.

    A pump that stopped would leave the child hanging on a full pipe, so what cannot be written is noted in ``unkept``.
    ``failure`` is the first line in which a rank says how it ended.
    """

    def __init__(self, source: IO[bytes] | None, terminal: BinaryIO, kept: IO[bytes], secrets: Sequence[str]) -> None:
        super().__init__(name="pump", daemon=True)
        self.unkept: str | None = None
        self.failure = ""
        self._source = source
        self._terminal = terminal
        self._kept = kept
        self._hidden = [secret.encode() for secret in secrets if secret]
        self.start()

    def run(self) -> None:
        """Move every line."""
        if self._source is None:
            return
        with self._source as source:
            for line in source:
                self.move(line)

    def move(self, text: bytes) -> None:
        """Show and keep ``text``, without the secrets in it."""
        if not self.failure and _FAILED in text:
            self.failure = text.decode(errors="replace")
        for secret in self._hidden:
            text = text.replace(secret, b"***")
        self._keep(text)
        with contextlib.suppress(OSError, ValueError):
            self._terminal.write(text)
            self._terminal.flush()

    def _keep(self, line: bytes) -> None:
        try:
            self._kept.write(line)
        except (OSError, ValueError) as error:
            self.unkept = self.unkept or str(error)
