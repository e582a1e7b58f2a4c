"""A rank that fails ends the job in time, with an error, and is named; nothing of the job is left."""

from __future__ import annotations

import functools
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import fault_job
import pytest

from dlio_benchmark.launch import Finished, find_launcher, run
from verification.evidence import Recorder

ROOT = Path(__file__).parents[2]
FAULTS = {"raises": "exception", "killed": "kill-9", "exits": "exit-3", "hangs": "hang"}
STAGES = ("generate", "train")
SPOILS: Mapping[str, Callable[[Finished], Finished]] = {
    "exit-code-zero-on-failure": lambda done: replace(done, code=0),
    "swallowed-rank-failure": lambda done: replace(done, code=0, stderr="", stdout="complete\n"),
}
# Rank 1 says itself where it failed if it still can; else another rank, or the launcher, says where it was last.
WHERE = re.compile(r"rank 1(?: of \d+)? on host (\S+) \(pid \d+\)[^:\n]*: (\w+)")


@functools.cache
def job(fault: str, stage: str) -> Finished:
    """Run the small job on two ranks, with a fault on the second; once for all tests that look at it."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with TemporaryDirectory() as folder:
        note = Path(folder) / "struck"
        argv = [sys.executable, fault_job.__file__, fault, stage, "--struck", str(note)]
        return fault_job.since_fault(run(2, argv, timeout_s=60.0, env=environ, grace_s=20.0), note)


def the_failure_ends_the_job(evidence: Recorder, done: Finished, stage: str) -> None:
    """Hold that a job ended by itself, in time, with a code that says so, naming rank, host and stage."""
    most = fault_job.short_s(find_launcher().dialect.value) + 10
    evidence.hold(
        round(done.seconds, 2), what="seconds from the fault to the end of the job", at_most=most, at_least=0, unit="s"
    )
    evidence.hold(done.code % 256, what="exit code", at_least=1, at_most=255)
    named = set(WHERE.findall(done.stderr))
    evidence.equal(named, {(socket.gethostname(), stage)}, what="host and stage that are named of rank 1")
    evidence.equal((done.timed_out, tuple(done.left)), (False, ()), what="processes that had to be killed")
    evidence.equal("complete" in done.stdout, False, what="success claimed")


@pytest.mark.claim("product-4")
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_rank_ends_the_job_and_is_named(evidence: Recorder, fault: str, stage: str) -> None:
    done = job(FAULTS[fault], stage)
    the_failure_ends_the_job(evidence, done, stage)
    evidence.cover("fault", fault)
    evidence.cover("stage", stage)
    for name, spoil in SPOILS.items():
        with evidence.saboteur(name):
            the_failure_ends_the_job(evidence, spoil(done), stage)


def the_missing_rank_and_the_collective_are_named(evidence: Recorder, done: Finished) -> None:
    """Hold that a job ended by itself, which says who did not come to which collective."""
    missing = set(re.findall(r"missing: (ranks? [\d, -]+)", done.stderr))
    evidence.equal(missing, {"rank 1"}, what="ranks named that did not reach a collective")
    waited = set(re.findall(r"rank 0 on host .* waits in (\w+ '.*?')", done.stderr))
    evidence.equal(waited, {"barrier 'step'"}, what="collectives named in which others wait")
    evidence.equal((done.timed_out, tuple(done.left)), (False, ()), what="processes that wait for ever")


@pytest.mark.claim("product-5")
def test_the_collective_that_a_hanging_rank_does_not_reach_is_named(evidence: Recorder) -> None:
    done = job("hang", "train")
    the_missing_rank_and_the_collective_are_named(evidence, done)
    evidence.cover("missing", "hangs")
    with evidence.saboteur("swallowed-rank-failure"):
        the_missing_rank_and_the_collective_are_named(evidence, SPOILS["swallowed-rank-failure"](done))


def not_missed(done: Finished) -> Finished:
    """Return how the job of a rank that left with 0 ends if its code is believed and the others go on without it."""
    return replace(done, code=0, stdout=f"{done.stdout}complete\n", stderr="")


@pytest.mark.claim("product-4")
def test_a_rank_that_leaves_early_is_a_failure(evidence: Recorder) -> None:
    done = job("exit-0", "train")
    the_failure_ends_the_job(evidence, done, "train")
    with evidence.saboteur("rank-that-returns-early"):
        the_failure_ends_the_job(evidence, not_missed(done), "train")


def word_reason_and_code_agree(evidence: Recorder, done: Finished) -> None:
    """Hold that a job which failed says so by word, by its exit code, and by a reason."""
    evidence.equal("complete" in done.stdout, done.code == 0, what="success told by word and by exit code")
    reasons = [line for line in done.stderr.splitlines() if line.strip()]
    evidence.hold(len(reasons), what="lines that give a reason", at_least=1, unit="lines")


@pytest.mark.claim("product-4")
def test_word_reason_and_code_agree(evidence: Recorder) -> None:
    done = job(FAULTS["raises"], "train")
    word_reason_and_code_agree(evidence, done)
    for name, spoil in SPOILS.items():
        with evidence.saboteur(name):
            word_reason_and_code_agree(evidence, spoil(done))
