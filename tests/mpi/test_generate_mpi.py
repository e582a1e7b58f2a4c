"""Ranks together write the data set that one writes alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ranks import Ranks

from verification.contracts.generation import ranks_write_the_data_set_of_one
from verification.evidence import Recorder
from verification.saboteurs.writers import WRITERS, product_writer

pytestmark = [pytest.mark.mpi, pytest.mark.ranks(1, 2, 3), pytest.mark.claim("product-3")]
WRONG_ALONE = ("seed-ignored", "repeats-rows-in-every-row-group", "same-data-on-two-ranks", "writes-constant-columns")
WRONG_TOGETHER = (*WRONG_ALONE, "data-depends-on-ranks")


def test_ranks_write_the_bytes_of_one(evidence: Recorder, comm: Any, shared_tmp_path: Path) -> None:
    ranks_write_the_data_set_of_one(evidence, Ranks(comm), product_writer, shared_tmp_path / "product")
    for name in WRONG_TOGETHER if comm.size > 1 else WRONG_ALONE:
        with evidence.saboteur(name) as trial:
            ranks_write_the_data_set_of_one(evidence, Ranks(trial), WRITERS[name], shared_tmp_path / name)
