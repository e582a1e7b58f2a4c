"""Groups of real ranks keep the promises that the product relies on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ranks import Ranks

from dlio_benchmark.comm import Comm
from dlio_benchmark.guard import Guard
from verification.contracts.comm import (
    nobody_passes_a_barrier_alone,
    ranks_in_different_collectives_are_told,
    the_group_knows_its_ranks,
    the_value_of_rank_0_is_shared,
    values_arrive_in_rank_order,
)
from verification.evidence import Recorder
from verification.saboteurs.comms import COMMS

pytestmark = [pytest.mark.mpi, pytest.mark.ranks(2, 3), pytest.mark.claim("product-5")]


@contextmanager
def own_group() -> Iterator[Comm]:
    """Give the ranks through the product's own group."""
    from mpi4py import MPI

    from dlio_benchmark.comm_mpi import Mpi

    ranks = Mpi(MPI.COMM_WORLD, Guard(), deadline_s=30.0, stall_s=10.0)
    yield ranks
    ranks.close()


@pytest.fixture(params=["guarded", "product"])
def group(request: pytest.FixtureRequest, comm: Any) -> Iterator[Comm]:
    """Return the ranks, through the harness and through the product's own group."""
    if request.param == "guarded":
        yield Ranks(comm)
        return
    with own_group() as ranks:
        yield ranks


def test_values_arrive_in_rank_order(evidence: Recorder, group: Comm) -> None:
    values_arrive_in_rank_order(evidence, group)
    the_group_knows_its_ranks(evidence, group)
    with evidence.saboteur("gathers-its-own-value"):
        values_arrive_in_rank_order(evidence, COMMS["gathers-its-own-value"](group))
    with evidence.saboteur("gathers-its-own-value"):
        the_group_knows_its_ranks(evidence, COMMS["gathers-its-own-value"](group))


def test_the_value_of_rank_0_is_shared(evidence: Recorder, group: Comm) -> None:
    the_value_of_rank_0_is_shared(evidence, group)
    with evidence.saboteur("shares-its-own-value"):
        the_value_of_rank_0_is_shared(evidence, COMMS["shares-its-own-value"](group))


def test_nobody_passes_a_barrier_alone(evidence: Recorder, group: Comm, shared_tmp_path: Path) -> None:
    right, wrong = shared_tmp_path / "right", shared_tmp_path / "wrong"
    for folder in (right, wrong):
        folder.mkdir(exist_ok=True)
    nobody_passes_a_barrier_alone(evidence, group, right)
    with evidence.saboteur("skips-the-barrier"):
        nobody_passes_a_barrier_alone(evidence, COMMS["skips-the-barrier"](group), wrong)


@pytest.mark.usefixtures("comm")
def test_ranks_in_different_collectives_are_told(evidence: Recorder) -> None:
    with own_group() as group:
        ranks_in_different_collectives_are_told(evidence, group)
        with evidence.saboteur("compares-no-collectives"):
            ranks_in_different_collectives_are_told(evidence, COMMS["compares-no-collectives"](group))
