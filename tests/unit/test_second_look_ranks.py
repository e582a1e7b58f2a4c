"""Wrong loaders, groups and ends of jobs are caught a second time: by another relation, oracle or probe."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.comm import Comm, Simulated
from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.errors import CollectiveMismatchError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.world import World
from dlio_benchmark.reader.parquet_reader import ParquetRows
from verification.contracts.loader import (
    COLUMNS,
    EPOCHS,
    MakeLoader,
    direct,
    files_in_memory,
    path_of,
    plan_of,
    threads,
)
from verification.evidence import Recorder
from verification.saboteurs.comms import COMMS
from verification.saboteurs.loaders import LOADERS

SIZE = 2


# -- loaders -----------------------------------------------------------------------------------------------------------
def order_is_that_of_the_plan(evidence: Recorder, make: MakeLoader) -> None:
    """Hold that each rank has, in each epoch, rows of the files of its visits, one visit after the other."""
    for rank in range(SIZE):
        loader = make(ParquetRows(files_in_memory(), COLUMNS, ReadMode.ROW_GROUP))
        for epoch in EPOCHS:
            plan = plan_of(World(rank, SIZE), epoch, shuffle=True)
            found = np.concatenate([np.asarray(batch.column("id")) for batch in loader.batches(plan, path_of, Tally())])
            wanted = [visit.file for visit in plan.visits() for _ in range(visit.stop - visit.start)]
            evidence.equal((found // 1000).tolist(), wanted, what="files of the rows, in the order of the visits")
        loader.close()


@pytest.mark.claim("product-1")
def test_rows_come_from_the_files_of_the_plan(evidence: Recorder) -> None:
    for make in (direct, threads):
        order_is_that_of_the_plan(evidence, make)
    for name in ("same-shard-on-two-ranks", "stale-shuffle-in-epoch-2"):
        with evidence.saboteur(name):
            order_is_that_of_the_plan(evidence, LOADERS[name])


# -- groups ------------------------------------------------------------------------------------------------------------
def on_ranks(make: Callable[[Comm], Comm], work: Callable[[Comm], object], size: int = 3) -> list[object]:
    """Return what ``work`` gives on each rank of a group of threads that ``make`` has wrapped."""
    given: list[object] = [None] * size

    def one(comm: Comm) -> None:
        given[comm.world.rank] = work(make(comm))

    Simulated.run(size, one)
    return given


def sums_agree(evidence: Recorder, make: Callable[[Comm], Comm]) -> None:
    """Hold that every rank can add up what all ranks have."""
    sums = on_ranks(make, lambda comm: sum(comm.gather(10**comm.world.rank, "powers")))
    evidence.equal(sums, [111] * 3, what="sums over all ranks")


def ranks_agree(evidence: Recorder, make: Callable[[Comm], Comm]) -> None:
    """Hold that ranks which each had another opinion have one after it was shared."""
    opinions = on_ranks(make, lambda comm: comm.share(f"opinion of {comm.world.rank}", "opinion"))
    evidence.hold(len(set(opinions)), what="opinions left after sharing", at_most=1, unit="opinions")


def nobody_runs_ahead(evidence: Recorder, make: Callable[[Comm], Comm], rounds: int = 5) -> None:
    """Hold how many rounds one rank has made more than the other, which lets it run ahead for a while if it can."""
    made, lead = [0] * SIZE, threading.Event()
    furthest = 0

    def work(comm: Comm) -> None:
        nonlocal furthest
        rank = comm.world.rank
        if rank == 1:
            lead.wait(0.2)
        for _ in range(rounds):
            comm.barrier("round")
            made[rank] += 1
            furthest = max(furthest, abs(made[0] - made[1]))
            if furthest > 1:
                lead.set()

    on_ranks(make, work, SIZE)
    evidence.hold(furthest, what="rounds that a rank is ahead", at_most=1, unit="rounds")


@pytest.mark.claim("product-5")
@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("gathers-its-own-value", sums_agree),
        ("shares-its-own-value", ranks_agree),
        ("skips-the-barrier", nobody_runs_ahead),
    ],
)
def test_groups_agree(evidence: Recorder, name: str, check: Callable[[Recorder, Callable[[Comm], Comm]], None]) -> None:
    check(evidence, lambda comm: comm)
    with evidence.saboteur(name):
        check(evidence, COMMS[name])


MISSING = ("in another collective", "has left")


def ranks_stop_where_one_is_missing(
    evidence: Recorder, make: Callable[[Comm], Comm], steps: int, odd: int, missing: str
) -> None:
    """Hold that the others end at the collective that one of three ranks does not reach, and are told which one it is.

    The ranks meet in some steps; then one of them leaves, or comes to another collective than the others.
    """
    ends: dict[int, tuple[int, str]] = {}

    def walk(comm: Comm) -> None:
        done, said, astray = 0, "", comm.world.rank == odd
        try:
            for step in range(steps):
                comm.barrier(f"step {step}")
                done += 1
            if astray and missing == "has left":
                return
            comm.gather(odd, "astray") if astray else comm.barrier("home")
            done += 1
        except CollectiveMismatchError as error:
            said = str(error)
        ends[comm.world.rank] = done, said

    on_ranks(make, walk)
    told = [said for _, said in ends.values()]
    furthest = max(done for done, _ in ends.values())
    evidence.hold(furthest, what="collectives completed with a rank missing", at_least=steps, at_most=steps)
    where = f"rank {odd}: " + ("ended its work after" if missing == "has left" else "gather 'astray'")
    named = [where in said and f"barrier 'home', operation {steps + 1}" in said for said in told]
    evidence.equal(named, [True] * (2 if missing == "has left" else 3), what="ranks told which rank misses which one")
    evidence.cover("missing", missing)


@pytest.mark.claim("product-5")
@pytest.mark.parametrize("missing", MISSING)
@given(steps=st.integers(0, 5), odd=st.integers(0, 2))
def test_ranks_stop_where_one_is_missing(evidence: Recorder, missing: str, steps: int, odd: int) -> None:
    ranks_stop_where_one_is_missing(evidence, lambda comm: comm, steps, odd, missing)
    with evidence.saboteur("compares-no-collectives"):
        ranks_stop_where_one_is_missing(evidence, COMMS["compares-no-collectives"], steps, odd, missing)
