"""Broken collective tests, each followed by a healthy one that must not suffer."""

import pytest

pytestmark = pytest.mark.mpi


def test_one_rank_asserts(comm):
    assert comm.rank != 1, "rank 1 is wrong"


def test_healthy_after_an_assertion(comm):
    assert comm.allreduce(comm.rank) == sum(range(comm.size))


def test_one_rank_raises_before_a_collective(comm):
    if comm.rank == 1:
        raise ValueError("rank 1 dies first")
    assert comm.allreduce(100) == 100 * comm.size


def test_healthy_after_a_lost_collective(comm):
    assert comm.allreduce(1) == comm.size


def test_root_broadcasts_alone(comm):
    if comm.rank == 0:
        comm.bcast("stale")


def test_healthy_after_a_stray_broadcast(comm):
    assert comm.bcast("fresh" if comm.rank == 0 else None) == "fresh"


def test_skipped_on_one_rank_only(comm):
    if comm.rank == 1:
        pytest.skip("only here")


def test_expected_to_fail_on_one_rank_only(comm):
    if comm.rank == 1:
        pytest.xfail("later")


@pytest.mark.xfail(reason="known", strict=True)
def test_fails_on_all_as_expected(comm):
    assert comm.allreduce(1) == 0


@pytest.fixture
def broken_on_rank_1(comm):
    if comm.rank == 1:
        raise OSError("no disk on rank 1")


def test_setup_fails_on_one_rank(broken_on_rank_1, comm):
    comm.barrier()


def test_message_from_the_dead(comm):
    if comm.rank == 1:
        raise KeyError("never sent")
    if comm.rank == 0:
        comm.recv(source=1)


def test_parts_of_the_world(comm, shared_tmp_path):
    part = comm.Split(comm.rank % 2)
    assert part.allreduce(1) >= 1
    (shared_tmp_path / str(comm.rank)).write_text("x")
    comm.barrier()
    assert len(list(shared_tmp_path.iterdir())) == comm.size


@pytest.mark.claim("sample-1")
def test_a_saboteur_on_one_rank_is_caught_there(comm, evidence):
    evidence.hold(comm.allreduce(1) + 2, what="size", at_least=4, at_most=6, unit="B")
    evidence.cover("kind", "a")
    with evidence.saboteur("wrong-on-rank-1") as trial:
        if trial.rank == 1:
            raise AssertionError("wrong here")
        trial.barrier()
    assert comm.allreduce(1) == comm.size


def test_healthy_at_the_end(comm):
    assert comm.allreduce(1) == comm.size
