"""Ends that cannot be met in process: killed, crashed, asleep, stuck in C."""

import ctypes
import os
import signal
import time

import pytest
from mpi4py import MPI

pytestmark = [pytest.mark.mpi, pytest.mark.phase_limit(1)]


def test_healthy_before(comm):
    comm.barrier()


def test_rank_1_is_killed(comm):
    if comm.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    comm.barrier()


def test_healthy_after_a_kill(comm):
    assert comm.allreduce(1) == comm.size


def test_rank_1_sleeps_for_ever(comm):
    while comm.rank == 1:
        time.sleep(0.1)


def test_rank_1_segfaults(comm):
    if comm.rank == 1:
        ctypes.string_at(0)
    comm.barrier()


def test_rank_0_blocks_in_c_after_rank_1_raised(comm):
    if comm.rank == 1:
        raise ValueError("rank 1 dies first")
    MPI.COMM_WORLD.Barrier()


def test_healthy_at_the_end(comm):
    assert comm.allreduce(1) == comm.size
