"""A small job that walks through the stages of a run in step, with one fault injected on the last rank.

    mpirun -n 2 python tests/mpi/fault_job.py FAULT STAGE [--deadline SECONDS] [--apart]

It says ``complete`` on standard output only after the group was closed in order.  The deadline is short for faults that
show only when it has passed, and far for those that must show without.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from dlio_benchmark.board import BOARD, MARK, Board, segments
from dlio_benchmark.comm import Comm, connect, launch_of
from dlio_benchmark.errors import InterruptedRunError, StorageError
from dlio_benchmark.guard import Guard, die_with_parent
from dlio_benchmark.launch import Finished

STAGES = ("generate", "train", "verify")
STEPS = 20
FAR_S, SHORT_S, SHORT_FOR_OPEN_MPI_S = 50.0, 2.0, 6.0
"""No rank moves in the second, or in the seconds on a busy machine, that Open MPI needs to start."""


def read_badly(comm: Comm) -> None:
    raise StorageError(f"/data/part-{comm.world.rank}: Input/output error")


def fail_in_thread(comm: Comm) -> None:
    def work() -> None:
        raise ValueError("planted in a thread")

    threading.Thread(target=work, name="reader-0").start()
    time.sleep(60)


def hang_with_lock(comm: Comm) -> None:
    """Stay in C code without giving the interpreter lock to any other thread."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def signal_me(signum: int) -> Callable[[Comm], None]:
    def fault(comm: Comm) -> None:
        os.kill(os.getpid(), signum)
        time.sleep(60)

    return fault


def kill_launcher(comm: Comm) -> None:
    os.kill(launcher(), signal.SIGKILL)
    time.sleep(60)


def interrupt_launcher(*signals: int) -> Callable[[Comm], None]:
    def fault(comm: Comm) -> None:
        for signum in signals:
            os.kill(launcher(), signum)
            time.sleep(0.3)
        time.sleep(60)

    return fault


def launcher() -> int:
    """Return the topmost process that carries the mark of this launch."""
    pid = os.getpid()
    while f"{MARK}=".encode() in Path(f"/proc/{parent_of(pid)}/environ").read_bytes():
        pid = parent_of(pid)
    return pid


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def end_worker(parent: int) -> None:
    die_with_parent(parent=parent)
    os.kill(os.getpid(), signal.SIGKILL)


def lose_worker(comm: Comm) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        pool.submit(end_worker, os.getpid()).result()


def go_slowly(comm: Comm, deadline_s: float) -> None:
    """Take longer than the deadline, but be seen to move."""
    for part in range(5):
        comm.pulse.done = 100 + part
        time.sleep(deadline_s / 4)


def pause_job(comm: Comm, deadline_s: float) -> None:
    """Stop all ranks for longer than the deadline, as a scheduler does that suspends a job."""
    size = comm.world.size
    fd = Board.find(os.environ[BOARD], os.environ[MARK])
    assert fd is not None
    pids = [row.pid for row in Board(size, fd).rows().values()]
    lines = ["import os, signal, time"]
    lines += [f"os.kill({pid}, signal.SIGSTOP)" for pid in pids]
    lines += [f"time.sleep({deadline_s + 0.5})", *(f"os.kill({pid}, signal.SIGCONT)" for pid in pids)]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], stdin=subprocess.DEVNULL, check=True, timeout=60)


def nothing(comm: Comm) -> None:
    pass


FAULTS: Mapping[str, Callable[[Comm], object]] = {
    "exception": read_badly,
    "exception-in-thread": fail_in_thread,
    "exit-3": lambda comm: sys.exit(3),
    "exit-0": lambda comm: sys.exit(0),
    "os-exit-0": lambda comm: os._exit(0),
    "kill-9": signal_me(signal.SIGKILL),
    "sigterm": signal_me(signal.SIGTERM),
    "sigint": signal_me(signal.SIGINT),
    "sigsegv": signal_me(signal.SIGSEGV),
    "hang": lambda comm: time.sleep(60),
    "hang-with-lock": hang_with_lock,
    "sigstop": signal_me(signal.SIGSTOP),
    "mismatch": lambda comm: comm.gather(1, "planted"),
    "worker-killed": lose_worker,
    "launcher-killed": kill_launcher,
    "launcher-sigterm": interrupt_launcher(signal.SIGTERM),
    "launcher-sigint": interrupt_launcher(signal.SIGINT),
    "early": nothing,
    "late": nothing,
    "none": nothing,
}
LONGER_THAN_THE_DEADLINE: Mapping[str, Callable[[Comm, float], object]] = {"slow": go_slowly, "pause": pause_job}
AWAIT_THE_DEADLINE = frozenset({"hang", "hang-with-lock", "sigstop", "early", "late", *LONGER_THAN_THE_DEADLINE})


def short_s(launcher: str) -> float:
    """Return the deadline in seconds of faults that show only when it has passed."""
    return SHORT_FOR_OPEN_MPI_S if launcher == "Open MPI" else SHORT_S


def deadline_s(fault: str) -> float:
    """Return the deadline that suits a fault in this job."""
    launch = launch_of(os.environ)
    return short_s(launch.launcher if launch else "") if fault in AWAIT_THE_DEADLINE else FAR_S


def planted(fault: str, deadline_s: float) -> Callable[[Comm], object]:
    """Return what happens to the last rank."""
    longer = LONGER_THAN_THE_DEADLINE.get(fault)
    return FAULTS[fault] if longer is None else lambda comm: longer(comm, deadline_s)


def struck(fault: Callable[[Comm], object], note: Path | None) -> Callable[[Comm], object]:
    """Return ``fault`` that notes first when it strikes, on the clock that all processes of a host share."""

    def strike(comm: Comm) -> object:
        if note is not None:
            note.write_text(str(time.monotonic()))
        return fault(comm)

    return strike


def since_fault(done: Finished, note: Path) -> Finished:
    """Return how a job ended that has just ended, its seconds counted from when the fault struck, if it did."""
    now = time.monotonic()
    return replace(done, seconds=now - float(note.read_text())) if note.exists() else done


def work(comm: Comm, fault: Callable[[Comm], object], faulty_stage: str) -> None:
    for stage in STAGES:
        comm.pulse.stage = stage
        comm.barrier(f"start of {stage}")
        for step in range(STEPS):
            comm.pulse.done = step
            if (step, stage, comm.world.rank) == (STEPS // 2, faulty_stage, comm.world.size - 1):
                fault(comm)
            comm.barrier("step")
        comm.gather(step, f"end of {stage}")


def joined(guard: Guard, deadline_s: float, *, apart: bool) -> Comm:
    """Return the group; its ranks are on one host, or behave as if each were on its own."""
    stall_s = deadline_s / 3
    launch = launch_of(os.environ)
    if launch is None or not apart:
        return connect(os.environ, guard=guard, deadline_s=deadline_s, stall_s=stall_s)
    from dlio_benchmark.comm_mpi import join

    return join(launch, guard, deadline_s=deadline_s, stall_s=stall_s, place=f"place {launch.rank}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fault", choices=(*FAULTS, *LONGER_THAN_THE_DEADLINE))
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--deadline", type=float)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--struck", type=Path, help="where to write when the fault strikes")
    parser.add_argument("--segments", type=Path, help="where to write which shared memory of MPI is mapped")
    options = parser.parse_args()
    limit_s = deadline_s(options.fault) if options.deadline is None else options.deadline
    with Guard() as guard:
        launch = launch_of(os.environ)
        if options.fault == "early" and launch is not None and launch.rank == 1:
            raise StorageError("planted before the group came together")
        comm = joined(guard, limit_s, apart=options.apart)
        if options.segments is not None and comm.world.rank == 0:
            options.segments.write_text("\n".join(segments()))
        try:
            work(comm, struck(planted(options.fault, limit_s), options.struck), options.stage)
        except InterruptedRunError:
            print("interrupted", flush=True)
            raise
        if options.fault == "late" and comm.world.rank == comm.world.size - 1:
            time.sleep(60)
        comm.close()
    if comm.world.rank == 0:
        print("complete", flush=True)


if __name__ == "__main__":
    main()
