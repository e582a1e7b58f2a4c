"""How ranks are started here: the launcher beside the interpreter, its options, and what it tells its ranks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from verification.errors import LaunchError

SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
INHERITED = ("PMI_", "PMIX_", "PRTE_", "OMPI_", "HYDI_", "HYDRA_", "MPI_LOCAL", "MPIR_", "FI_MPICH", "MPICH_")
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}
REMEDY = "install dlio_benchmark[mpi], or pass --no-mpi to leave these tests out"


@dataclass(frozen=True, slots=True)
class Launcher:
    """A program that starts ranks, the options it needs on any machine, and additions to the environment."""

    program: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, ranks: int) -> list[str]:
        """Return the command line that starts ``ranks`` copies of what is appended to it."""
        return [self.program, *self.options, "-n", str(ranks)]


@cache
def find(python: str = sys.executable) -> Launcher:
    """Return the launcher of the environment of ``python``, else the first on the path.

    Raises:
        LaunchError: if mpi4py or a launcher is missing; says how to get them.
    """
    if shutil.which("mpiexec", path=_search(python)) is None:
        raise LaunchError(f"no mpiexec beside {python} or on the path; {REMEDY}")
    probe = [python, "-c", "import mpi4py"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        raise LaunchError(f"mpi4py is not installed for {python}; {REMEDY}")
    program = str(shutil.which("mpiexec", path=_search(python)))
    told = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=60, env=clean_environment()
    )
    if "hydra" in (told.stdout + told.stderr).lower():
        return Launcher(program)
    return Launcher(program, ("--oversubscribe",), OPEN_MPI)


def _search(python: str) -> str:
    return os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", os.defpath)])


def told_size(environment: Mapping[str, str]) -> int | None:
    """Return how many ranks the launcher says there are, or None if this process was not launched by one."""
    sizes = [int(environment[name]) for name in SIZES if environment.get(name, "").isdigit()]
    return max(sizes) if sizes else None


@contextmanager
def hidden() -> Iterator[None]:
    """Hide from this process and its children what a launcher told it: what runs meanwhile runs alone."""
    told = {name: value for name, value in os.environ.items() if name.startswith(INHERITED)}
    for name in told:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ |= told


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without what a launcher told this process, so that it can start a job of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(INHERITED)}
    return {**kept, **(extra or {})}
