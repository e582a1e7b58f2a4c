"""The watch sees what happens to the other ranks of its host without help from the main thread."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from dlio_benchmark.board import FROZEN_NS, Board, Row, State
from dlio_benchmark.errors import Exit, PeerFailedError, StalledError
from dlio_benchmark.guard import Guard
from dlio_benchmark.plan.world import World
from dlio_benchmark.watch import Watch

LIMIT_S = 60.0


class Listening(Guard):
    """A guard, as rank 0 of two, that tells when a verdict was given or the group was ended."""

    def __init__(self) -> None:
        self.judged = threading.Event()
        self.ended = threading.Event()
        self.code = 0
        super().__init__()
        self.world = World(0, 2)
        self.group = self

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "verdict" and value is not None:
            self.judged.set()

    def claim(self) -> bool:
        return True

    def settle(self, code: int, *, first: bool) -> None:
        self.code = code

    def abort(self, code: int) -> None:
        self.ended.set()


@pytest.fixture
def board() -> Iterator[Board]:
    """Return a board for two ranks."""
    made = Board(2, Board.make(2))
    yield made
    made.close()


@pytest.fixture
def neighbour() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that stands for rank 1 and shows its stack on SIGUSR1, as ranks do."""
    code = """
import faulthandler, signal
faulthandler.register(signal.SIGUSR1)
print(flush=True)
while True:
    signal.pause()
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@contextlib.contextmanager
def watching(board: Board, guard: Guard, pid: int, *, deadline_s: float = 0.0) -> Iterator[Watch]:
    """Watch rank 1 as process ``pid`` for the duration of the block."""
    watch = Watch(board, guard, neighbours={0: os.getpid(), 1: pid}, deadline_s=deadline_s, stall_s=0)
    watch.start()
    yield watch
    watch.stop()


def posted(pid: int, *, state: State = State.RUNNING, code: int = 0, age_ns: int = 0) -> Row:
    now_ns = time.monotonic_ns() - age_ns
    return Row(pid, state, code, operations=3, moved_ns=now_ns, posted_ns=now_ns, stage="train", host="a")


def test_a_process_that_ends_without_a_word_is_named_at_once(
    board: Board, neighbour: subprocess.Popen[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    guard = Listening()
    board.put(1, posted(neighbour.pid))
    with watching(board, guard, neighbour.pid):
        neighbour.kill()
        assert guard.ended.wait(LIMIT_S)
    assert guard.code == Exit.INTERNAL
    assert f"rank 1 on host a (pid {neighbour.pid}) ended without a word, in stage: train" in capfd.readouterr().err


@pytest.mark.parametrize("state", [State.CLOSING, State.FAILED])
def test_a_process_that_ends_after_its_word_is_not_lost(
    board: Board, neighbour: subprocess.Popen[bytes], state: State, capfd: pytest.CaptureFixture[str]
) -> None:
    guard = Listening()
    board.put(1, posted(neighbour.pid, state=state, code=3))
    with watching(board, guard, neighbour.pid) as watch:
        neighbour.kill()
        neighbour.wait(LIMIT_S)
        watch.renew()
    assert not guard.ended.is_set()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("code", "followed"), [(74, Exit.IO), (3, Exit.INTERNAL)])
def test_the_failure_of_another_rank_becomes_the_verdict(
    board: Board, neighbour: subprocess.Popen[bytes], code: int, followed: Exit
) -> None:
    guard = Listening()
    with watching(board, guard, neighbour.pid):
        board.put(1, posted(neighbour.pid, state=State.FAILED, code=code))
        assert guard.judged.wait(LIMIT_S)
    assert isinstance(guard.verdict, PeerFailedError)
    assert (guard.verdict.rank, guard.verdict.code) == (1, followed)


def test_a_rank_that_stands_still_past_the_deadline_shows_its_stack(
    board: Board, neighbour: subprocess.Popen[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    guard = Listening()
    guard.pulse.waiting = "barrier 'x'"
    guard.pulse.operations = 4
    board.put(1, posted(neighbour.pid))
    with watching(board, guard, neighbour.pid, deadline_s=0.3):
        assert guard.judged.wait(LIMIT_S)
    assert isinstance(guard.verdict, StalledError)
    assert "missing: rank 1" in str(guard.verdict)
    assert neighbour.stderr is not None
    assert b"most recent call first" in neighbour.stderr.readline()
    assert "test_watch.py" in capfd.readouterr().err


def test_a_verdict_that_nobody_takes_ends_the_group(board: Board, neighbour: subprocess.Popen[bytes]) -> None:
    guard = Listening()
    board.put(1, posted(neighbour.pid))
    with watching(board, guard, neighbour.pid, deadline_s=0.1):
        assert guard.ended.wait(LIMIT_S)
    assert guard.code == Exit.STALLED


def test_a_process_that_was_stopped_itself_begins_to_wait_anew(board: Board) -> None:
    guard = Listening()
    watch = Watch(board, guard, neighbours={}, deadline_s=1.0, stall_s=0)
    watch.renew()
    now_ns = time.monotonic_ns()
    watch._moved_ns, watch._ticked_ns = now_ns - 10 * FROZEN_NS, now_ns - FROZEN_NS - 1
    board.put(1, posted(os.getpid(), age_ns=10 * FROZEN_NS))
    watch._tick(now_ns)
    watch._look(now_ns)
    assert guard.verdict is None
    watch._moved_ns = now_ns - 10 * FROZEN_NS
    watch.renew()
    watch._look(now_ns)
    assert isinstance(guard.verdict, StalledError)


def test_a_stage_is_posted_at_once(board: Board) -> None:
    guard = Listening()
    with watching(board, guard, os.getpid()):
        guard.pulse.stage = "epoch 1"
        assert board.rows()[0].stage == "epoch 1"
        assert board.rows()[0].pid == os.getpid()


def test_the_group_ends_with_the_process_that_started_it(
    board: Board, neighbour: subprocess.Popen[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    guard = Listening()
    watch = Watch(board, guard, neighbours={}, deadline_s=0, stall_s=0, starter=neighbour.pid)
    watch.start()
    neighbour.kill()
    assert guard.ended.wait(LIMIT_S)
    watch.stop()
    assert guard.code == Exit.INTERRUPTED
    assert f"the process that started the job (pid {neighbour.pid}) is gone" in capfd.readouterr().err
