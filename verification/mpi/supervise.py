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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from verification import loading
from verification.journal import SUPERVISOR, Journal, Line, read
from verification.mpi.launch import Launcher, clean_environment

ATTEMPT = "DLIO_VERIFICATION_ATTEMPT"
NAMED_PROCESS = re.compile(r"\bPID\s+(\d+)\b|\bpid:?\s+(\d+)\b|process rank (\d+)\b|\brank (\d+)\]")


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


def supervise(job: Job, launcher: Launcher) -> int:
    """Run ``job`` to its end and return the number of launches; everything else is in the journals."""
    log = Journal(job.folder, SUPERVISOR, size=job.ranks)
    log.write("session", tests=len(job.tests), launcher=launcher.program)
    waiting, attempt = list(job.tests), 0
    while waiting and attempt < job.launches:
        code = _launch(job, launcher, waiting, attempt)
        lines = [line for line in read([job.folder]) if line.attempt == attempt or line.stream == SUPERVISOR]
        mine = [line for line in lines if line.stream != SUPERVISOR and line.attempt == attempt]
        attempt += 1
        if any(line.event == "finish" and line.rank == 0 for line in mine):
            waiting = []
            break
        settled = _record_losses(log, mine, code, _tail(job, attempt - 1))
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


def _launch(job: Job, launcher: Launcher, tests: Sequence[str], attempt: int) -> int:
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
        try:
            return process.wait(job.limit_s)
        except BaseException as error:
            code = end_group(process)
            if isinstance(error, subprocess.TimeoutExpired):
                return code
            raise


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


def _record_losses(log: Journal, lines: Sequence[Line], code: int, output: str) -> set[str]:
    """Write a loss for every test that was running when the job died; return all tests that need no other launch."""
    ended = {line["id"] for line in lines if line.event == "end" and line.rank == 0}
    lost = {line["id"] for line in lines if line.event == "lost"}
    running: dict[str, set[int]] = {}
    for line in lines:
        if line.event == "start" and line["id"] not in ended | lost:
            running.setdefault(line["id"], set()).add(line.rank)
    dead = _dead_ranks(lines, output)
    for test, ranks in running.items():
        words = dict.fromkeys(dead & ranks, "crashed") or dict.fromkeys(ranks, "lost")
        detail = f"the job ended with {code} during this test: {_last_words(output)}"
        log.write("lost", id=test, outcome="crashed", detail=detail, ranks=words, of_attempt=lines[0].attempt)
    return ended | lost | set(running)


def _dead_ranks(lines: Sequence[Line], output: str) -> set[int]:
    """Return the ranks whose death the launcher reported, by process number or by rank."""
    by_process = {line["pid"]: line.rank for line in lines if line.event == "session"}
    dead: set[int] = set()
    for pid, pid_too, rank, rank_too in NAMED_PROCESS.findall(output):
        if pid or pid_too:
            dead |= {by_process[number] for number in [int(pid or pid_too)] if number in by_process}
        else:
            dead.add(int(rank or rank_too))
    return dead


def _last_words(output: str) -> str:
    telling = [
        line.strip(" =|") for line in output.splitlines() if re.search(r"signal|killed|exit", line, re.IGNORECASE)
    ]
    return "; ".join(telling[-3:])[:400]


def _tail(job: Job, attempt: int) -> str:
    text = (job.folder / f"attempt{attempt}.log").read_text(encoding="utf-8", errors="replace")
    return text[-20_000:]
