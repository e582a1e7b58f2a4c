"""One contender in one process: prepared, warmed up by one pass, measured, and told as a line of JSON.

``python -m benchmarks.measure`` reads what to measure from standard input; `measured` starts it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TINY_FIRST = frozenset({"read_here", "generate_here"})
_ENOUGH_S = 1.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A function of `benchmarks.contenders`, the data set it works on, and its arguments."""

    function: str
    data: str = "dlrm"
    arguments: dict[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def name(self) -> str:
        """How reports call it."""
        return self.label or self.function.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process measured: its best pass, and the memory at the peak of all passes over idle.

    ``units`` are what the pass returned; ``cpu_s`` is of the process and of all that it started.  Other work on the
    machine only ever makes a pass longer, so the shortest one says most.  Idle is, where memory
    is the question, a process that has made a pass over a tiny file: its code is loaded.
    """

    units: float
    wall_s: float
    cpu_s: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.units / self.wall_s

    @property
    def cpu_rate(self) -> float:
        """Units per second of processor time."""
        return self.units / max(self.cpu_s, 1e-9)


def measured(contender: Contender, root: str, *, quick: bool, passes: int) -> Sample:
    """Return what a new process measures.

    Raises:
        RuntimeError: with what the process said, if it failed.
    """
    order = json.dumps({**asdict(contender), "root": root, "quick": quick, "passes": passes})
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": str(len(os.sched_getaffinity(0)))}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.measure"],
        input=order,
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{contender.name} on {contender.data}: {done.stderr[-2000:]}")
    return Sample(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure what standard input says."""
    from benchmarks.contenders import CONTENDERS
    from benchmarks.datasets import datasets

    order = json.loads(sys.stdin.read())
    known = datasets(quick=order["quick"])
    function, root, arguments = CONTENDERS[order["function"]], order["root"], order["arguments"]
    if order["function"] in TINY_FIRST:
        function(known["tiny"], root, **arguments)()
    idle = _resident("VmRSS")
    one_pass = function(known[order["data"]], root, **arguments)
    one_pass()
    walls: list[float] = []
    cpus: list[float] = []
    units = 0.0
    for number in range(order["passes"]):
        cpu, begin = _cpu_s(), time.perf_counter()
        units = one_pass()
        walls.append(time.perf_counter() - begin)
        cpus.append(_cpu_s() - cpu)
        if sum(walls) > _ENOUGH_S and number >= min(2, order["passes"] - 1):
            break
    peak = _resident("VmHWM") - idle
    print(json.dumps(asdict(Sample(units, min(walls), min(cpus), peak))), flush=True)
    os._exit(0)


def _cpu_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def _resident(what: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
