"""Data sets on a disk: whole files or none, by any threads, no other configuration, nothing grows, nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.contracts.dataset import (
    CHANGES,
    ENDINGS,
    aliases_are_bounded,
    another_configuration_is_refused,
    ended_generations,
    growths_over_epochs,
    no_ending_leaves_half_a_file,
    no_path_leads_out,
    nothing_grows_over_epochs,
    nothing_named_is_called,
    put_in_storage,
)
from verification.contracts.generation import threads_write_the_data_set_of_none
from verification.contracts.job import run_job
from verification.contracts.loader import Side, direct, threads, wide_files
from verification.evidence import Recorder
from verification.probes import descriptors
from verification.saboteurs.configs import PUTS, REFUSALS, TAKES, compose
from verification.saboteurs.loaders import LOADERS
from verification.saboteurs.readers import READERS
from verification.saboteurs.writers import THREADED, WRITERS, product_writer, product_writer_with


@pytest.mark.claim("product-3")
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_any_number_of_threads_writes_the_same_bytes(evidence: Recorder, tmp_path: Path, codec: str) -> None:
    threads_write_the_data_set_of_none(evidence, product_writer_with, codec, tmp_path / "product")
    for name, make in THREADED.items():
        with evidence.saboteur(name):
            threads_write_the_data_set_of_none(evidence, make, codec, tmp_path / name)


@pytest.mark.claim("product-10")
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_ending_leaves_half_a_file(evidence: Recorder, tmp_path: Path, ending: str) -> None:
    names = ("writes-under-the-final-name", "renames-before-the-footer")
    makes = {tmp_path / "product": product_writer, **{tmp_path / name: WRITERS[name] for name in names}}
    right, *wrong = ended_generations(makes, ending)
    no_ending_leaves_half_a_file(evidence, right, ending, tmp_path / "product")
    for name, outcomes in zip(names, wrong, strict=True):
        with evidence.saboteur(name):
            no_ending_leaves_half_a_file(evidence, outcomes, ending, tmp_path / name)


@pytest.mark.claim("product-11")
@pytest.mark.parametrize("field", CHANGES)
def test_a_data_set_of_another_configuration_is_refused(evidence: Recorder, tmp_path: Path, field: str) -> None:
    another_configuration_is_refused(evidence, run_job, field, tmp_path / "product")
    for name, run in REFUSALS.items():
        if field != "num_files_train":
            with evidence.saboteur(name):
                another_configuration_is_refused(evidence, run, field, tmp_path / name)


@pytest.mark.claim("product-16")
@pytest.mark.parametrize("loader", [direct, threads])
def test_nothing_grows_over_epochs_and_failures(evidence: Recorder, tmp_path: Path, loader: object) -> None:
    descriptors.calibrate()
    files = wide_files(tmp_path / "files")
    made = direct if loader is direct else threads
    wrong = {
        "leaks-open-files": Side(READERS["leaks-open-files"], made),
        "keeps-every-batch": Side(loader=LOADERS["keeps-every-batch"]),
    }
    right, *others = growths_over_epochs([Side(loader=made), *wrong.values()], files)
    nothing_grows_over_epochs(evidence, right)
    for name, growth in zip(wrong, others, strict=True):
        with evidence.saboteur(name):
            nothing_grows_over_epochs(evidence, growth)


@pytest.mark.claim("product-17")
@pytest.mark.parametrize("attack", ["parent folder", "absolute path"])
def test_no_path_leads_out_of_the_data_folder(evidence: Recorder, tmp_path: Path, attack: str) -> None:
    no_path_leads_out(evidence, put_in_storage, attack, tmp_path / "product")
    with evidence.saboteur("joins-paths-unchecked"):
        no_path_leads_out(evidence, PUTS["joins-paths-unchecked"], attack, tmp_path / "wrong")


@pytest.mark.claim("product-17")
def test_nothing_that_a_configuration_names_is_called(evidence: Recorder, tmp_path: Path) -> None:
    nothing_named_is_called(evidence, compose, tmp_path / "product")
    with evidence.saboteur("instantiates-from-configuration"):
        nothing_named_is_called(evidence, TAKES["instantiates-from-configuration"], tmp_path / "wrong")


@pytest.mark.claim("product-17")
def test_aliases_are_bounded(evidence: Recorder, tmp_path: Path) -> None:
    aliases_are_bounded(evidence, compose, tmp_path / "product")
