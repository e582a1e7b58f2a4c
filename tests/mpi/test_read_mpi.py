"""Ranks together read every row of every epoch once, and the bytes that are planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ranks import Ranks

from dlio_benchmark.errors import DlioError
from verification.contracts.loader import (
    Side,
    bytes_are_those_planned,
    direct,
    epochs_deliver_every_row_once,
    ranks_make_the_same_steps,
    threads,
    wide_files,
)
from verification.evidence import Recorder
from verification.saboteurs.loaders import LOADERS, PLANS
from verification.saboteurs.readers import READERS

pytestmark = [pytest.mark.mpi, pytest.mark.ranks(1, 2, 3)]
WRONG_ROWS = ("off-by-one-row", "drops-the-last-rows", "reads-a-row-twice", "stale-buffer")


@pytest.mark.claim("product-1")
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("loader", [direct, threads])
def test_each_epoch_has_every_row_once(evidence: Recorder, comm: Any, loader: Any, shuffle: bool) -> None:
    epochs_deliver_every_row_once(evidence, Ranks(comm), Side(loader=loader), shuffle=shuffle)
    for name in (*WRONG_ROWS, "caches-from-epoch-2"):
        with evidence.saboteur(name, by=(DlioError,)) as trial:
            epochs_deliver_every_row_once(evidence, Ranks(trial), Side(READERS[name], loader), shuffle=shuffle)


@pytest.mark.claim("product-1")
def test_loaders_that_share_badly_are_seen(evidence: Recorder, comm: Any) -> None:
    epochs_deliver_every_row_once(evidence, Ranks(comm), Side(), shuffle=True)
    wrong = ("same-shard-on-two-ranks", "rank-1-does-nothing") if comm.size > 1 else ()
    for name in (*wrong, "stale-shuffle-in-epoch-2", "uneven-steps", "rank-that-returns-early"):
        with evidence.saboteur(name) as trial:
            epochs_deliver_every_row_once(evidence, Ranks(trial), Side(loader=LOADERS[name]), shuffle=True)


@pytest.mark.claim("product-1")
def test_plans_that_leave_too_much_out_are_seen(evidence: Recorder, comm: Any) -> None:
    for shuffle in (False, True):
        epochs_deliver_every_row_once(evidence, Ranks(comm), Side(), shuffle=shuffle)
    for name, plan in PLANS.items():
        with evidence.saboteur(name) as trial:
            epochs_deliver_every_row_once(evidence, Ranks(trial), Side(plan=plan), shuffle=True)


@pytest.mark.claim("product-5")
def test_ranks_make_the_same_steps(evidence: Recorder, comm: Any) -> None:
    for loader in (direct, threads):
        ranks_make_the_same_steps(evidence, Ranks(comm), Side(loader=loader))
    for name in ("uneven-steps", "rank-that-returns-early", "rank-1-does-nothing"):
        with evidence.saboteur(name, by=(DlioError,)) as trial:
            ranks_make_the_same_steps(evidence, Ranks(trial), Side(loader=LOADERS[name]))
    for name, plan in PLANS.items():
        with evidence.saboteur(name) as trial:
            ranks_make_the_same_steps(evidence, Ranks(trial), Side(plan=plan))


@pytest.mark.ranks(1, 2)
@pytest.mark.claim("product-2")
def test_bytes_are_those_planned(evidence: Recorder, comm: Any, shared_tmp_path: Path) -> None:
    group = Ranks(comm)
    files = wide_files(shared_tmp_path / str(group.world.rank))
    for loader in (direct, threads):
        bytes_are_those_planned(evidence, group, Side(loader=loader), files)
    wrong = ("counts-unread-bytes", "reports-planned-for-read", "caches-from-epoch-2", "reads-before-the-clock-starts")
    for name in (*wrong, "reads-all-columns-then-selects"):
        with evidence.saboteur(name) as trial:
            bytes_are_those_planned(evidence, Ranks(trial), Side(READERS[name]), files)
