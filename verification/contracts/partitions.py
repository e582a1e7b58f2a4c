"""What hive partitions promise beyond their folders: the same files for any number of ranks, and training on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from dlio_benchmark.clock import RealClock
from dlio_benchmark.comm import Comm, Simulated
from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.engine.parts import reader_of
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.storage.local import LocalStorage
from verification import oracle
from verification.contracts.generation import generated
from verification.contracts.job import FILES, ROWS, Run, tree_of
from verification.contracts.loader import MakeLoader
from verification.contracts.writer import PARTITIONS, MakeWriter, partitioned, written
from verification.evidence import Recorder
from verification.probes import snapshot
from verification.relations import partition

PARTED_FILES, PARTED_ROWS, BATCH = 3, 24, 4
"""Of these rows none is left out, whether one, two or three ranks read them."""
SPOKEN: Mapping[ColumnType, Callable[[str], object]] = {
    ColumnType.STRING: str,
    ColumnType.INT8: int,
    ColumnType.BOOL: {"true": True, "false": False}.__getitem__,
}
"""What the value in the name of a folder is in a row."""


def ranks_write_the_partitions_of_one(evidence: Recorder, make: MakeWriter, value: str, folder: Path) -> None:
    """Hold that two and three ranks write the partitioned files of one, byte for byte, and its manifest."""
    workload = partitioned(value, parted=True, files=PARTED_FILES, rows=12)
    seen = {}
    for ranks in (1, 2, 3):
        own = folder / f"{ranks} ranks"
        Simulated.run(ranks, lambda comm, own=own: generated(make, comm, own, workload))  # type: ignore[misc]
        seen[ranks] = snapshot(own)
        names = seen[1].keys() | seen[ranks].keys()
        differing = sorted(name for name in names if seen[1].get(name) != seen[ranks].get(name))
        evidence.equal(differing, [], what="partitioned files that differ from those of one rank")
        evidence.cover("ranks", ranks)
    evidence.hold(len(seen[1]), what="partitioned files that one rank writes", at_least=2 * PARTED_FILES, unit="files")


def ranks_read_partitions_once(
    evidence: Recorder, make: MakeWriter, loader: MakeLoader, value: str, folder: Path
) -> None:
    """Hold that ranks together get each row of a partitioned data set once, with the value that its folder names.

    The rows are those that pyarrow finds in the files; the values are taken from the names of the folders here.
    """
    workload = partitioned(value, parted=True, files=PARTED_FILES, rows=PARTED_ROWS)
    found = written(make, workload, folder)
    column, _ = PARTITIONS[value]
    wanted = [
        repr({column.name: SPOKEN[column.dtype](unquote(path.parent.name.partition("=")[2])), **row})
        for path in found
        for row in oracle.rows(path)
    ]
    evidence.equal(len(wanted), PARTED_FILES * PARTED_ROWS, what="rows of partitions that are there to be read")
    rows = np.array([oracle.footer(path).rows for path in found])
    paths = [path.relative_to(folder).as_posix() for path in found]

    def share(comm: Comm) -> list[str]:
        reading = loader(reader_of(workload, LocalStorage(str(folder)), RealClock()))
        try:
            batches = reading.batches(EpochPlan(rows, BATCH, comm.world), paths.__getitem__, Tally())
            return [repr(row) for batch in batches for row in batch.to_arrow().to_pylist()]
        finally:
            reading.close()

    for ranks in (1, 2, 3):
        shares = Simulated.run(ranks, share)
        evidence.equal(partition(shares, wanted), "", what="rows of partitions in the batches of all ranks")


def a_partitioned_data_set_is_trained_on(evidence: Recorder, run: Run, folder: Path) -> None:
    """Hold that a whole job reads every row of the partitions that it made in every epoch, and the bytes of each."""
    ran = run(tree_of(folder, parquet={"partition_by": "flag"}), folder)
    found = {path.parent.name for path in ran.files}
    evidence.equal(found, {"flag=true", "flag=false"}, what="folders of the partitions trained on")
    evidence.equal([one["rows"] for one in ran.epochs], [FILES * ROWS] * 2, what="rows of partitions trained on")
    stored = sum(oracle.footer(path).needed(["a", "b"]) for path in ran.files)
    evidence.equal([one["bytes_read"] for one in ran.epochs], [stored] * 2, what="bytes of partitions trained on")
