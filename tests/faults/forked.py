"""The command, in processes that are forked from one which has imported it: a start without the time of imports.

As a program it serves: it takes a command per line of standard input, and answers each with a line, in JSON.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

from dlio_benchmark import main

for _name in ("job", "comm", "guard", "config.files", "report.failure", "report.log", "engine.agree", "utils.config"):
    importlib.import_module(f"dlio_benchmark.{_name}")
importlib.import_module("hydra")

LIMIT_S = 120
CAPABILITIES, OVERRIDE_AND_SEARCH = 0x2008_0522, 1 << 1 | 1 << 2


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def ended(argv: Sequence[str], folder: str, environ: Mapping[str, str], *, unprivileged: bool = False) -> Ended:
    """Run the command to its end, in ``folder``, perhaps without what lets root pass by the modes of files."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            _begin(out.fileno(), said.fileno(), unprivileged=unprivileged)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environ)
            _end(argv)
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        said.seek(0)
        texts = (file.read().decode(errors="surrogateescape") for file in (out, said))
        return Ended(os.waitstatus_to_exitcode(status), *texts)


def _begin(out: int, said: int, *, unprivileged: bool) -> None:
    signal.alarm(LIMIT_S)
    with open(os.devnull, "rb") as nothing:
        for number, into in ((nothing.fileno(), 0), (out, 1), (said, 2)):
            os.dup2(number, into)
    if unprivileged and os.geteuid() == 0:
        _drop()


def _end(argv: Sequence[str]) -> NoReturn:
    """Be the command: end this process as an interpreter that runs it would end."""
    code = 1
    try:
        sys.argv[1:] = argv
        main.main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


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
        print(
            json.dumps(
                asdict(
                    ended(
                        asked["argv"],
                        asked["folder"],
                        {**os.environ, **asked["environ"]},
                        unprivileged=asked["unprivileged"],
                    )
                )
            ),
            flush=True,
        )
