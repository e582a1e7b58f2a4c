"""The command line of the mutation run."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from verification.mutation.changes import Mutant, mutants
from verification.mutation.forks import in_fork
from verification.mutation.judge import ELSEWHERE, KILLED, UNREACHED, Budget, Fate, Judge, Steady, anew, as_row
from verification.mutation.lines import load, measuring
from verification.mutation.tree import copied

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "numpy",
    "pyarrow",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pyarrow.dataset",
    "hypothesis",
    "hypothesis.stateful",
    "hydra",
    "omegaconf",
    "rich.console",
    "duckdb",
    "polars",
)
PARTS = ("reader", "parquet", "data_generator", "plan", "metrics/summary", "data_loader", "batch", "values", "gather")
UNTRIED = ("dlio_benchmark/data_loader/torch.py",)
"""Modules whose tests start processes of their own, which see a change of a living function only if they are forks:
tried if ``--only`` names the file."""
LEFT_OUT = (
    *("test_sabotage.py", "test_faults.py", "test_leaks.py", "test_mutants.py"),
    *("test_torch_loader.py", "test_noticed_torch.py"),
)
"""Test files that judge no module of the parts above by themselves, or take longer than all others together: they
run if ``--tests`` names them."""
OPTIONS = ("-q", "--no-mpi", "-n", "0", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
TOLD = "told.json"
RUN_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Log:
    """Writes each fate as a line at once, so that a run may be cut short."""

    out: Path

    def say(self, fate: Fate) -> None:
        """Take one fate in."""
        with self.out.open("a", encoding="utf-8") as file:
            print(json.dumps(as_row(fate)), file=file)


def settled(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the last fate that was written of each mutant, by path and number."""
    rows = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
    return {(row["mutant"]["path"], row["mutant"]["number"]): row for row in rows}


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge mutants in a copy of the tree; write each fate as a line of JSON at once, the last of a mutant counts."""
    parser = argparse.ArgumentParser(prog="python -m verification.mutation", description=main.__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="modules whose path contains one of these")
    parser.add_argument("--again", type=Path, help="only those mutants that an earlier run did not see noticed")
    parser.add_argument("--tests", nargs="*", default=["tests/unit"])
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the tests of one mutant may take")
    parser.add_argument("--lines", type=Path, help="who executes what: read if it exists, else measured and written")
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--in-copy", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    return _in_copy(chosen) if chosen.in_copy else _copy(chosen, sys.argv[1:] if arguments is None else arguments)


def _copy(chosen: argparse.Namespace, given: Sequence[str]) -> int:
    """Start again in a copy of the tree, whose modules are those that are imported there."""
    chosen.out.write_text("", encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        root = copied(ROOT, Path(folder) / "tree")
        places = {"--out": chosen.out, "--lines": chosen.lines or Path(folder) / TOLD, "--again": chosen.again}
        absolute = [word for name, path in places.items() if path for word in (name, str(path.resolve()))]
        path = os.pathsep.join([str(root), str(root / "tests" / "unit")])
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": ""}
        command = [sys.executable, "-m", "verification.mutation", *given, *absolute, "--in-copy"]
        return subprocess.run(command, cwd=root, env=environment, check=False).returncode


def _chosen(chosen: argparse.Namespace) -> list[Mutant]:
    if chosen.again:
        wanted = {key for key, row in settled(chosen.again).items() if row["fate"] != KILLED}
        paths = sorted({path for path, _ in wanted})
        return [mutant for path in paths for mutant in mutants(path, ROOT) if (path, mutant.number) in wanted]
    paths = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "dlio_benchmark").rglob("*.py"))
    parts = tuple(chosen.only) or tuple(f"dlio_benchmark/{part}" for part in PARTS)
    untried = [path for path in UNTRIED if not any(part.endswith(".py") and part in path for part in chosen.only)]
    kept = [path for path in paths if path not in untried and any(part in path for part in parts)]
    return [mutant for path in kept for mutant in mutants(path, ROOT)]


def _in_copy(chosen: argparse.Namespace) -> int:
    tried = _chosen(chosen)
    print(f"{len(tried)} mutants in {len({mutant.path for mutant in tried})} modules", flush=True)
    named = {Path(test).name for test in chosen.tests}
    left_out = [f"--ignore-glob=*/{name}" for name in LEFT_OUT if name not in named]
    options = [*OPTIONS, f"--rootdir={ROOT}", *left_out]
    measured = None if chosen.lines.exists() else measuring(ROOT)
    for name in PRELOADED:
        importlib.import_module(name)
    log, budget = Log(chosen.out), Budget(chosen.seconds)
    told_at = chosen.lines

    def collected() -> int:
        if measured is not None:
            measured.start()
        judge = Judge(ROOT, tried, told_at, log.say, budget, measured)
        return int(pytest.main([*options, *chosen.tests], plugins=[Steady(), judge]))

    if in_fork(collected, RUN_S, str(chosen.out.with_suffix(".log"))) != 0:
        print(f"the tests could not be collected or measured: see {chosen.out.with_suffix('.log')}")
        return 1
    rows = [json.loads(line) for line in chosen.out.read_text(encoding="utf-8").splitlines()]
    told = load(told_at)
    for mutant in (Mutant(**row["mutant"]) for row in rows if row["fate"] == ELSEWHERE):
        tests = budget.chosen(told.of_module(mutant.path), told)
        fate = anew(mutant, ROOT, tests, 30 + budget.limit(tests, told), options) if tests else UNREACHED
        log.say(Fate(mutant, fate, 0.0, len(tests)))
    fates = Counter({row["fate"]: 0 for row in rows})
    fates.update(fate["fate"] for fate in settled(chosen.out).values())
    print(", ".join(f"{many} {fate}" for fate, many in sorted(fates.items()) if many))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
