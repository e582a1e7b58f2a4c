"""Ends of processes are told in their order, however late one looks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from verification.mpi.deaths import LATE_FD, DeathWatch, announce, lifeline, watched_file

HOLD = "import sys; from pathlib import Path; from verification.mpi.deaths import announce; "
HOLD += "print(announce(Path(sys.argv[1]), 0, int(sys.argv[2])), flush=True); sys.stdin.read()"


def held(folder: Path, rank: int) -> subprocess.Popen[str]:
    """Start a process that holds the lifeline of a rank."""
    command = [sys.executable, "-c", HOLD, str(folder), str(rank)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert int(process.stdout.readline()) >= LATE_FD
    return process


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_who_died_first_is_told_first_though_all_are_dead_when_one_looks(tmp_path: Path, order: list[int]) -> None:
    watch = DeathWatch(tmp_path, 0, 3)
    ranks = [held(tmp_path, rank) for rank in range(3)]
    watch.wait(0)
    assert watch.dead == []
    for rank in order:
        ranks[rank].kill()
        ranks[rank].communicate()
    watch.wait(10)
    assert watch.dead == order
    watch.close()
    assert list(tmp_path.iterdir()) == []


def test_ranks_are_watched_once_all_have_begun_a_journal(tmp_path: Path) -> None:
    watch = DeathWatch(tmp_path, 3, 2)
    for rank, text in enumerate(["{}\n", "{"]):
        (tmp_path / f"mpi-attempt3-rank{rank}.jsonl").write_text(text, encoding="utf-8")
    watch.wait(0)
    assert not watched_file(tmp_path, 3).exists()
    (tmp_path / "mpi-attempt3-rank1.jsonl").write_text("{}\n", encoding="utf-8")
    watch.wait(0)
    assert watched_file(tmp_path, 3).exists()
    watch.close()


def test_a_rank_that_nobody_watches_goes_on(tmp_path: Path) -> None:
    assert announce(tmp_path, 0, 0) is None
    DeathWatch(tmp_path, 0, 1).close()
    assert announce(tmp_path, 0, 0) is None
    assert not lifeline(tmp_path, 0, 0).exists()
