"""``python -m benchmarks``: run the ratio table on this machine, print it, and write it as JSON and as a plot.

Each line runs its contenders in turn, each in a process of its own, several times over; the number of a line is
the median of the ratios within such a round, and its spread their least and largest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.contenders import cleared
from benchmarks.datasets import datasets
from benchmarks.lines import Line, lines, rate
from benchmarks.measure import Contender, Sample, measured


@dataclass(frozen=True, slots=True)
class Result:
    """The ratios of a line, one per round, and the samples behind them, by contender."""

    line: Line
    ratios: Sequence[float]
    samples: dict[str, list[Sample]]

    @property
    def median(self) -> float:
        """The number of the line."""
        return statistics.median(self.ratios)

    @property
    def cpu_ratio(self) -> float | None:
        """The same ratio by processor time, where it is one of speeds."""
        if self.line.value is not rate or not self.line.rivals:
            return None
        ours, *rivals = self.samples.values()
        best = [max(one.cpu_rate for one in each) for each in zip(*rivals, strict=True)]
        return float(statistics.median(one.cpu_rate / other for one, other in zip(ours, best, strict=True)))

    @property
    def holds(self) -> bool:
        """Whether the gate is met."""
        return self.line.holds(self.median)

    def text(self) -> str:
        """Return the line as it is printed."""
        line, bound = self.line, ">=" if self.line.least else "<="
        spread = f"{_short(min(self.ratios))}..{_short(max(self.ratios))}"
        gate = f"{bound} {line.gate:g} {line.unit}"
        verdict = "ok" if self.holds else "MISSED"
        cpu = "" if self.cpu_ratio is None else f"  by CPU {_short(self.cpu_ratio)}"
        return f"{line.number:>4} {line.what:<60} {_short(self.median):>8} {spread:>16} {gate:>18} {verdict}{cpu}"

    def record(self) -> dict[str, Any]:
        """Return the line for the JSON file."""
        line = self.line
        return {
            "line": line.number,
            "what": line.what,
            "median": self.median,
            "cpu_median": self.cpu_ratio,
            "ratios": list(self.ratios),
            "gate": line.gate,
            "at_least": line.least,
            "unit": line.unit,
            "holds": self.holds,
            "samples": {
                name: [asdict(one) | {"rate": one.rate, "cpu_rate": one.cpu_rate} for one in found]
                for name, found in self.samples.items()
            },
        }


def _short(number: float) -> str:
    return f"{number:.3g}" if number < 1_000 else f"{number:,.0f}"


def run_line(line: Line, root: str, *, rounds: int, quick: bool) -> Result:
    """Measure a line: ours and the rivals in turn, starting with another one in each round."""
    contenders: list[Contender] = [line.ours, *line.rivals]
    named = {contender.data for contender in contenders if contender.function not in ("product", "command")}
    for data in {"tiny"} | named:
        made = datasets(quick=quick)[data]
        made.make(root)
        made.warm(root)
    found: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    ratios: list[float] = []
    for number in range(rounds):
        first = number % len(contenders)
        for contender in [*contenders[first:], *contenders[:first]]:
            passes = 1 if contender.function == "product" else 3 if quick else 7
            found[contender.name].append(measured(contender, root, quick=quick, passes=passes))
        ours, *rivals = (samples[-1] for samples in found.values())
        ratios.append(line.ratio(ours, rivals))
    return Result(line, ratios, found)


def chosen(names: str, *, quick: bool) -> Iterator[Line]:
    """Yield the lines that are asked for by number, or all that can run here."""
    launcher = os.path.exists(os.path.join(os.path.dirname(sys.executable), "mpirun"))
    wanted = {name for name in names.split(",") if name}
    for line in lines():
        asked = not wanted or line.number in wanted or line.number.rstrip("abcdef") in wanted
        if asked and (line.quick or not quick) and (line.ranks == 1 or launcher):
            yield line


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    model = next((row for row in Path("/proc/cpuinfo").read_text().splitlines() if row.startswith("model name")), "")
    names = ("numpy", "pyarrow", "polars", "duckdb", "torch")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "model": model.partition(":")[2].strip(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        "versions": {name: _version(name) for name in names},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def main() -> int:
    """Run the table; the exit status is 1 if a gate is missed and ``--gate`` was given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--lines", default="", help="numbers of lines, such as 1,5a; all by default")
    parser.add_argument("--rounds", type=int, default=0, help="rounds per line (5; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="smaller data and fewer lines, for a minute's check")
    parser.add_argument("--folder", help="where data sets are kept; by default a temporary folder")
    parser.add_argument("--out", default="output", help="where ratios.json, ratios.svg and ratios.png go")
    parser.add_argument("--gate", action="store_true", help="end with status 1 if a gate is missed")
    asked = parser.parse_args()
    root = os.path.abspath(asked.folder or tempfile.mkdtemp(prefix="ratios-"))
    rounds = asked.rounds or (1 if asked.quick else 5)
    results: list[Result] = []
    try:
        for line in chosen(asked.lines, quick=asked.quick):
            try:
                results.append(run_line(line, root, rounds=rounds, quick=asked.quick))
            except (RuntimeError, subprocess.SubprocessError) as error:
                print(f"{line.number:>4} {line.what}: could not run: {error}", file=sys.stderr)
                continue
            print(results[-1].text(), flush=True)
    finally:
        cleared(root)
        if not asked.folder:
            shutil.rmtree(root, ignore_errors=True)
    write(results, asked.out, rounds)
    return int(asked.gate and not all(result.holds for result in results))


def write(results: Sequence[Result], out: str, rounds: int) -> None:
    """Write the results as JSON, and as plots where matplotlib is installed."""
    os.makedirs(out, exist_ok=True)
    record = {"machine": machine(), "rounds": rounds, "lines": [result.record() for result in results]}
    Path(out, "ratios.json").write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    try:
        from benchmarks.plot import plot
    except ImportError:
        print("no plot: matplotlib is not installed", file=sys.stderr)
        return
    for ending in ("svg", "png"):
        plot(record, os.path.join(out, f"ratios.{ending}"))


if __name__ == "__main__":
    sys.exit(main())
