"""A hundred epochs and a hundred failed runs in one process: what a run takes it gives back.

Open files, threads, shared memory and temporary files must be the same at the end as after the first few rounds, and
the resident memory may not grow by more than a twentieth and a few MiB.
"""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from findings import Finding, Tree, make, tree

from dlio_benchmark.clock import RealClock
from dlio_benchmark.comm import Solo
from dlio_benchmark.engine.run import Told, settle, training
from dlio_benchmark.engine.verify import verify
from dlio_benchmark.errors import DlioError
from dlio_benchmark.job import Job
from dlio_benchmark.report.log import Log

_SPARE_BYTES = 8 << 20
_LEAVING_S = 2.0
"""How long threads that were told to end may take: one that still reads when its epoch is over ends by itself."""


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds."""

    files: int
    threads: int
    shared: frozenset[str]
    temporary: frozenset[str]
    resident_bytes: int

    @classmethod
    def now(cls, mine: str) -> Held:
        """Look, once what is no longer needed is collected and has ended; ``mine`` is the folder of the experiment."""
        end = time.monotonic() + _LEAVING_S
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
        gc.collect()
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        return cls(
            files=len(os.listdir("/proc/self/fd")),
            threads=threading.active_count(),
            shared=_of_this_user("/dev/shm", mine),
            temporary=_of_this_user(tempfile.gettempdir(), mine),
            resident_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        )


def _of_this_user(folder: str, mine: str) -> frozenset[str]:
    """Return what lies in a folder by names that this package would use; other programs come and go."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return frozenset(name for name in names if str(os.getpid()) in name and os.path.join(folder, name) != mine)


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what ``many`` epochs and as many failed runs left behind."""
    found = Finding()
    root = os.path.join(folder, "data")
    make(root, tree())
    gc.collect()
    gc.freeze()  # what is there before is no leak, and need not be looked through each time
    _epochs(many, root, folder, found)
    for name, fail in FAILURES.items():
        fail_once = _failing(fail, folder)
        _repeat(f"failed runs ({name})", fail_once, max(4, -(-many // len(FAILURES))), folder, found)
    return found


def _work(root: str, epochs: int = 1, **dataset: object) -> Tree:
    work = tree(data_folder=root, **dataset)
    work["workflow"] = {"train": True, "evaluation": True, "generate_data": False}
    work["reader"] = {"batch_size": 10, "read_threads": 2, "sample_shuffle": "random"}
    work["train"] = {"epochs": epochs}
    return work


def _epochs(many: int, root: str, folder: str, found: Finding) -> None:
    """Look at what is held after each epoch of one run."""
    seen: list[Held] = []
    settled = settle(_work(root, many), Solo(), strict=True)
    told = Told(lambda _one, _plan: None, lambda _step: None, lambda _phase: seen.append(Held.now(folder)))
    before = Held.now(folder)
    training(settled, Solo(), RealClock(), told)
    _compare("epochs", seen[len(seen) // 5], seen[-1], found)
    _compare("a run of many epochs", before, Held.now(folder), found, memory=False)
    found.count("epochs", many)


def _repeat(what: str, action: Callable[[], None], many: int, folder: str, found: Finding) -> None:
    for _ in range(max(2, many // 5)):
        action()
    before = Held.now(folder)
    for _ in range(many):
        action()
        found.count("failed runs")
    _compare(what, before, Held.now(folder), found)


def _compare(what: str, before: Held, after: Held, found: Finding, *, memory: bool = True) -> None:
    for name in ("files", "threads", "shared", "temporary"):
        if getattr(before, name) != getattr(after, name):
            found.wrong(f"{what}: {name} were {getattr(before, name)}, are {getattr(after, name)}")
    grown = after.resident_bytes - before.resident_bytes
    if memory:
        found.figures[f"KiB grown in {what}"] = grown // 1024
        if grown > before.resident_bytes / 20 + _SPARE_BYTES:
            found.wrong(f"{what}: resident memory grew by {grown} bytes from {before.resident_bytes}")


def _failing(fail: Callable[[str, str], None], folder: str) -> Callable[[], None]:
    number = iter(range(1_000_000))

    def once() -> None:
        root = os.path.join(folder, f"failing-{next(number)}")
        make(root, tree())
        out = os.path.join(folder, "out")
        os.makedirs(out, exist_ok=True)
        try:
            fail(root, out)
        except DlioError:
            return
        msg = "the run should have failed"
        raise AssertionError(msg)

    return once


def _job(work: Tree, out: str) -> None:
    log = Log(quiet=True)
    try:
        Job(work, Solo(), out, log, strict=True).run()
    finally:
        log.close()


def _damaged(root: str, out: str) -> None:
    with open(os.path.join(root, "train", "1", "img_1_of_4.parquet"), "r+b") as file:
        file.seek(300)
        file.write(bytes(2000))
    work = _work(root)
    work["dataset"]["parquet"] |= {"verify_checksums": True}
    _job(work, out)


def _missing(root: str, out: str) -> None:
    os.unlink(os.path.join(root, "train", "0", "img_2_of_4.parquet"))
    _job(_work(root), out)


def _mismatched(root: str, out: str) -> None:
    _job(_work(root, seed=99), out)


def _invalid(root: str, out: str) -> None:
    _job(_work(root, compression="nosuch"), out)


def _overwriting(root: str, out: str) -> None:
    make(root, tree(num_samples_per_file=7))


def _unverified(root: str, out: str) -> None:
    with open(os.path.join(root, "valid", "img_0_of_1.parquet"), "ab") as file:
        file.write(b"x")
    verify(settle(_work(root), Solo()).workload, settle(_work(root), Solo()).storage, Solo())


FAILURES = {
    "a damaged file": _damaged,
    "a missing file": _missing,
    "another data set": _mismatched,
    "a configuration that is not valid": _invalid,
    "generation over another data set": _overwriting,
    "verification": _unverified,
}
