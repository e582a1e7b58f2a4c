"""The command ``dlio_benchmark`` with one fault planted in it, for the matrix of faults.

    python faulty.py FAULT --stage NAME --rank R --at N [--busy SECONDS] [--fired FILE] -- ARGUMENTS

Nothing of the benchmark knows of it: the calls that local storage makes of the operating system, and the barriers
of the group, are counted from outside.  The fault strikes at the N-th of them on rank R while that rank says that it is
in the stage.  With ``--busy`` the other ranks make each of these calls so slow that they are in the middle of
their work when it does.
"""

from __future__ import annotations

import argparse
import inspect
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlio_benchmark import comm as groups
from dlio_benchmark import main
from dlio_benchmark.board import MARK
from dlio_benchmark.comm import Comm
from dlio_benchmark.errors import StorageError
from dlio_benchmark.storage.posix import Posix

FOREVER_S = 120.0


def read_badly(comm: Comm) -> None:
    raise StorageError(f"/planted/part-{comm.world.rank}: Input/output error")


def stumble(comm: Comm) -> None:
    raise ZeroDivisionError("planted")


def fail_in_thread(comm: Comm) -> None:
    def work() -> None:
        raise ValueError("planted in a thread")

    threading.Thread(target=work, name="planted-thread").start()
    time.sleep(FOREVER_S)


def signal_me(signum: int) -> Callable[[Comm], None]:
    def fault(comm: Comm) -> None:
        os.kill(os.getpid(), signum)
        time.sleep(FOREVER_S)

    return fault


def kill_worker(comm: Comm) -> None:
    """Kill a process that reads for this one, as the kernel does when memory is short."""
    worker = next(iter(multiprocessing.active_children()))
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(FOREVER_S)


def tell_launcher(*signals: int) -> Callable[[Comm], None]:
    def fault(comm: Comm) -> None:
        pid = launcher()
        for signum in signals:
            os.kill(pid, signum)
            time.sleep(0.3)
        time.sleep(FOREVER_S)

    return fault


def launcher() -> int:
    """Return the topmost process that carries the mark of this launch."""
    pid = os.getpid()
    while f"{MARK}=".encode() in Path(f"/proc/{parent_of(pid)}/environ").read_bytes():
        pid = parent_of(pid)
    return pid


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def go_slowly(comm: Comm) -> None:
    time.sleep(0.2)


FAULTS: Mapping[str, Callable[[Comm], object]] = {
    "exception": read_badly,
    "bug": stumble,
    "exception in a thread": fail_in_thread,
    "early exit": lambda comm: sys.exit(3),
    "exit 0": lambda comm: sys.exit(0),
    "exit 0 at once": lambda comm: os._exit(0),
    "kill -9": signal_me(signal.SIGKILL),
    "SIGTERM": signal_me(signal.SIGTERM),
    "SIGINT": signal_me(signal.SIGINT),
    "SIGSEGV": signal_me(signal.SIGSEGV),
    "hang": lambda comm: time.sleep(FOREVER_S),
    "hang of all": lambda comm: time.sleep(FOREVER_S),
    "SIGSTOP": signal_me(signal.SIGSTOP),
    "collective mismatch": lambda comm: comm.gather(1, "planted"),
    "worker killed": kill_worker,
    "launcher killed": tell_launcher(signal.SIGKILL),
    "launcher SIGTERM": tell_launcher(signal.SIGTERM),
    "launcher SIGINT": tell_launcher(signal.SIGINT),
    "launcher SIGINT twice": tell_launcher(signal.SIGINT, signal.SIGINT),
    "front end killed": tell_launcher(signal.SIGKILL),
    "front end SIGTERM": tell_launcher(signal.SIGTERM),
    "front end SIGINT twice": tell_launcher(signal.SIGINT, signal.SIGINT),
    "slow": go_slowly,
}
FOR_GOOD = frozenset({"slow"})
EVERY_RANK = -1


@dataclass
class Plan:
    """When which fault strikes in this process; ``left`` counts the calls until then."""

    fault: str
    stage: str
    rank: int
    left: int
    busy_s: float
    fired: str
    comm: Comm | None = None

    def __call__(self) -> None:
        comm = self.comm
        if comm is None or not comm.pulse.stage.startswith(self.stage):
            return
        if self.rank not in (EVERY_RANK, comm.world.rank):
            time.sleep(self.busy_s)
            return
        self.left -= 1
        if self.left == 0 or (self.left < 0 and self.fault in FOR_GOOD):
            if self.fired and self.left == 0:
                Path(self.fired).write_text(f"{time.monotonic()} {os.getpid()}")
            FAULTS[self.fault](comm)


def before(plan: Plan, kind: Any, name: str) -> None:
    """Have the plan called before each call of a method."""
    method, is_static = getattr(kind, name), isinstance(inspect.getattr_static(kind, name), staticmethod)

    def planted(*args: Any, **kwargs: Any) -> Any:
        plan()
        return method(*args, **kwargs)

    setattr(kind, name, staticmethod(planted) if is_static else planted)


def plant(plan: Plan, call: str) -> None:
    """Have the plan called where it is to strike, from the moment on that this process knows its group."""
    connect = groups.connect

    def joined(*args: Any, **kwargs: Any) -> Comm:
        comm = plan.comm = connect(*args, **kwargs)
        if call == "barrier":
            before(plan, type(comm), "barrier")
        return comm

    groups.connect = joined
    if call != "barrier":
        before(plan, Posix, call)


def options(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser()
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--call", required=True, choices=("write", "preadv", "fsync", "barrier"))
    parser.add_argument("--rank", type=int, default=1)
    parser.add_argument("--at", type=int, default=3)
    parser.add_argument("--busy", type=float, default=0.0)
    parser.add_argument("--fired", default="")
    cut = argv.index("--")
    return parser.parse_args(argv[:cut]), argv[cut + 1 :]


if __name__ == "__main__":
    asked, arguments = options(sys.argv[1:])
    plant(Plan(asked.fault, asked.stage, asked.rank, asked.at, asked.busy, asked.fired), asked.call)
    sys.argv[1:] = arguments
    main.main()
