"""Many small jobs in one launch: generate a data set, then train on it in every read mode, on the ranks that there are.

    mpirun -n 2 python tests/mpi/matrix_job.py FOLDER CODEC-DTYPE-DTYPE... ...

Each job is a whole one, with the communicator of the launch; its ``summary.json`` stays in ``FOLDER/CODEC-.../MODE``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from dlio_benchmark.comm import Comm, connect
from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.guard import Guard
from dlio_benchmark.job import Job
from dlio_benchmark.report.log import Log

ROWS, FILES, GROUP, BATCH, EPOCHS = 20, 4, 7, 5, 2
SKIPPED = "skipped"
_SIZES = {ColumnType.LIST: 9, ColumnType.STRING: 12, ColumnType.BINARY: 33}


def columns_of(dtype: ColumnType) -> list[dict[str, Any]]:
    """Return three columns of a type, of which two are read."""
    size = _SIZES.get(dtype, 1)
    return [
        {"name": f"one-{dtype.value}", "dtype": dtype.value, "size": size},
        {"name": f"{SKIPPED}-{dtype.value}", "dtype": dtype.value, "size": 3, "read": False},
        {"name": f"many-{dtype.value}", "dtype": dtype.value, "size": max(size, 5)},
    ]


def tree(folder: Path, codec: str, dtypes: list[ColumnType]) -> dict[str, Any]:
    """Return the workload that generates a data set with columns of all of these types."""
    columns = [column for dtype in dtypes for column in columns_of(dtype)]
    return {
        "workflow": {"generate_data": True, "train": False},
        "dataset": {
            "format": "parquet",
            "data_folder": str(folder / "data"),
            "num_files_train": FILES,
            "num_samples_per_file": ROWS,
            "compression": codec,
            "parquet": {"columns": columns, "row_group_size": GROUP},
        },
        "reader": {"batch_size": BATCH, "read_threads": 1, "evict_cache": False},
        "train": {"epochs": EPOCHS},
    }


def run(comm: Comm, folder: Path, work: dict[str, Any]) -> None:
    """Run one job, with its results in ``folder``."""
    if comm.world.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
    comm.barrier("folder of results")
    Job(work, comm, str(folder), Log(quiet=True), strict=True).run()


def cell(comm: Comm, folder: Path, codec: str, dtypes: list[ColumnType]) -> None:
    """Generate with one codec and some types, and train in every read mode."""
    work = tree(folder, codec, dtypes)
    run(comm, folder, work)
    for mode in ReadMode:
        parquet = {**work["dataset"]["parquet"], "read_mode": mode.value}
        run(comm, folder / mode.value, {**work, "workflow": {}, "dataset": {**work["dataset"], "parquet": parquet}})


def main(root: str, cells: list[str]) -> None:
    """Run all cells, one after the other."""
    with Guard() as guard:
        comm = connect(os.environ, guard=guard)
        for name in cells:
            codec, *dtypes = name.split("-")
            cell(comm, Path(root) / name, codec, [ColumnType(dtype) for dtype in dtypes])
        comm.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
