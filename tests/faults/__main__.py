"""Run the experiments: ``python -m tests.faults --profile nightly``, from the root of the repository.

Each experiment tries to break a promise very often and counts.  ``--profile ci`` makes the short forms that the unit
tests make, too; ``--only NAME`` makes one of them, ``--many N`` as often as told, ``--json`` for programs.  Files are
written to memory where there is such a folder: no experiment needs a device, for what a device may lose is modelled.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MEMORY = "/dev/shm"
OPEN_MPI_PYTHON = "DLIO_TEST_OPENMPI_PYTHON"


@dataclass(frozen=True, slots=True)
class Experiment:
    """How often an experiment is made in each profile, and what it shows."""

    ci: int
    nightly: int
    shows: str


EXPERIMENTS: Mapping[str, Experiment] = {
    "kills": Experiment(30, 1000, "kill -9 during generation, then a restart"),
    "protocol": Experiment(40, 2000, "every crash state of the write protocol; so many of them restarted"),
    "calls": Experiment(1, 6, "the n-th system call fails, for every n; so many errors per n"),
    "mutants": Experiment(60, 10_000, "damaged files per codec, read in every mode that decodes"),
    "edits": Experiment(150, 1000, "one-field edits of a configuration against a data set"),
    "names": Experiment(600, 100_000, "hostile names and partition values"),
    "configs": Experiment(40, 200, "hostile configurations"),
    "planted": Experiment(20, 20, "secrets planted in environment, URLs, options and files"),
    "contests": Experiment(5, 200, "two to eight generators started at once on one folder"),
    "matrix": Experiment(7, 1000, "one fault in one stage of the command under each MPI, by plain mpirun"),
    "leaks": Experiment(20, 100, "epochs and failed runs in one process"),
}


def main(argv: Sequence[str]) -> int:
    """Run what ``argv`` asks for and return the exit status."""
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    parser.add_argument("--profile", choices=("ci", "nightly"), default="ci")
    parser.add_argument("--only", choices=tuple(EXPERIMENTS), action="append")
    parser.add_argument("--many", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", default=MEMORY if os.access(MEMORY, os.W_OK) else None, help="for what is written")
    parser.add_argument("--openmpi", help="an interpreter with Open MPI, for the faults under a second MPI")
    parser.add_argument("--json", action="store_true", help="print the finding of one experiment as JSON")
    asked = parser.parse_args(argv)
    names = asked.only or list(EXPERIMENTS)
    if asked.openmpi:
        os.environ[OPEN_MPI_PYTHON] = asked.openmpi
    if asked.json:
        return _alone(names[0], asked.many or _many(names[0], asked.profile), asked.folder, asked.seed)
    print(f"{os.cpu_count()} processors, {platform.system()} {platform.release()}, Python {platform.python_version()}")
    failed = [name for name in names if not _told(name, asked)]
    return 1 if failed else 0


def _many(name: str, profile: str) -> int:
    return EXPERIMENTS[name].nightly if profile == "nightly" else EXPERIMENTS[name].ci


def _alone(name: str, many: int, folder: str | None, seed: int) -> int:
    """Make one experiment in this process."""
    sys.path[:0] = [HERE, ROOT]
    with tempfile.TemporaryDirectory(prefix=f"dlio-{name}-", dir=folder) as scratch:
        finding = importlib.import_module(name).run(many, scratch, seed)
    print(json.dumps(asdict(finding)))
    return 1 if finding.violations else 0


def _told(name: str, asked: argparse.Namespace) -> bool:
    """Make an experiment in a process of its own, which it may spoil, and print what it found."""
    many = asked.many or _many(name, asked.profile)
    command = [sys.executable, HERE, "--json", "--only", name, "--many", str(many), "--seed", str(asked.seed)]
    begin = time.monotonic()
    ended = subprocess.run(
        [*command, *(["--folder", asked.folder] if asked.folder else [])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=6 * 3600,
    )
    spent = time.monotonic() - begin
    lines = ended.stdout.splitlines()
    if ended.returncode not in (0, 1) or not lines:
        print(f"{name}: ended with status {ended.returncode}\n{ended.stderr[-4000:]}", flush=True)
        return False
    finding = json.loads(lines[-1])
    figures = ", ".join(f"{value:g} {what}" for what, value in finding["figures"].items())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    verdict = f"{len(finding['violations'])} violations"
    print(f"{name} ({EXPERIMENTS[name].shows}): {figures}; {verdict}; {spent:.1f} s, peak {peak:.0f} MiB", flush=True)
    for row in finding["rows"]:
        print(row, flush=True)
    for text in finding["violations"][:20]:
        print(f"  - {text}", flush=True)
    return not finding["violations"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
