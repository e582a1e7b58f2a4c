"""Properties on several ranks: bugs that one rank alone sees."""

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st

from verification.mpi.given import mpi_given, target

pytestmark = pytest.mark.mpi
STEADY = settings(max_examples=40, database=None, derandomize=True, deadline=None)


@mpi_given(profile=STEADY, xs=st.lists(st.integers()))
def test_all_ranks_see_the_same_examples(comm, xs):
    assert len({repr(x) for x in comm.allgather(xs)}) == 1


@mpi_given(profile=STEADY, n=st.integers(0, 1000))
def test_only_rank_1_fails_before_a_collective(comm, n):
    if comm.rank == 1 and n >= 17:
        raise ValueError(f"bad n {n}")
    comm.barrier()


@mpi_given(profile=STEADY, n=st.integers(0, 1000))
def test_two_bugs_on_two_ranks(comm, n):
    if comm.rank == 1 and n > 500:
        raise ValueError("bug on rank 1")
    if comm.rank == 0 and n < 10:
        raise KeyError("bug on rank 0")
    comm.barrier()


@mpi_given(profile=settings(STEADY, max_examples=10), data=st.data(), a=st.integers())
def test_draws_assumptions_and_targets(comm, data, a):
    assume(a != 3)
    values = [data.draw(st.binary(max_size=3)) for _ in range(data.draw(st.integers(0, 5)))]
    target(float(len(values)) * (comm.rank + 1), label="worst rank")
    assert comm.allgather(values) == [values] * comm.size


def test_healthy_after_the_bugs(comm):
    assert comm.allreduce(1) == comm.size
