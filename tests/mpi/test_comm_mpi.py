"""The group over MPI does what the simulated group does, and never waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import strategies as st

from dlio_benchmark.comm import Comm
from dlio_benchmark.errors import CollectiveMismatchError, StalledError
from dlio_benchmark.guard import Guard
from dlio_benchmark.plan.world import World
from verification.mpi.given import mpi_given

pytestmark = pytest.mark.mpi(min_size=2)


def joined(guard: Guard) -> Comm:
    """Return a group of all ranks on a communicator of its own, lent to a guard that is not installed."""
    from mpi4py import MPI

    from dlio_benchmark.comm_mpi import Mpi

    return Mpi(MPI.COMM_WORLD, guard, deadline_s=30.0, stall_s=10.0)


@pytest.fixture
def keeper() -> Guard:
    """Return the guard of `group`."""
    return Guard()


@pytest.fixture
def group(keeper: Guard) -> Iterator[Comm]:
    """Return a group of all ranks."""
    made = joined(keeper)
    yield made
    made.close()


def test_the_group_knows_its_ranks(group: Comm) -> None:
    from mpi4py import MPI

    assert group.world == World(MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size())
    assert group.hosts() == [MPI.Get_processor_name()] * group.world.size


def test_values_of_any_size_come_in_rank_order(group: Comm) -> None:
    for size in (0, 1, 1000, 3_000_000):
        gathered = group.gather(bytes([group.world.rank]) * size * group.world.rank, f"{size} bytes")
        assert gathered == [bytes([rank]) * size * rank for rank in range(group.world.size)]


def test_the_value_of_the_first_rank_is_shared(group: Comm) -> None:
    for value in (None, World(3, 4), "x" * 2_000_000):
        assert group.share(value if group.world.rank == 0 else "another", "value") == value


def test_many_barriers_stay_in_step(group: Comm) -> None:
    for _ in range(2000):
        group.barrier("step")
    assert len(set(group.gather(group.pulse.operations, "operations"))) == 1


@mpi_given(values=st.lists(st.text(max_size=50), min_size=8, max_size=8))
def test_any_values_are_gathered_whole(group: Comm, values: list[str]) -> None:
    assert group.gather(values[group.world.rank], "texts") == values[: group.world.size]


DIFFERENT: Mapping[str, tuple[Callable[[Comm], object], Callable[[Comm], object]]] = {
    "barrier and gather": (lambda comm: comm.barrier("x"), lambda comm: comm.gather("y" * 10_000, "x")),
    "gather and share": (lambda comm: comm.gather(1, "x"), lambda comm: comm.share(1, "x")),
    "two names": (lambda comm: comm.barrier("step 1"), lambda comm: comm.barrier("step 2")),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_ranks_in_different_operations_are_all_told_and_can_go_on(group: Comm, case: str) -> None:
    last = group.world.size - 1
    usual, other = DIFFERENT[case]
    with pytest.raises(CollectiveMismatchError, match=f"rank {last}: ") as raised:
        (other if group.world.rank == last else usual)(group)
    assert len(set(group.gather(str(raised.value), "what was said"))) == 1


def test_a_verdict_ends_the_wait_of_every_later_operation(group: Comm, keeper: Guard) -> None:
    keeper.verdict = StalledError("planted")
    with pytest.raises(StalledError, match="planted"):
        group.barrier("never entered")
    keeper.verdict = None
    group.barrier("entered by all")


def test_the_ranks_of_a_host_see_each_other(group: Comm, keeper: Guard) -> None:
    from dlio_benchmark.comm_mpi import Mpi

    assert isinstance(group, Mpi)
    keeper.pulse.stage = f"stage of {group.world.rank}"
    group.barrier("all have posted")
    stages = [row.stage for _, row in sorted(group._board.rows().items())]
    group.barrier("all have looked")
    assert stages == [f"stage of {rank}" for rank in range(group.world.size)]


def test_a_closed_group_is_closed_once(keeper: Guard) -> None:
    group = joined(keeper)
    group.close()
    group.close()
    assert keeper.group is None
    assert keeper.pulse.post is None
    assert group.world == keeper.world
