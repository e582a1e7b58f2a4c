"""What generation by several ranks and threads promises: the data set of one, byte for byte, with its manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dlio_benchmark.comm import Comm, Solo
from dlio_benchmark.config.model import Workload
from dlio_benchmark.engine.generate import generate
from dlio_benchmark.storage.local import LocalStorage
from verification import oracle
from verification.contracts.writer import MakeWriter, workload_of
from verification.evidence import Recorder
from verification.probes import snapshot

MakeThreaded = Callable[[int], MakeWriter]

FILES = 5
THREADS = (0, 1, 2, 4)
LARGE = [{"name": name, "dtype": "float32", "size": 4096} for name in ("one", "two")]
"""Columns of which a row group is enough work for a thread of its own."""


class Unheard:
    """Progress that nobody watches."""

    def advance(self, files: int, stored_bytes: int) -> None:
        """Take notice of nothing."""


def generated(
    make: MakeWriter, comm: Comm, folder: Path, workload: Workload | None = None, *, files_at_once: int = 1
) -> None:
    """Generate a small data set with the ranks of ``comm``."""
    workload = workload or workload_of(files=FILES, codec="zstd")
    writer = make(workload, comm.world)
    storage = LocalStorage(str(folder))
    generate(workload, storage, comm, writer=writer, progress=Unheard(), files_at_once=files_at_once)


def ranks_write_the_data_set_of_one(evidence: Recorder, comm: Comm, make: MakeWriter, folder: Path) -> None:
    """Hold that the ranks together write what one alone writes, twice over, and that no row occurs again."""
    alone, together = folder / "alone", folder / "together"
    if comm.world.rank == 0:
        generated(make, Solo(), alone)
    generated(make, comm, together)
    comm.barrier("both are written")
    if comm.world.rank == 0:
        one, many = snapshot(alone), snapshot(together)
        differing = sorted(name for name in one.keys() | many.keys() if one.get(name) != many.get(name))
        evidence.equal(differing, [], what="files that differ from those of one rank")
        rows_occur_once(evidence, sorted(together.rglob("img*.parquet")))
    comm.barrier("compared")
    evidence.cover("ranks", comm.world.size)


def threads_write_the_data_set_of_none(evidence: Recorder, make: MakeThreaded, codec: str, folder: Path) -> None:
    """Hold that threads, which make pages and files beside each other, write what one rank writes without any."""
    workload = workload_of(files=3, rows=96, group=32, codec=codec, columns=LARGE)
    seen = {}
    for threads in THREADS:
        own = folder / f"{threads} threads"
        generated(make(threads), Solo(), own, workload, files_at_once=max(1, threads))
        seen[threads] = snapshot(own)
        names = seen[0].keys() | seen[threads].keys()
        differing = sorted(name for name in names if seen[0].get(name) != seen[threads].get(name))
        evidence.equal(differing, [], what="files that depend on the number of threads")
        evidence.cover("threads", threads)
    stored = sum(one.size for one in seen[0].values())
    evidence.hold(stored, what="bytes that threads write", at_least=3 * 96 * 2 * 4096, unit="B")


def rows_occur_once(evidence: Recorder, paths: Sequence[Path]) -> None:
    """Hold that no row of some files occurs in them again."""
    rows = [repr(row) for path in paths for row in oracle.rows(path)]
    evidence.equal(len(paths), FILES, what="files written")
    evidence.hold(len(rows) - len(set(rows)), what="rows that occur again", at_most=0, unit="rows")
