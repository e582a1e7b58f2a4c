"""Runs deliberately broken suites in processes of their own and reads what their journals say."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from verification import catalogue, loading
from verification.collect import Collected, collect
from verification.journal import Line, read
from verification.judge import judge
from verification.model import Check, Circumstances, Verdict
from verification.mpi import launch
from verification.mpi.supervise import LAUNCH_ENDED

CASES = Path(__file__).parent / "cases"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class CaseRun:
    """How a broken suite ended."""

    code: int
    output: str
    lines: list[Line]
    collected: Collected

    @property
    def checks(self) -> dict[str, Check]:
        """The checks by the name of the test."""
        return {check.id.rpartition("::")[2]: check for check in self.collected.checks}

    @property
    def seconds_to_the_end(self) -> dict[str, float]:
        """Seconds from the start of each test that was lost to the end of the launch that it was lost with."""
        ended = {line["of_attempt"]: line.t for line in self.lines if line.event == LAUNCH_ENDED}
        lost = {line["id"] for line in self.lines if line.event == "lost"}
        return {
            line["id"].rpartition("::")[2]: ended[line.attempt] - line.t
            for line in self.lines
            if line.event == "start" and line.rank == 0 and line["id"] in lost
        }

    def verdict(self, claim: str = "sample-1") -> Verdict:
        """What the evidence says about the claim of the suites."""
        known = catalogue.load(CASES / "claims", CASES / "none")
        now = Circumstances(today=date(2026, 1, 1))
        return judge(known.claims.values(), self.collected.checks, now)[claim]


def run_case(
    folder: Path,
    case: str,
    *options: str,
    under: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    alone: bool = False,
) -> CaseRun:
    """Run one suite with pytest (``under`` a launcher, or ``alone`` without one beside it), and wait for its end."""
    out = folder / "out"
    python = str(_lonely_interpreter(folder)) if alone else sys.executable
    command = [*under, python, "-m", "pytest", *loading.for_command_line(), "-q", "--color=no"]
    command += ["-c", str(CASES / "pytest.ini"), "--rootdir", str(CASES), "--verification-claims", "claims"]
    command += ["--verification-out", str(out), *options, str(CASES / case)]
    given = launch.clean_environment(
        {
            "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")]),
            "PYTEST_ADDOPTS": "",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
            "CASE_COUNT": str(folder / "count"),
            **(launch.find().environment if under else {}),
            **(environment or {}),
        }
    )
    done = subprocess.run(command, env=given, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    lines = read([out]) if list(out.rglob("*.jsonl")) else []
    return CaseRun(done.returncode, done.stdout + done.stderr, lines, collect(lines))


def _lonely_interpreter(folder: Path) -> Path:
    """Return an interpreter that has no launcher beside it."""
    python = folder / "lonely" / "python"
    python.parent.mkdir()
    python.symlink_to(Path(sys.executable).resolve())
    return python
