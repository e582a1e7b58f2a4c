"""A call in a fresh interpreter: nothing that happened before counts, and a crash is a result.

A fresh process rather than a fork, because a fork inherits threads, caches and an initialized MPI.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from verification.errors import ProbeError
from verification.mpi.launch import clean_environment

T = TypeVar("T")
LIMIT_S = 120.0


class ChildFailureError(ProbeError):
    """The call raised in the child; ``kind`` is the name of the error's class."""

    def __init__(self, kind: str, message: str, trace: str) -> None:
        super().__init__(f"{kind}: {message}\n{trace}")
        self.kind, self.message = kind, message


class ChildDeathError(ProbeError):
    """The child died or did not end; ``signal`` is the number of the signal, 0 if it did not end in time."""

    def __init__(self, signal: int, words: str) -> None:
        super().__init__(f"the child was ended by signal {signal}: {words}" if signal else f"no end in time: {words}")
        self.signal = signal


def in_child(function: Callable[..., T], *arguments: Any, limit_s: float = LIMIT_S) -> T:
    """Return ``function(*arguments)`` as computed in a new process; the function must be importable by name.

    Raises:
        ChildFailureError: if the call raises.
        ChildDeathError: if the process dies or is not done within ``limit_s``.
    """
    with tempfile.TemporaryDirectory() as folder:
        task, answer = Path(folder) / "task", Path(folder) / "answer"
        task.write_bytes(pickle.dumps(list(sys.path)) + pickle.dumps((function, arguments)))
        command = [sys.executable, "-m", "verification.probes.child", str(task), str(answer)]
        environment = clean_environment({"PYTHONPATH": _path()})
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired as late:
            raise ChildDeathError(0, f"{function.__qualname__}, {limit_s:g} s") from late
        if not answer.exists():
            raise ChildDeathError(max(-done.returncode, 0), done.stderr[-2000:])
        kind, value = pickle.loads(answer.read_bytes())  # noqa: S301 - written by our own child
    if kind == "error":
        raise ChildFailureError(*value)
    result: T = value
    return result


def _path() -> str:

    return os.pathsep.join(part for part in sys.path if part)


def _main(task: str, answer: str) -> None:
    with open(task, "rb") as file:
        sys.path[:] = pickle.load(file)  # noqa: S301 - written by our own parent
        function, arguments = pickle.load(file)  # noqa: S301
    try:
        said: tuple[str, Any] = ("value", function(*arguments))
    except BaseException as error:
        said = ("error", (type(error).__name__, str(error), traceback.format_exc()))
    aside = Path(f"{answer}.part")
    aside.write_bytes(pickle.dumps(said))
    aside.rename(answer)


if __name__ == "__main__":
    _main(*sys.argv[1:])
