"""The witness knows which process of a group died first, and speaks only when none of them can."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlio_benchmark.board import Board, Row, State
from dlio_benchmark.lifeline import Lifeline, Lines, Witness
from dlio_benchmark.witness import Deaths, lost, tell

RANK = """
import signal
from dlio_benchmark.lifeline import Lifeline
print(Lifeline().fd, flush=True)
signal.pause()
"""


class Group:
    """Three processes with lifelines, the rows that they would post, and the way to dismiss their witness."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        words = [sys.executable, "-c", RANK]
        self.ranks = [subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=pipe, text=True) for _ in range(3)]
        self.ends = {rank: (process.pid, self._lifeline(process)) for rank, process in enumerate(self.ranks)}
        self.heard, self.tell = os.pipe()
        self.lines: Lines | None = None
        self.board = Board(3, fd := Board.make(3))
        self.fd = os.dup(fd)
        for rank in range(3):
            self.post(rank, State.RUNNING)

    @staticmethod
    def _lifeline(process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None
        return int(process.stdout.readline())

    def post(self, rank: int, state: State) -> None:
        self.board.put(rank, Row(self.ranks[rank].pid, state, stage="train", done=rank, host="a"))

    def deaths(self) -> Deaths:
        """Return the deaths from now on."""
        self.lines = Lines(self.ends)
        self.lines.poll.register(self.heard, select.EPOLLIN)
        return Deaths(self.heard, self.lines.poll, self.lines.ranks)

    def kill(self, *ranks: int) -> None:
        for rank in ranks:
            self.ranks[rank].kill()
            self.ranks[rank].wait()

    def close(self) -> None:
        self.kill(0, 1, 2)
        if self.lines is not None:
            self.lines.close()
        for process in self.ranks:
            assert process.stdout is not None
            process.stdout.close()
        self.board.close()
        for fd in (self.heard, self.tell, self.fd):
            os.close(fd)


@pytest.fixture
def group() -> Iterator[Group]:
    made = Group()
    yield made
    made.close()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_ranks_that_all_died_the_first_is_named(group: Group, order: tuple[int, ...]) -> None:
    deaths = group.deaths()
    group.kill(*order)
    found = lost(deaths, group.board)
    assert found is not None
    assert (found[0], found[1].pid) == (order[0], group.ranks[order[0]].pid)


@pytest.mark.parametrize("state", [State.CLOSING, State.FAILED])
def test_ranks_that_said_how_they_end_need_no_witness(group: Group, state: State) -> None:
    deaths = group.deaths()
    for rank in range(3):
        group.post(rank, state)
    group.kill(2, 0, 1)
    assert lost(deaths, group.board) is None


def test_a_rank_that_is_left_and_tells_of_a_death_is_not_interrupted(group: Group) -> None:
    deaths = group.deaths()
    group.kill(2)
    group.post(0, State.FAILED)
    assert lost(deaths, group.board) is None


def test_a_group_that_was_closed_needs_no_witness(group: Group) -> None:
    deaths = group.deaths()
    os.write(group.tell, b".")
    assert lost(deaths, group.board) is None


def test_what_is_told_stands_in_log_and_record_too(
    group: Group, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log, results = tmp_path / "dlio.log", tmp_path / "results"
    log.write_text("[OUTPUT] begun\n")
    results.mkdir()
    group.board.note(f"{log}\0{results}")
    witness = Witness(3, group.fd, group.ends)
    group.kill(2, 0, 1)  # some of them, or all, before it has begun to look
    witness.wait()
    said = capfd.readouterr().err
    assert f"rank 2 of 3 on host a (pid {group.ranks[2].pid}) failed in stage: train, 2 done" in said
    assert "[ERROR] rank 2 of 3 on host a" in log.read_text()
    record = json.loads((results / "failure.json").read_text())
    assert (record["complete"], record["rank"], record["stage"]) == (False, 2, "train, 2 done")


def test_shared_memory_of_ranks_that_were_killed_while_they_told_is_removed(group: Group) -> None:
    segment = Path(f"/dev/shm/mpich_shm_test_{os.getpid()}")
    segment.touch()
    for rank in range(3):
        row = Row(group.ranks[rank].pid, State.FAILED, stage="train", host="a", segment=str(segment))
        group.board.put(rank, row)
    witness = Witness(3, group.fd, group.ends)
    group.kill(0, 1, 2)
    witness.wait()
    assert not segment.exists()


def test_the_record_of_a_rank_that_could_write_it_is_left_alone(tmp_path: Path) -> None:
    record = tmp_path / "failure.json"
    record.write_text("{}")
    tell(0, 1, Row(pid=1, stage="train"), log=str(tmp_path / "none.log"), folder=str(tmp_path))
    assert record.read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["failure.json"]


def test_a_note_on_the_board_is_whole_or_absent() -> None:
    board = Board(1, Board.make(1))
    assert board.noted() == ""
    board.note("a\0b")
    assert board.noted() == "a\0b"
    board.note("x" * 5000)
    assert board.noted() == "a\0b"
    board.close()


def test_a_witness_that_is_dismissed_leaves_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    line = Lifeline()
    fd = Board.make(1)
    witness = Witness(1, fd, {0: (os.getpid(), line.fd)})
    witness.dismiss()
    line.close()
    os.close(fd)
    assert capfd.readouterr().err == ""
