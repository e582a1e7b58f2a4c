"""The command, in processes that are forked from one which has imported it: a start without the time of imports.

As a program it serves: it takes a command per line of standard input, and answers each with a line, in JSON.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

from dlio_benchmark import main

for _name in ("job", "comm", "guard", "config.files", "report.failure", "report.log", "engine.agree", "utils.config"):
    importlib.import_module(f"dlio_benchmark.{_name}")
importlib.import_module("hydra")

LIMIT_S = 120
CAPABILITIES, OVERRIDE_AND_SEARCH = 0x2008_0522, 1 << 1 | 1 << 2


def ended(
    argv: Sequence[str], folder: str, environ: Mapping[str, str], *, unprivileged: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in ``folder``, perhaps without what lets root pass by the modes of files."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            _be_the_command(argv, folder, environ, out.fileno(), said.fileno(), unprivileged)
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        said.seek(0)
        texts = (file.read().decode(errors="surrogateescape") for file in (out, said))
        return subprocess.CompletedProcess(argv, os.waitstatus_to_exitcode(status), *texts)


def _be_the_command(
    argv: Sequence[str], folder: str, environ: Mapping[str, str], out: int, said: int, unprivileged: bool
) -> NoReturn:
    """Do what an interpreter does that runs the command, to its end: nothing of the parent's is unwound."""
    code = 1
    try:
        _begin(out, said, unprivileged=unprivileged)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)
        sys.argv[1:] = argv
        code = _status()
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _begin(out: int, said: int, *, unprivileged: bool) -> None:
    signal.alarm(LIMIT_S)
    atexit._clear()  # what the parent does at its own end, such as removing its folders
    with open(os.devnull, "rb") as nothing:
        for number, into in ((nothing.fileno(), 0), (out, 1), (said, 2)):
            os.dup2(number, into)
    if unprivileged and os.geteuid() == 0:
        _drop()


def _status() -> int:
    """Run the command and return its exit code; anything else that it leaves with is printed."""
    try:
        main.main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _drop() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header, held = struct.pack("Ii", CAPABILITIES, 0), ctypes.create_string_buffer(24)
    assert libc.capget(header, held) == 0, os.strerror(ctypes.get_errno())
    effective, permitted, *others = struct.unpack("6I", held.raw)
    keep = ~OVERRIDE_AND_SEARCH
    left = struct.pack("6I", effective & keep, permitted & keep, *others)
    assert libc.capset(header, left) == 0, os.strerror(ctypes.get_errno())


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        done = ended(**asked | {"environ": {**os.environ, **asked["environ"]}})
        print(json.dumps([done.returncode, done.stdout, done.stderr]), flush=True)
