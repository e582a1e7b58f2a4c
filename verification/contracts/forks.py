"""Calls that each need a process without a past: forks of one fresh interpreter, which has imported and done nothing.

An interpreter for each call would spend most of its time on imports.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from verification.errors import ProbeError
from verification.probes import in_child

T = TypeVar("T")


def in_forks(function: Callable[..., T], each: Sequence[tuple[Any, ...]]) -> list[T]:
    """Return what ``function`` returns for each of these arguments, each computed in a fork of a fresh process.

    Raises:
        ProbeError: if a call raises, or its process dies.
    """
    found: list[T] = []
    for status, answer, words in ended_forks(function, each):
        if status:
            raise ProbeError(f"{function.__qualname__} ended with {status}: {words}")
        found.append(answer)
    return found


def ended_forks(function: Callable[..., Any], each: Sequence[tuple[Any, ...]]) -> list[tuple[int, Any, str]]:
    """Return for each call how its process ended (less than zero: by that signal), its result, and its traceback."""
    return in_child(_all, function, each)


def _all(function: Callable[..., Any], each: Sequence[tuple[Any, ...]]) -> list[tuple[int, Any, str]]:
    return [_one(function, arguments) for arguments in each]


def _one(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[int, Any, str]:
    with tempfile.TemporaryFile() as answer:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                said = pickle.dumps((function(*arguments), ""))
                code = 0
            except BaseException:
                said = pickle.dumps((None, traceback.format_exc()))
            os.write(answer.fileno(), said)
            os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        answer.seek(0)
        body = answer.read()
        result, words = pickle.loads(body) if body else (None, "")  # noqa: S301 - written by our own fork
        return status, result, words
