"""A child process whose output is shown and kept line by line, and which never outlives its parent's interest."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from dlio_benchmark import launch
from dlio_benchmark.board import MARK

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 3.0
_POLL_S = 0.1
_OUTPUT_VARIABLE = "DLIO_OUTPUT_FOLDER"
_LAUNCH_VARIABLE = "DLIO_LAUNCH_ID"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code; negative for a signal.
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


def run(words: Sequence[str], stdout: Sink, stderr: Sink, *, secrets: Sequence[str] = ()) -> Ended:
    """Run ``words`` to its end; each line of its output goes to the terminal and to the sink's file.

    A SIGINT, SIGTERM or SIGHUP to this process ends the child and all that it started within seconds.

    Raises:
        OSError: if the child cannot be started, or a file cannot be opened.
    """
    with (
        _watched_signals() as asked,
        open(stdout.path, "wb", buffering=0) as out,
        open(stderr.path, "wb", buffering=0) as err,
    ):
        mark = uuid.uuid4().hex
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(mark),
            start_new_session=True,
        )
        pumps = [_Pump(child.stdout, stdout.terminal, out, secrets), _Pump(child.stderr, stderr.terminal, err, secrets)]
        try:
            code = _wait(child, asked)
        finally:
            _clear(child, mark)
            for pump in pumps:
                pump.join(timeout=1.0)
        unkept = next((pump.unkept for pump in pumps if pump.unkept), None)
    return Ended(code, mark, asked[0] if asked else None, unkept)


@contextlib.contextmanager
def _watched_signals() -> Iterator[list[signal.Signals]]:
    """Yield the list into which signals to this process are put instead of ending it; main thread only."""
    asked: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, lambda got, _: asked.append(signal.Signals(got))) for number in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(mark: str) -> dict[str, str]:
    """Return the child's environment: ours, with the launch's mark, and nothing that moves its results elsewhere."""
    kept = {name: text for name, text in os.environ.items() if name != _OUTPUT_VARIABLE}
    return {**kept, MARK: mark, _LAUNCH_VARIABLE: mark}


def _wait(child: subprocess.Popen[bytes], asked: Sequence[signal.Signals]) -> int:
    """Return the child's exit code; when asked to end, pass the wish on and wait no longer than the grace."""
    while not asked:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(_POLL_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGINT if asked[0] is signal.SIGINT else signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    while len(asked) == 1 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(_POLL_S)
    if child.poll() is None:
        child.kill()
    return child.wait()


def _clear(child: subprocess.Popen[bytes], mark: str) -> None:
    """Kill what is left of the job; launchers give ranks sessions of their own, so they are found by the mark."""
    if child.poll() is None:
        child.kill()
        child.wait()
    deadline = time.monotonic() + _GRACE_S
    while (left := launch.marked(mark)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


class _Pump(threading.Thread):
    """Moves a stream line by line to a terminal and a file until its end, also when these take no more.

    A pump that stopped would leave the child hanging on a full pipe, so what cannot be written is noted in ``unkept``.
    """

    def __init__(self, source: IO[bytes] | None, terminal: BinaryIO, kept: IO[bytes], secrets: Sequence[str]) -> None:
        super().__init__(name="pump", daemon=True)
        self.unkept: str | None = None
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
                shown = line
                for secret in self._hidden:
                    shown = shown.replace(secret, b"***")
                self._keep(shown)
                with contextlib.suppress(OSError, ValueError):
                    self._terminal.write(shown)
                    self._terminal.flush()

    def _keep(self, line: bytes) -> None:
        try:
            self._kept.write(line)
        except (OSError, ValueError) as error:
            self.unkept = self.unkept or str(error)
