"""The command ``dlio_benchmark`` under a launcher, with one fault in one stage of one rank: generate, train, verify.

The job is started as users start it, by plain ``mpirun``.  It must end by itself, in time, not as a success, and name
the rank and its stage; nothing of it may be left.  The time counts from the moment of the fault, and a rank that
fails finds the others in the middle of work that would last much longer, where the stage has such work.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from expected import FAULTS, FEW_FILES, LIMIT_S, STAGES, Ended, cells, judged, told
from findings import Finding

from dlio_benchmark.board import MARK as LAUNCH_MARK
from dlio_benchmark.comm import Solo
from dlio_benchmark.job import Job
from dlio_benchmark.launch import Launcher, find_launcher
from dlio_benchmark.report.log import Log
from verification.probes.processes import MARK, marked

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OPEN_MPI_PYTHON = "DLIO_TEST_OPENMPI_PYTHON"
LEAVE_S = 2.0
BUSY_S = 0.1
STILL_S = 1.0
AT_ONCE = 2
"""Jobs of two ranks that run beside each other, for they wait for processes to start.

Those that count the time to a deadline run alone, and so do larger ones, of which it matters who died first.
"""
NOT_BEGUN = "The PMIx server's listener thread failed to start"
"""What Open MPI's launcher says in place of starting a job, now and then on a loaded machine."""

WORKLOAD: dict[str, Any] = {
    "model": {"name": "matrix"},
    "framework": "pytorch",
    "workflow": {"generate_data": False, "train": False},
    "dataset": {
        "format": "parquet",
        "num_files_train": 240,
        "num_samples_per_file": 64,
        "parquet": {"columns": [{"name": "number", "dtype": "float32", "size": 4}], "row_group_size": 16},
    },
    "reader": {"batch_size": 4, "read_threads": 1},
    "train": {"epochs": 1, "computation_time": 0.001},
}


class Naps:
    """Short naps, and how long the longest of them became."""

    def __init__(self) -> None:
        self._begun = self._woken = time.monotonic()
        self.longest_s = 0.0

    def since(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._begun

    def nap(self) -> None:
        """Sleep for a hundredth of a second, or as long as the machine has it."""
        time.sleep(0.01)
        now = time.monotonic()
        self.longest_s, self._woken = max(self.longest_s, now - self._woken), now


@dataclass(frozen=True, slots=True)
class Site:
    """Where the jobs of one MPI run: its interpreter, its launcher, a folder, and a data set in it."""

    mpi: str
    python: str
    launcher: Launcher
    folder: Path

    def words(self, out: Path, data: Path, options: tuple[str, ...], deadline_s: float = 60.0) -> list[str]:
        """Return the arguments of the command."""
        return [
            *(word for word in options if word == "verify"),
            "workload=matrix",
            "--config-dir",
            str(self.folder / "configs"),
            f"++workload.dataset.data_folder={data}",
            f"++hydra.run.dir={out}",
            f"--deadline={deadline_s:g}",
            *(word for word in options if word != "verify"),
        ]

    def front_end(self, engine: list[str], out: Path) -> list[str]:
        """Return what starts ``engine`` by the front end, as ranks that generate."""
        stand_in = out / "bin" / "dlio_benchmark"
        stand_in.parent.mkdir()
        stand_in.write_text(f'#!/bin/sh\nexec {shlex.join([self.python, *engine])} "$@"\n')
        stand_in.chmod(0o755)
        options = {
            "--model": "unet3d",
            "--hosts": "localhost",
            "--exec-type": "mpi",
            "--dataset-format": "parquet",
            "--num-processes": "2",
            "--dlio-bin-path": str(stand_in.parent),
            "--results-dir": str(out / "results"),
            "--data-dir": str(out / "data"),
        }
        words = [word for option in options.items() for word in option]
        sizes = ["dataset.num_files_train=400", "dataset.num_samples_per_file=4", "dataset.record_length_bytes=4000"]
        return [self.python, "-m", "dlio_benchmark.mlpstorage.cli", "training", "datagen", *words, "--params", *sizes]

    def run(self, program: list[str], fired: Path, out: Path) -> Ended:
        """Run a program to its end, and to that of all that it started."""
        mark = uuid.uuid4().hex
        environ = {**os.environ, **self.launcher.environ(), LAUNCH_MARK: mark, MARK: mark, "PYTHONPATH": f"{ROOT}"}
        with open(out / "stdout", "wb") as stdout, open(out / "stderr", "wb") as stderr:
            job = subprocess.Popen(
                program,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environ,
                cwd=out,
                start_new_session=True,
            )
            naps = Naps()
            while job.poll() is None and naps.since() < LIMIT_S:
                naps.nap()
            leaving = Naps()
            while (left := marked(mark)) and leaving.since() < LEAVE_S:
                leaving.nap()
            ended = time.monotonic()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        job.wait()
        began = fired.read_text().split() if fired.exists() else []
        said = "".join((out / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        papers = [path for name in ("failure.json", "dlio.log") for path in out.rglob(name)]
        summary = out / "summary.json"
        code = job.returncode if job.returncode >= 0 else 128 - job.returncode
        return Ended(
            code,
            said,
            "".join(path.read_text(errors="replace") for path in papers),
            ended - float(began[0]) if began else 0.0,
            tuple(left),
            bool(began),
            naps.longest_s > STILL_S,
            summary.exists() and bool(json.loads(summary.read_text())["dlio"]["complete"]),
        )


Strike = Callable[[Site, str, str, str], Ended]
"""What lets a fault strike in a stage, in a folder of that name."""


def sites(folder: Path) -> list[Site]:
    """Return a site for the MPI of this interpreter, and one for Open MPI if its interpreter is known."""
    made = []
    for python in filter(None, (sys.executable, os.environ.get(OPEN_MPI_PYTHON))):
        launcher = find_launcher(python)
        place = folder / launcher.dialect.name.lower()
        (place / "configs" / "workload").mkdir(parents=True)
        (place / "configs" / "workload" / "matrix.yaml").write_text(yaml.safe_dump(WORKLOAD))
        made.append(Site(launcher.dialect.value, python, launcher, place))
    return made


def prepare(site: Site) -> None:
    """Generate the data sets that training and verification read."""
    for name, files in (("many", WORKLOAD["dataset"]["num_files_train"]), ("few", FEW_FILES)):
        dataset = {**WORKLOAD["dataset"], "data_folder": str(site.folder / name), "num_files_train": files}
        out = site.folder / f"prepared-{name}"
        out.mkdir()
        workflow = {"generate_data": True, "train": False}
        Job({**WORKLOAD, "workflow": workflow, "dataset": dataset}, Solo(), str(out), Log(quiet=True)).run()


def cell(site: Site, name: str, stage: str, folder: str) -> Ended:
    """Let a fault strike the last rank in a stage, and return how the job ended."""
    fault, where = FAULTS[name], STAGES[stage]
    ranks = fault.ranks
    out = site.folder / folder
    out.mkdir()
    data = out / "data" if stage == "generate" else site.folder / ("few" if fault.alone else "many")
    fired = out / "fired"
    busy_s = 0.0 if fault.alone or stage == "train" else BUSY_S
    plan = {
        "--stage": where.pulse,
        "--call": fault.call or where.call,
        "--rank": -1 if fault.every_rank else ranks - 1,
        "--fired": fired,
        "--busy": busy_s,
    }
    planted = [name, *(str(word) for option in plan.items() for word in option), "--"]
    engine = [str(HERE / "faulty.py"), *planted]
    if fault.front:
        return site.run(site.front_end(engine, out), fired, out)
    words = site.words(out, data, (*where.options, *fault.options), fault.deadline_s)
    return site.run(site.launcher.command(ranks, [site.python, *engine, *words]), fired, out)


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what ``many`` faults showed under each MPI."""
    found = Finding()
    for site in sites(Path(folder)):
        prepare(site)
        strike_all(site, cells(many, seed), found)
    return found


def strike_all(site: Site, asked: Sequence[tuple[str, str]], found: Finding, strike: Strike = cell) -> None:
    """Let each fault strike, and find what is wrong; once more if the machine kept a job from showing anything."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = {
            number: pool.submit(strike, site, *one, f"{number}")
            for number, one in enumerate(asked)
            if not FAULTS[one[0]].stalls and FAULTS[one[0]].ranks == 2
        }
    for number, (name, stage) in enumerate(asked):
        ended = jobs[number].result() if number in jobs else strike(site, name, stage, f"{number}")
        if ended.stood_still or NOT_BEGUN in ended.said:
            found.count("jobs made again, for the machine stood still or their launcher did not start")
            ended = strike(site, name, stage, f"{number}-again")
        _note(site.mpi, name, stage, ended, found)


def _note(mpi: str, name: str, stage: str, ended: Ended, found: Finding) -> None:
    ranks = FAULTS[name].ranks
    found.count("jobs")
    if FAULTS[name].survives:
        found.count("jobs that a rank slowed down")
    slowest = "slowest to the deadline and on, s" if FAULTS[name].stalls else "slowest, s"
    if not FAULTS[name].survives:
        found.figures[slowest] = max(found.figures.get(slowest, 0), round(ended.seconds, 2))
    heard = told(ended.said + ended.wrote)
    found.rows.append(f"| {mpi} | {name} | {stage} | {ranks} | {ended.seconds:.1f} | {ended.code} | {heard} |")
    for text in judged(name, stage, ended):
        found.wrong(f"{mpi}, {name} in {stage}: {text}\n{ended.said[-3000:]}")
