"""The group over MPI does what the simulated group does, and never waits for ever."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.comm import Comm
from dlio_benchmark.errors import CollectiveMismatchError, StalledError
from dlio_benchmark.guard import Guard
from dlio_benchmark.plan.epoch import World

pytestmark = pytest.mark.mpi(min_size=2)


@pytest.fixture
def guard() -> Guard:
    """Return a guard that is not installed: the test run has its own ends."""
    return Guard()


@pytest.fixture
def comm(guard: Guard) -> Iterator[Comm]:
    """Return a group of all ranks, on a communicator of its own."""
    from mpi4py import MPI

    from dlio_benchmark.comm_mpi import Mpi

    group = Mpi(MPI.COMM_WORLD, guard, deadline_s=30.0, stall_s=10.0)
    yield group
    group.close()


def test_the_group_knows_its_ranks(comm: Comm) -> None:
    from mpi4py import MPI

    assert comm.world == World(MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size())
    assert comm.hosts() == [MPI.Get_processor_name()] * comm.world.size


def test_values_of_any_size_come_in_rank_order(comm: Comm) -> None:
    for size in (0, 1, 1000, 3_000_000):
        gathered = comm.gather(bytes([comm.world.rank]) * size * comm.world.rank, f"{size} bytes")
        assert gathered == [bytes([rank]) * size * rank for rank in range(comm.world.size)]


def test_the_value_of_the_first_rank_is_shared(comm: Comm) -> None:
    for value in (None, World(3, 4), "x" * 2_000_000):
        assert comm.share(value if comm.world.rank == 0 else "another", "value") == value


def test_many_barriers_stay_in_step(comm: Comm) -> None:
    for _ in range(2000):
        comm.barrier("step")
    assert len(set(comm.gather(comm.pulse.operations, "operations"))) == 1


@given(values=st.lists(st.text(max_size=50), min_size=8, max_size=8))
def test_any_values_are_gathered_whole(values: list[str]) -> None:
    from mpi4py import MPI

    from dlio_benchmark.comm_mpi import Mpi

    group = Mpi(MPI.COMM_WORLD, Guard(), deadline_s=30.0, stall_s=10.0)
    gathered = group.gather(values[group.world.rank], "texts")
    group.close()
    assert gathered == values[: group.world.size]


DIFFERENT: Mapping[str, tuple[Callable[[Comm], object], Callable[[Comm], object]]] = {
    "barrier and gather": (lambda comm: comm.barrier("x"), lambda comm: comm.gather("y" * 10_000, "x")),
    "gather and share": (lambda comm: comm.gather(1, "x"), lambda comm: comm.share(1, "x")),
    "two names": (lambda comm: comm.barrier("step 1"), lambda comm: comm.barrier("step 2")),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_ranks_in_different_operations_are_all_told_and_can_go_on(comm: Comm, case: str) -> None:
    last = comm.world.size - 1
    usual, other = DIFFERENT[case]
    with pytest.raises(CollectiveMismatchError, match=f"rank {last}: ") as raised:
        (other if comm.world.rank == last else usual)(comm)
    assert len(set(comm.gather(str(raised.value), "what was said"))) == 1


def test_a_verdict_ends_the_wait_of_every_later_operation(comm: Comm, guard: Guard) -> None:
    guard.verdict = StalledError("planted")
    with pytest.raises(StalledError, match="planted"):
        comm.barrier("never entered")
    guard.verdict = None
    comm.barrier("entered by all")


def test_the_ranks_of_a_host_see_each_other(comm: Comm, guard: Guard) -> None:
    from dlio_benchmark.comm_mpi import Mpi

    assert isinstance(comm, Mpi)
    guard.pulse.stage = f"stage of {comm.world.rank}"
    comm.barrier("all have posted")
    stages = [row.stage for _, row in sorted(comm._board.rows().items())]
    comm.barrier("all have looked")
    assert stages == [f"stage of {rank}" for rank in range(comm.world.size)]


def test_a_closed_group_is_closed_once(guard: Guard) -> None:
    from mpi4py import MPI

    from dlio_benchmark.comm_mpi import Mpi

    group = Mpi(MPI.COMM_WORLD, guard, deadline_s=30.0, stall_s=10.0)
    group.close()
    group.close()
    assert guard.group is None
    assert guard.pulse.post is None
    assert dataclasses.asdict(group.world) == dataclasses.asdict(guard.world)
