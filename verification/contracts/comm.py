"""What every group of ranks promises: values of all, the value of one, and nobody ahead.

A check makes all its collective calls before it holds anything, so that ranks which fail leave no other waiting.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from dlio_benchmark.comm import Comm
from dlio_benchmark.errors import CollectiveMismatchError
from verification.evidence import Recorder

AHEAD_S = 0.2


def values_arrive_in_rank_order(evidence: Recorder, comm: Comm) -> None:
    """Hold that gathering gives everybody everybody's value, also empty and large ones."""
    sizes = (0, 1, 100_000)
    found = [comm.gather((comm.world.rank, bytes([comm.world.rank]) * size), f"{size} bytes") for size in sizes]
    wanted = [[(rank, bytes([rank]) * size) for rank in range(comm.world.size)] for size in sizes]
    evidence.equal(found == wanted, True, what="values gathered in rank order")


def the_value_of_rank_0_is_shared(evidence: Recorder, comm: Comm) -> None:
    """Hold that sharing gives everybody the value of rank 0."""
    shared = [comm.share((turn, comm.world.rank), "turn") for turn in range(3)]
    evidence.equal(shared, [(turn, 0) for turn in range(3)], what="values shared")


def nobody_passes_a_barrier_alone(evidence: Recorder, comm: Comm, folder: Path) -> None:
    """Hold that rank 0 is not let through before the last rank has come, which takes its time."""
    late, through = folder / "late", folder / "through"
    last = comm.world.rank == comm.world.size - 1
    if last:
        until = time.monotonic() + AHEAD_S
        while time.monotonic() < until and not through.exists():
            time.sleep(0.005)
        late.touch()
    comm.barrier("one for all")
    ahead = not late.exists()
    through.touch()
    evidence.equal(comm.gather(ahead, "who was ahead"), [False] * comm.world.size, what="ranks ahead of the last")


def the_group_knows_its_ranks(evidence: Recorder, comm: Comm) -> None:
    """Hold that ranks are numbered from 0 without gaps, and that each has a host."""
    ranks = comm.gather((comm.world.rank, comm.world.size), "ranks")
    evidence.equal(ranks, [(rank, comm.world.size) for rank in range(comm.world.size)], what="ranks and size")
    evidence.equal(len(comm.hosts()), comm.world.size, what="hosts named")


def ranks_in_different_collectives_are_told(evidence: Recorder, comm: Comm) -> None:
    """Hold that every rank is told who came to which collective when the last rank comes to another one."""
    last = comm.world.size - 1
    said = ""
    try:
        if comm.world.rank == last:
            comm.gather(1, "of the last")
        else:
            comm.barrier("of the others")
    except CollectiveMismatchError as error:
        said = str(error)
    parts = (f"rank {last}: gather 'of the last'", "barrier 'of the others'")
    told = [all(part in one for part in parts) for one in comm.gather(said, "what was said")]
    evidence.equal(told, [True] * comm.world.size, what="ranks told who is in which collective")
    evidence.cover("missing", "in another collective")


class CommContract(ABC):
    """Subclass this, say `on_every_rank`, and pytest runs the contract on your communicator."""

    @abstractmethod
    def on_every_rank(self, work: Callable[[Comm], None]) -> None:
        """Call ``work`` on every rank of a group under test, with the group."""

    def test_values_arrive_in_rank_order(self, evidence: Recorder) -> None:
        self.on_every_rank(lambda comm: values_arrive_in_rank_order(evidence, comm))

    def test_the_value_of_rank_0_is_shared(self, evidence: Recorder) -> None:
        self.on_every_rank(lambda comm: the_value_of_rank_0_is_shared(evidence, comm))

    def test_nobody_passes_a_barrier_alone(self, evidence: Recorder, tmp_path: Path) -> None:
        self.on_every_rank(lambda comm: nobody_passes_a_barrier_alone(evidence, comm, tmp_path))

    def test_the_group_knows_its_ranks(self, evidence: Recorder) -> None:
        self.on_every_rank(lambda comm: the_group_knows_its_ranks(evidence, comm))

    def test_ranks_in_different_collectives_are_told(self, evidence: Recorder) -> None:
        self.on_every_rank(lambda comm: ranks_in_different_collectives_are_told(evidence, comm))
