"""Runs a set of collective tests on N ranks to their end, however often the job dies on the way.

A test that takes the job down is recorded as timed out or crashed, with the ranks that were lost; the others are
launched again.  A launch without progress ends the attempts.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from verification import loading
from verification.journal import SUPERVISOR, Journal, Line, read
from verification.mpi.deaths import DeathWatch
from verification.mpi.launch import Launcher, clean_environment

ATTEMPT = "DLIO_VERIFICATION_ATTEMPT"
TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """Which tests run on how many ranks, and where their journals go."""

    ranks: int
    tests: Sequence[str]
    folder: Path
    root: Path
    options: Sequence[str] = ()
    limit_s: float = 1800.0
    launches: int = 20


LAUNCH_ENDED = "launch ended"


def supervise(job: Job, launcher: Launcher) -> int:
    """Run ``job`` to its end and return the number of launches; everything else is in the journals."""
    log = Journal(job.folder, SUPERVISOR, size=job.ranks)
    log.write("session", tests=len(job.tests), launcher=launcher.program)
    waiting, attempt = list(job.tests), 0
    while waiting and attempt < job.launches:
        code, dead = _launch(job, launcher, waiting, attempt)
        log.write(LAUNCH_ENDED, of_attempt=attempt, code=code)
        lines = [line for line in read([job.folder]) if line.attempt == attempt or line.stream == SUPERVISOR]
        mine = [line for line in lines if line.stream != SUPERVISOR and line.attempt == attempt]
        attempt += 1
        if any(line.event == "finish" and line.rank == 0 for line in mine):
            waiting = []
            break
        settled = _record_losses(log, mine, _Ending(code, dead, _tail(job, attempt - 1)))
        rest = [test for test in waiting if test not in settled]
        if len(rest) == len(waiting):
            words = _tail(job, attempt - 1)[-2000:].strip()
            log.write("gap", gap=f"a launch of {job.ranks} ranks ended with {code} before any test: {words}")
            break
        waiting = rest
    if waiting:
        log.write("gap", gap=f"{len(waiting)} tests did not run after {attempt} launches")
    log.write("finish", launches=attempt)
    log.close()
    return attempt


def _launch(job: Job, launcher: Launcher, tests: Sequence[str], attempt: int) -> tuple[int, list[int]]:
    """Launch once; return the exit code and the ranks in the order in which they ended."""
    select = job.folder / f"attempt{attempt}.select"
    select.write_text("\n".join(tests), encoding="utf-8")
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    command = [
        *launcher.command(job.ranks),
        *[sys.executable, "-m", "pytest", *loading.for_command_line(), "--color=no", "-q", "-p", "no:xdist"],
        *["--rootdir", str(job.root), "--verification-out", str(job.folder), "--verification-select", str(select)],
        *job.options,
        *files,
    ]
    extra = {**launcher.environment, ATTEMPT: str(attempt), "PYTEST_ADDOPTS": ""}
    with (job.folder / f"attempt{attempt}.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=job.root,
            env=_with_root(job.root, clean_environment(extra)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch, limit = DeathWatch(job.folder, attempt, job.ranks), time.monotonic() + job.limit_s
        try:
            while process.poll() is None and time.monotonic() < limit:
                watch.wait(TICK_S)
            return process.returncode if process.returncode is not None else end_group(process), watch.dead
        finally:
            if process.poll() is None:
                end_group(process)
            watch.close()


def _with_root(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` in which this very harness is found by the ranks."""
    here = str(Path(__file__).resolve().parents[2])
    known = environment.get("PYTHONPATH", "")
    return {**environment, "PYTHONPATH": os.pathsep.join(part for part in (str(root), here, known) if part)}


def end_group(process: subprocess.Popen[bytes], patience_s: float = 10.0) -> int:
    """End ``process`` and everything it started; return its exit code."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(patience_s)
    return process.wait()


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a launch ended: its exit code, the ranks in the order of their ends, the last output."""

    code: int
    dead: list[int]
    output: str


def _record_losses(log: Journal, lines: Sequence[Line], ending: _Ending) -> set[str]:
    """Write a loss for every test that was running when the job died; return all tests that need no other launch."""
    ended = {line["id"] for line in lines if line.event == "end" and line.rank == 0}
    lost = {line["id"] for line in lines if line.event == "lost"}
    running: dict[str, set[int]] = {}
    for line in lines:
        if line.event == "start" and line["id"] not in ended | lost:
            running.setdefault(line["id"], set()).add(line.rank)
    for test, ranks in running.items():
        words = dict.fromkeys(set(ending.dead[:1]) & ranks, "crashed") or dict.fromkeys(ranks, "lost")
        detail = f"the job ended with {ending.code} during this test: {_last_words(ending.output)}"
        log.write("lost", id=test, outcome="crashed", detail=detail, ranks=words, of_attempt=lines[0].attempt)
    return ended | lost | set(running)


def _last_words(output: str) -> str:
    telling = [
        line.strip(" =|") for line in output.splitlines() if re.search(r"signal|killed|exit", line, re.IGNORECASE)
    ]
    return "; ".join(telling[-3:])[:400]


def _tail(job: Job, attempt: int) -> str:
    text = (job.folder / f"attempt{attempt}.log").read_text(encoding="utf-8", errors="replace")
    return text[-20_000:]
