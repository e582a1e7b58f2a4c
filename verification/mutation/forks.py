"""A piece of work in a fork: bounded in time and memory, without output, and with a folder of its own."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

MEMORY_BYTES = 12 << 30
POLL_S = 0.005
BROKEN = 70


def in_fork(work: Callable[[], int], limit_s: float, told: str = os.devnull) -> int | None:
    """Return the exit code of ``work`` in a fork, None if it took longer than ``limit_s``; output goes to ``told``.

    A process that dies of a signal gives the signal's number, negative.
    """
    folder = tempfile.mkdtemp()
    pid = os.fork()
    if not pid:
        _work(work, folder, told)
    end = time.monotonic() + limit_s
    try:
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(POLL_S)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return None
    finally:
        _end_group(pid)
        shutil.rmtree(folder, ignore_errors=True)


def _end_group(pid: int) -> None:
    """End what the fork has started and left behind."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _work(work: Callable[[], int], folder: str, told: str) -> None:
    code = BROKEN
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(output, number)
        os.environ |= {"PYTEST_DEBUG_TEMPROOT": folder, "TMPDIR": folder}
        tempfile.tempdir = folder
        code = work()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
