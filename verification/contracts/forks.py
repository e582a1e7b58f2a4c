"""Calls that each need a process without a past: forks of one fresh interpreter, which has imported and done nothing.

An interpreter for each call would spend most of its time on imports.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import IO, Any, NoReturn, TypeVar

from verification.errors import ProbeError
from verification.probes import in_child
from verification.probes.child import LIMIT_S

T = TypeVar("T")


def in_forks(function: Callable[..., T], each: Sequence[tuple[Any, ...]], *, limit_s: float = LIMIT_S) -> list[T]:
    """Return what ``function`` returns for each of these arguments, each computed in a fork of a fresh process.

    Raises:
        ProbeError: if a call raises, or its process dies or is not done within ``limit_s``.
    """
    ended = ended_forks(function, each, limit_s=limit_s)
    dead = [f"{number} of {len(each)} by signal {-status}" for number, (status, _) in enumerate(ended, 1) if status]
    if dead:
        raise ProbeError(f"forks for {function.__qualname__} were ended: {', '.join(dead)}")
    return [answer for _, answer in ended]


def ended_forks(
    function: Callable[..., T], each: Sequence[tuple[Any, ...]], *, limit_s: float = LIMIT_S
) -> list[tuple[int, T]]:
    """Return for each call 0 and its result, or less than zero, the signal that ended its process, and None.

    SIGALRM ends one that is not done within ``limit_s``.

    Raises:
        ProbeError: if a call raises.
    """
    seconds = max(1, math.ceil(limit_s))
    outcomes = in_child(_all, function, each, seconds, limit_s=LIMIT_S + seconds * len(each))
    for number, (status, _, words) in enumerate(outcomes, 1):
        if status > 0:
            raise ProbeError(f"{function.__qualname__} raised in fork {number} of {len(each)}: {words}")
    return [(status, answer) for status, answer, _ in outcomes]


def _all(function: Callable[..., Any], each: Sequence[tuple[Any, ...]], limit_s: int) -> list[tuple[int, Any, str]]:
    return [_one(function, arguments, limit_s) for arguments in each]


def _one(function: Callable[..., Any], arguments: tuple[Any, ...], limit_s: int) -> tuple[int, Any, str]:
    with tempfile.TemporaryFile() as answer:
        pid = os.fork()
        if pid == 0:
            _answer(answer, function, arguments, limit_s)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        answer.seek(0)
        body = answer.read()
        result, words = pickle.loads(body) if body else (None, "")  # noqa: S301 - written by our own fork
        return status, result, words


def _answer(answer: IO[bytes], function: Callable[..., Any], arguments: tuple[Any, ...], limit_s: int) -> NoReturn:
    code = 1
    try:
        signal.alarm(limit_s)  # an end that outlives the process that waits for it
        said = pickle.dumps((function(*arguments), ""))
        code = 0
    except BaseException:
        said = pickle.dumps((None, traceback.format_exc()))
    finally:
        try:
            answer.write(said)
            answer.flush()
        finally:
            os._exit(code)
