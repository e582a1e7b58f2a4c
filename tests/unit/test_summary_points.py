"""What the first summary claimed beyond the truths: clear refusals, partitions, and the single default column."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.contracts.config import PROBLEMS, Problem, all_problems_are_told, the_problem_is_refused
from verification.contracts.job import an_empty_section_gives_the_default_column, run_job
from verification.contracts.loader import MakeLoader, direct, threads
from verification.contracts.partitions import (
    a_partitioned_data_set_is_trained_on,
    ranks_read_partitions_once,
    ranks_write_the_partitions_of_one,
)
from verification.contracts.writer import PARTITIONS, an_interrupted_file_has_no_name, partitions_hold_every_row_once
from verification.evidence import Recorder
from verification.saboteurs.configs import DECODES, RUNS, strict
from verification.saboteurs.loaders import LOADERS
from verification.saboteurs.writers import WRITERS, product_writer

WRONG_FOR = {"unknown codec": "unknown-codec-falls-back", "unknown key": "unknown-key-ignored"}


@pytest.mark.claim("product-13")
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.kind.replace(" ", "-"))
def test_what_is_unknown_is_refused_by_name(evidence: Recorder, problem: Problem) -> None:
    the_problem_is_refused(evidence, strict, problem)
    if problem.kind in WRONG_FOR:
        with evidence.saboteur(WRONG_FOR[problem.kind]):
            the_problem_is_refused(evidence, DECODES[WRONG_FOR[problem.kind]], problem)


@pytest.mark.claim("product-13")
def test_all_problems_are_told_at_once(evidence: Recorder) -> None:
    all_problems_are_told(evidence, strict)
    for name, decode in DECODES.items():
        with evidence.saboteur(name):
            all_problems_are_told(evidence, decode)


@pytest.mark.claim("product-14")
@pytest.mark.parametrize("value", PARTITIONS)
def test_partitions_hold_every_row_once(evidence: Recorder, tmp_path: Path, value: str) -> None:
    partitions_hold_every_row_once(evidence, product_writer, value, tmp_path / "product")
    for name in ("partition-loses-rows", *["partition-value-not-escaped"] * (value != "plain")):
        with evidence.saboteur(name):
            partitions_hold_every_row_once(evidence, WRITERS[name], value, tmp_path / name)


@pytest.mark.claim("product-14")
@pytest.mark.parametrize("value", PARTITIONS)
def test_any_number_of_ranks_writes_the_same_partitions(evidence: Recorder, tmp_path: Path, value: str) -> None:
    ranks_write_the_partitions_of_one(evidence, product_writer, value, tmp_path / "product")
    with evidence.saboteur("data-depends-on-ranks"):
        ranks_write_the_partitions_of_one(evidence, WRITERS["data-depends-on-ranks"], value, tmp_path / "wrong")


@pytest.mark.claim("product-14")
@pytest.mark.parametrize("loader", [direct, threads])
@pytest.mark.parametrize("value", PARTITIONS)
def test_ranks_read_each_row_of_a_partition_once(
    evidence: Recorder, tmp_path: Path, value: str, loader: MakeLoader
) -> None:
    ranks_read_partitions_once(evidence, product_writer, loader, value, tmp_path / "product")
    with evidence.saboteur("partition-loses-rows"):
        ranks_read_partitions_once(evidence, WRITERS["partition-loses-rows"], loader, value, tmp_path / "wrong")
    with evidence.saboteur("same-shard-on-two-ranks"):
        wrong = LOADERS["same-shard-on-two-ranks"]
        ranks_read_partitions_once(evidence, product_writer, wrong, value, tmp_path / "product")


@pytest.mark.claim("product-14")
def test_a_partitioned_data_set_is_trained_on(evidence: Recorder, tmp_path: Path) -> None:
    a_partitioned_data_set_is_trained_on(evidence, run_job, tmp_path / "product")
    name = "parses-partition-by-but-ignores-it"
    with evidence.saboteur(name):
        a_partitioned_data_set_is_trained_on(evidence, RUNS[name], tmp_path / name)


@pytest.mark.claim("product-15")
def test_an_empty_section_gives_the_default_column(evidence: Recorder, tmp_path: Path) -> None:
    an_empty_section_gives_the_default_column(evidence, run_job, tmp_path / "product")
    with evidence.saboteur("empty-section-writes-nothing"):
        an_empty_section_gives_the_default_column(evidence, RUNS["empty-section-writes-nothing"], tmp_path / "wrong")


@pytest.mark.claim("product-10")
def test_an_interrupted_file_has_no_name(evidence: Recorder) -> None:
    an_interrupted_file_has_no_name(evidence, product_writer)
    evidence.cover("ending", "raises")
    for name in ("writes-under-the-final-name", "renames-before-the-footer"):
        with evidence.saboteur(name):
            an_interrupted_file_has_no_name(evidence, WRITERS[name])
