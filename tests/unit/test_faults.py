"""Whatever happens to one rank, the job ends soon, not as a success, says who and where, and leaves nothing running.

Each fault is injected on the last of two ranks in one stage of a run.  With ``DLIO_HYPOTHESIS_PROFILE=nightly`` every
fault meets every stage, and with ``DLIO_TEST_OPENMPI_PYTHON`` the other MPI, that of that interpreter, is tried, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import fault_job
import pytest

from dlio_benchmark.errors import ConfigError, Exit
from dlio_benchmark.launch import Finished, Launcher, find_launcher, run
from verification.probes.processes import MARK, marked

ROOT = Path(__file__).parents[2]
JOB = ROOT / "tests" / "mpi" / "fault_job.py"
STAGES = ("generate", "train", "verify")
SOON_S = 10.0
"""From the fault to the end of the job, beside the deadline where the fault shows only when that has passed."""
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Expected:
    """The exit codes that a fault may end with, none for any but 0, and what standard error says."""

    codes: tuple[int, ...] = ()
    says: tuple[str, ...] = ("rank 1",)


STALLED = Expected((Exit.STALLED,), ("missing: rank 1", "Thread 0x", "failed in stage: "))
FAULTS: Mapping[str, Expected] = {
    "exception": Expected((Exit.IO,), ("rank 1 of 2", "StorageError: /data/part-1")),
    "exception-in-thread": Expected((Exit.INTERNAL,), ("rank 1 of 2", "ValueError: planted", "in thread reader-0")),
    "exit-3": Expected((3,), ("rank 1 of 2", "exit(3) before the group was closed")),
    "exit-0": Expected((Exit.INTERNAL,), ("rank 1 of 2", "exit(0) before the group was closed")),
    "os-exit-0": Expected(),
    "kill-9": Expected(),
    "sigterm": Expected((Exit.TERMINATED,), ("rank 1 of 2", "interrupted by SIGTERM")),
    "sigint": Expected((Exit.INTERRUPTED,), ("rank 1 of 2", "interrupted by SIGINT")),
    "sigsegv": Expected(),
    "hang": STALLED,
    "hang-with-lock": STALLED,
    "sigstop": STALLED,
    "mismatch": Expected((Exit.INTERNAL,), ("rank 0: barrier 'step'", "rank 1: gather 'planted'")),
    "worker-killed": Expected((Exit.INTERNAL,), ("rank 1 of 2", "BrokenProcessPool")),
    "launcher-killed": Expected(),
    "launcher-sigterm": Expected((Exit.TERMINATED,), ()),
    "launcher-sigint": Expected((Exit.INTERRUPTED, Exit.TERMINATED), ()),
}


def interpreters() -> list[str]:
    other = os.environ.get("DLIO_TEST_OPENMPI_PYTHON")
    return [sys.executable, other] if other else [sys.executable]


def cases() -> list[tuple[str, str, str]]:
    """Return interpreter, fault and stage of each case."""
    full = os.environ.get("DLIO_HYPOTHESIS_PROFILE") == "nightly"
    stages = {fault: STAGES if full else (STAGES[n % len(STAGES)],) for n, fault in enumerate(FAULTS)}
    return [(python, fault, stage) for python in interpreters() for fault in FAULTS for stage in stages[fault]]


def launcher_of(python: str) -> Launcher:
    """Return the launcher of ``python``; a machine without one cannot show what these tests claim, so it fails."""
    try:
        return find_launcher(python)
    except ConfigError as error:
        pytest.fail(f"the fault matrix needs MPI: {error}")


def job(python: str, fault: str, stage: str, *options: str, ranks: int = 2) -> Finished:
    environ, launcher = {**os.environ, "PYTHONPATH": str(ROOT)}, launcher_of(python)
    with TemporaryDirectory() as folder:
        note = Path(folder) / "struck"
        argv = [python, fault_job.__file__, fault, stage, "--struck", str(note), *options]
        done = run(ranks, argv, timeout_s=TIMEOUT_S, env=environ, launcher=launcher, grace_s=20.0)
        done = fault_job.since_fault(done, note)
    waited_s = fault_job.short_s(launcher.dialect.value) if fault in fault_job.AWAIT_THE_DEADLINE else 0.0
    return replace(done, seconds=done.seconds - waited_s)


def assert_ended(done: Finished) -> None:
    """Assert that a job ended by itself, in time, with no process left, and not as a success."""
    assert not done.timed_out
    assert done.left == ()
    assert done.seconds < SOON_S
    assert done.code % 256 != 0
    assert "complete" not in done.stdout.split()


@pytest.mark.parametrize(("python", "fault", "stage"), cases(), ids=lambda value: Path(value).name)
def test_a_fault_on_one_rank_ends_the_job_and_is_named_and_leaves_no_shared_memory(
    python: str, fault: str, stage: str, tmp_path: Path
) -> None:
    list_of_paths = tmp_path / "segments"
    done = job(python, fault, stage, "--segments", str(list_of_paths))
    assert_ended(done)
    assert not FAULTS[fault].codes or done.code in FAULTS[fault].codes
    assert [text for text in (*FAULTS[fault].says, stage) if text not in done.stderr] == []
    paths = list_of_paths.read_text().split()
    assert paths
    assert [path for path in paths if Path(path).exists()] == []


@pytest.mark.parametrize("python", interpreters(), ids=lambda value: Path(value).name)
def test_a_job_without_a_fault_completes_in_silence(python: str) -> None:
    done = job(python, "none", "train", ranks=3)
    assert (done.code, done.stdout, done.stderr, done.left) == (0, "complete\n", "", ())


@pytest.mark.parametrize("fault", ["hang", "sigstop", "exception"])
def test_ranks_of_other_hosts_are_known_by_what_they_send(fault: str) -> None:
    done = job(sys.executable, fault, "train", "--apart")
    assert_ended(done)
    assert "rank 1" in done.stderr
    assert "train" in done.stderr


def test_a_slow_rank_of_another_host_is_waited_for() -> None:
    done = job(sys.executable, "slow", "train", "--apart")
    assert (done.code, done.stdout) == (0, "complete\n")


def test_a_slow_rank_is_shown_and_waited_for() -> None:
    done = job(sys.executable, "slow", "train")
    assert (done.code, done.stdout) == (0, "complete\n")
    assert "some ranks stand still" in done.stderr
    assert "rank 1 on host" in done.stderr


def test_a_job_that_was_suspended_as_a_whole_goes_on() -> None:
    done = job(sys.executable, "pause", "train")
    assert (done.code, done.stdout) == (0, "complete\n")


def test_a_rank_that_hangs_while_the_others_close_is_named() -> None:
    done = job(sys.executable, "late", "verify")
    assert_ended(done)
    assert done.code == Exit.STALLED
    assert "missing: rank 1" in done.stderr
    assert "waits in close 'the group'" in done.stderr


def test_a_rank_that_fails_before_the_group_is_joined_does_not_leave_the_others_waiting() -> None:
    done = job(sys.executable, "early", "train")
    assert_ended(done)
    assert "StorageError: planted before the group came together" in done.stderr


FRONT_END = """
import sys
from dlio_benchmark.launch import find_launcher, run
run(2, sys.argv[1:], timeout_s=60, launcher=find_launcher(sys.argv[1]))
"""


@pytest.mark.parametrize("python", interpreters(), ids=lambda value: Path(value).name)
def test_a_job_ends_with_the_program_that_launched_it(python: str, tmp_path: Path) -> None:
    begun, mark = tmp_path / "begun", uuid.uuid4().hex
    job = [python, str(JOB), "hang", "train", "--deadline", "50", "--segments", str(begun)]
    front_end = subprocess.Popen(
        [sys.executable, "-c", FRONT_END, *job],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark},
    )
    while not begun.exists():
        assert front_end.poll() is None
    front_end.kill()
    front_end.wait()
    until = time.monotonic() + TIMEOUT_S
    while marked(mark) and time.monotonic() < until:
        pass
    assert marked(mark) == []


FOREIGN = {
    "the other launcher": {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"},
    "another size": {"PMI_RANK": "0", "PMI_SIZE": "2"},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_launcher_that_is_not_the_librarys_is_refused(case: str) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **FOREIGN[case]}
    argv = [sys.executable, str(JOB), "none", "train"]
    done = subprocess.run(
        argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert (done.returncode, done.stdout) == (Exit.CONFIG, "")
    assert "launcher and MPI library do not belong together" in done.stderr


if len(interpreters()) > 1:

    @pytest.mark.parametrize("ours", [True, False])
    def test_the_launcher_of_a_second_mpi_is_refused(ours: bool) -> None:
        mine, other = interpreters()
        launcher, python = (launcher_of(mine), other) if ours else (launcher_of(other), mine)
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = run(2, [python, str(JOB), "none", "train"], timeout_s=TIMEOUT_S, env=environ, launcher=launcher)
        assert (done.code, done.stdout) == (Exit.CONFIG, "")
        assert "launcher and MPI library do not belong together" in done.stderr
