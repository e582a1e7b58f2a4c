"""What generation by several ranks promises: the data set of one rank, byte for byte, with its manifest at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlio_benchmark.comm import Comm, Solo
from dlio_benchmark.config.model import Workload
from dlio_benchmark.engine.generate import generate
from dlio_benchmark.storage.local import LocalStorage
from verification import oracle
from verification.contracts.writer import MakeWriter, workload_of
from verification.evidence import Recorder
from verification.probes import snapshot

FILES = 5


class Unheard:
    """Progress that nobody watches."""

    def advance(self, files: int, stored_bytes: int) -> None:
        """Take notice of nothing."""


def generated(make: MakeWriter, comm: Comm, folder: Path, workload: Workload | None = None) -> None:
    """Generate a small data set with the ranks of ``comm``."""
    workload = workload or workload_of(files=FILES, codec="zstd")
    writer = make(workload, comm.world)
    generate(workload, LocalStorage(str(folder)), comm, writer=writer, progress=Unheard())


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


def rows_occur_once(evidence: Recorder, paths: Sequence[Path]) -> None:
    """Hold that no row of some files occurs in them again."""
    rows = [repr(row) for path in paths for row in oracle.rows(path)]
    evidence.equal(len(paths), FILES, what="files written")
    evidence.hold(len(rows) - len(set(rows)), what="rows that occur again", at_most=0, unit="rows")
