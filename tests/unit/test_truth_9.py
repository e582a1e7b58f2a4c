"""All row groups but the last of a file have exactly the configured rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.engine.generate import planned_files
from dlio_benchmark.plan.world import World
from dlio_benchmark.storage.memory import MemoryStorage
from verification.contracts.writer import MakeWriter, row_groups_are_exact, workload_of
from verification.evidence import Recorder
from verification.saboteurs.writers import WRITERS, product_writer

pytestmark = pytest.mark.claim("truth-9")
GEOMETRIES = {"divides": (48, 16), "remainder": (40, 16), "larger than file": (10, 16), "one row": (3, 1)}
WRONG = ("ignores-the-row-group-size", "row-groups-follow-generation-batches", "row-group-one-row-short")


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_row_groups_have_exactly_the_configured_rows(evidence: Recorder, tmp_path: Path, geometry: str) -> None:
    rows, group = GEOMETRIES[geometry]
    row_groups_are_exact(evidence, product_writer, rows, group, tmp_path / "product")
    evidence.cover("geometry", geometry)
    for name in WRONG if group < rows else ():
        with evidence.saboteur(name):
            row_groups_are_exact(evidence, WRITERS[name], rows, group, tmp_path / name)


def told_row_groups(make: MakeWriter, rows: int, group: int, batch: int) -> int:
    """Return how many row groups a writer says that it wrote."""
    workload = workload_of(files=1, rows=rows, group=group, generation_batch_size=batch)
    (file,) = planned_files(workload.dataset, World())
    return make(workload, World()).write(file, MemoryStorage()).row_groups


@given(rows=st.integers(1, 100), group=st.integers(1, 120), batch=st.integers(0, 30))
def test_their_number_follows_from_rows_and_size_alone(evidence: Recorder, rows: int, group: int, batch: int) -> None:
    evidence.equal(told_row_groups(product_writer, rows, group, batch), -(-rows // group), what="row groups told")


@pytest.mark.parametrize("name", WRONG)
def test_wrong_numbers_of_row_groups_are_seen(evidence: Recorder, name: str) -> None:
    evidence.equal(told_row_groups(product_writer, 60, 10, 7), 6, what="row groups told")
    with evidence.saboteur(name):
        evidence.equal(told_row_groups(WRITERS[name], 60, 10, 7), 6, what="row groups told")
