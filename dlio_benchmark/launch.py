"""How to start ranks: the launcher of this interpreter, its dialect, and a run that leaves nothing behind.

A launched process and all that it starts carry a mark in their environment.  Whatever becomes of the launcher, the
processes that are left are found by it, so they can be counted and ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO

from dlio_benchmark.board import BOARD, MARK, Board, Row, State, remove_segments, table
from dlio_benchmark.errors import ConfigError, Exit, Issue, listed
from dlio_benchmark.guard import FAILED_IN

_PROGRAMS = ("mpirun", "mpiexec")
_OF_A_RANK = re.compile(r"PMI_|PMIX_(?!MCA_)|HYDI_|MPI_LOCAL|OMPI_COMM_WORLD_|OMPI_WORLD_|PRTE_LAUNCHED")
_GRACE_S = 5.0
_POLL_S = 0.02
# Even a killed process stays while a device does not answer it.
_LAST_S = 10.0


class Dialect(Enum):
    """Families of launchers, by the options that they know."""

    HYDRA = "MPICH"
    OPEN_MPI = "Open MPI"


@dataclass(frozen=True, slots=True)
class Launcher:
    """A launcher's program and the dialect that it speaks."""

    program: str
    dialect: Dialect

    def command(
        self, n: int, argv: Sequence[str], *, hosts: Sequence[tuple[str, int]] = (), passing: Sequence[str] = ()
    ) -> list[str]:
        """Return the words that start ``argv`` as ``n`` ranks, on this host or on ``hosts`` with so many slots each.

        Ranks are never bound to cores: their readers are threads.  ``passing`` are variables of the environment that
        ranks of other hosts get, too; some launchers pass all of them anyway.
        """
        words = [self.program, "-n", str(n)]
        if hosts:
            words += ["-host", ",".join(f"{name}:{slots}" for name, slots in hosts)]
        if self.dialect is Dialect.OPEN_MPI:
            words += ["--oversubscribe", "--bind-to", "none", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]
            words += [word for name in passing for word in ("-x", name)]
        return [*words, *argv]

    def environ(self) -> dict[str, str]:
        """Return the variables that the launcher needs besides the usual ones."""
        if self.dialect is Dialect.OPEN_MPI and os.geteuid() == 0:
            return {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        return {}


def find_launcher(interpreter: str = sys.executable, path: str | None = None) -> Launcher:
    """Return the launcher beside ``interpreter``, else the one on ``path``, by default PATH.

    Raises:
        ConfigError: if there is none, or it does not say what it is.
    """
    beside = str(Path(interpreter).parent)
    found = [shutil.which(name, path=where) for where in (beside, path) for name in _PROGRAMS]
    for program in filter(None, found):
        return launcher_at(program)
    remedy = "install one with: pip install 'dlio_benchmark[mpi]'"
    raise ConfigError([Issue("MPI", f"no mpirun or mpiexec beside {interpreter} or on PATH; {remedy}")], "no launcher")


def launcher_at(program: str) -> Launcher:
    """Return the launcher at ``program`` with the dialect that it speaks; ConfigError if it does not say."""
    return Launcher(program, _dialect(program))


def _dialect(program: str) -> Dialect:
    try:
        answer = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
        text = answer.stdout + answer.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError([Issue(program, f"does not answer --version: {error}")], "no launcher") from error
    return Dialect.OPEN_MPI if re.search(r"Open MPI|PRRTE|prterun|OpenRTE", text) else Dialect.HYDRA


@dataclass(frozen=True, slots=True)
class Finished:
    """How a launched job ended.

    Attributes:
        code: of the rank that failed first, if it could post it; else the launcher's, 128 + number for a signal.
            It is 0 only if the job ended in time and no rank left its group open.
        stderr: of the job, and behind it what the ranks last said if none of them could say how they ended.
        left: ids of the processes that were still there some seconds after the launcher, and had to be killed.
        seconds: until the last process was gone.
    """

    code: int
    stdout: str
    stderr: str
    timed_out: bool
    left: tuple[int, ...] = ()
    seconds: float = 0.0


def run(
    n: int,
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    launcher: Launcher | None = None,
    grace_s: float = _GRACE_S,
) -> Finished:
    """Run ``argv`` as ``n`` ranks to the end of the last process of the job, or at most ``timeout_s``.

    The job has a session of its own and no input.  At the timeout, and when this call is interrupted, the launcher is
    asked to end the job, and after ``grace_s`` all that is left of it is killed.
    """
    launcher = launcher or find_launcher()
    environ = {**(env or os.environ), **launcher.environ()}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        words = launcher.command(n, argv)
        with Launched(words, n, environ, mark=uuid.uuid4().hex, stdout=out, stderr=err) as job:
            timed_out = job.wait(timeout_s) is None
            left = job.end(grace_s)
            stdout, stderr = _text(out), _text(err)
            last_words = job.last_words(stdout + stderr)
            code = job.code() or (int(Exit.STALLED) if timed_out else 0)
            seconds = time.monotonic() - job.begun
    return Finished(code, stdout, stderr + last_words, timed_out, left, seconds)


class Launched:
    """A job that was started, with all that it starts in turn; nothing of it outlives the context.

    The job has a session of its own and no input.  A mark in its environment tells its processes from others, and its
    ranks post on a board of this process, so that it can tell how they ended when they cannot.

    Args:
        words: what starts the job.
        n: the most ranks that it has.
        environ: its environment, in which what makes this process a rank of another job is left out.
        mark: a text that no other job has.

    Attributes:
        process: the launcher.
        begun: when it was started, in seconds of the monotonic clock.
    """

    def __init__(
        self,
        words: Sequence[str],
        n: int,
        environ: Mapping[str, str],
        *,
        mark: str,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
    ) -> None:
        self.mark = mark
        self._n = n
        self._board = Board(n, Board.make(n, self.mark))
        inherited = {name: text for name, text in environ.items() if not _OF_A_RANK.match(name)}
        self.begun = time.monotonic()
        try:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**inherited, MARK: self.mark, BOARD: self._board.path},
                start_new_session=True,
            )
        except BaseException:
            self._board.close()
            raise

    def __enter__(self) -> Launched:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(_GRACE_S)
        remove_segments(row.segment for row in self._board.rows().values())
        self._board.close()

    def wait(self, seconds: float) -> int | None:
        """Return the launcher's exit code as soon as it has ended, or None after ``seconds``."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def ask(self, signum: int) -> None:
        """Send a signal to the launcher and to what it has in its group."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signum)

    def end(self, grace_s: float) -> tuple[int, ...]:
        """End what is left of the job; returns the processes that did not go by themselves within ``grace_s``."""
        self.ask(signal.SIGTERM)
        until = time.monotonic() + grace_s
        while self._there() and time.monotonic() < until:
            time.sleep(_POLL_S)
        left = tuple(pid for pid in marked(self.mark) if pid != self.process.pid)
        until = time.monotonic() + _LAST_S
        while (there := self._there()) and time.monotonic() < until:
            for pid in there:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL_S)
        return left

    def _there(self) -> set[int]:
        return set(marked(self.mark)) | ({self.process.pid} if self.process.poll() is None else set())

    def code(self) -> int:
        """Return how the job ended: the code of the rank that failed first, else the launcher's, 128 + n for a signal.

        It is not 0 if a rank left its group open.
        """
        launcher_code = self.process.returncode
        return _code(-int(signal.SIGKILL) if launcher_code is None else launcher_code, self._board.rows())

    def last_words(self, output: str) -> str:
        """Return what the ranks last said, if the job's ``output`` does not tell how they ended."""
        return _last_words(self._board.rows(), self._n, output)


def marked(mark: str) -> list[int]:
    """Return the ids of the running processes that were started with ``mark`` in their environment."""
    entry, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return sorted(found)


def _code(launcher_code: int, rows: Mapping[int, Row]) -> int:
    failed = [row for row in rows.values() if row.state is State.FAILED]
    if failed:
        return min(failed, key=lambda row: row.moved_ns).code
    is_open = any(row.state is not State.CLOSING for row in rows.values())
    code = launcher_code if launcher_code >= 0 else 128 - launcher_code
    return int(Exit.INTERNAL) if is_open and not code else code


def _last_words(rows: Mapping[int, Row], size: int, output: str) -> str:
    """Return what the ranks last posted if some ended without closing and nobody was heard, else nothing.

    Those that the others waited for come first; the process that a launcher blames is often one that it killed itself.
    """
    if all(row.state is State.CLOSING for row in rows.values()) or FAILED_IN in output:
        return ""
    now_ns = max(row.posted_ns for row in rows.values())
    headline = "dlio_benchmark: the job ended without a word; its ranks were last seen at"
    return listed(headline, table(rows, size, now_ns)) + "\n"


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")
