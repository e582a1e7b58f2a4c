"""What a tool in Python does with the benchmark, on all ranks: two jobs, one after the other.

mpirun -n 2 python tests/mpi/api_job.py FOLDER [finalize|raise]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dlio_benchmark.main import DLIOBenchmark
from dlio_benchmark.utils.config import ConfigArguments
from dlio_benchmark.utils.utility import DLIOMPI


def workload(folder: Path) -> dict[str, Any]:
    """Return a small workload that generates and trains."""
    dataset = {
        "format": "parquet",
        "data_folder": str(folder / "data"),
        "num_files_train": 4,
        "num_samples_per_file": 8,
    }
    return {
        "workflow": {"generate_data": True},
        "dataset": dataset,
        "reader": {"batch_size": 2},
        "output": {"folder": str(folder / "out")},
    }


def main(folder: str, ending: str = "") -> None:
    """Run both jobs, and end as asked."""
    DLIOMPI.get_instance().initialize()
    for name in ("one", "two"):
        ConfigArguments.reset()
        benchmark = DLIOBenchmark(workload(Path(folder) / name))
        benchmark.initialize()
        benchmark.run()
        benchmark.finalize()
    if ending == "raise" and DLIOMPI.get_instance().rank() == 1:
        raise ValueError("planted")
    if ending == "finalize":
        DLIOMPI.get_instance().finalize()


if __name__ == "__main__":
    main(*sys.argv[1:])
