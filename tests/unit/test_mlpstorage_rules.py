"""Each rule has a run that it lets pass and one that it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.mlpstorage.rules import Finding, Subject, Verdict, judge, judge_submission, verdict

GOOD = Subject(
    command="run",
    model="unet3d",
    workload={
        "dataset": {"num_files_train": 3500, "num_samples_per_file": 1, "record_length_bytes": 146_600_628},
        "reader": {"batch_size": 7},
    },
    overridden={},
    accelerators=1,
    memory_bytes=64 * 2**30,
)


def with_workload(section: str, **values: Any) -> Subject:
    return replace(GOOD, workload={**GOOD.workload, section: {**GOOD.workload[section], **values}})


def test_a_run_by_the_rules_is_closed_without_a_finding() -> None:
    assert judge(GOOD) == ()
    assert verdict(judge(GOOD)) is Verdict.CLOSED


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("dataset.num_files_train", Verdict.CLOSED),
        ("dataset.num_subfolders_train", Verdict.CLOSED),
        ("reader.read_threads", Verdict.CLOSED),
        ("reader.prefetch_size", Verdict.CLOSED),
        ("reader.odirect", Verdict.CLOSED),
        ("storage.storage_root", Verdict.CLOSED),
        ("dataset.skip_listing", Verdict.CLOSED),
        ("dataset.num_files_generated", Verdict.CLOSED),
        ("framework", Verdict.OPEN),
        ("dataset.format", Verdict.OPEN),
        ("dataset.num_samples_per_file", Verdict.OPEN),
        ("reader.data_loader", Verdict.OPEN),
        ("dataset.compression", Verdict.INVALID),
        ("dataset.parquet.row_group_size", Verdict.INVALID),
        ("dataset.record_length_bytes", Verdict.INVALID),
        ("reader.batch_size", Verdict.INVALID),
        ("train.computation_time", Verdict.INVALID),
        ("nosuch", Verdict.INVALID),
        ("workflow.checkpoint", Verdict.CLOSED),
    ],
)
def test_an_override_decides_the_division_by_its_key(key: str, expected: Verdict) -> None:
    assert verdict(judge(replace(GOOD, overridden={key: 1}))) is expected


def test_too_few_files_are_invalid_and_the_least_number_is_said() -> None:
    (finding,) = judge(with_workload("dataset", num_files_train=3499))
    assert (finding.verdict, "3499" in finding.what, "3500" in finding.what) == (Verdict.INVALID, True, True)


def test_a_data_generation_is_not_judged_by_the_size_of_a_run() -> None:
    assert judge(replace(with_workload("dataset", num_files_train=1), command="datagen")) == ()


@pytest.mark.parametrize("record", [0, "large", -3])
def test_a_check_that_cannot_be_made_is_invalid(record: Any) -> None:
    assert verdict(judge(with_workload("dataset", record_length_bytes=record))) is Verdict.INVALID


def test_unknown_memory_is_invalid() -> None:
    assert verdict(judge(replace(GOOD, memory_bytes=None))) is Verdict.INVALID


def test_direct_io_is_for_unet3d_only() -> None:
    direct = with_workload("reader", odirect=True)
    assert judge(direct) == ()
    assert verdict(judge(replace(direct, model="resnet50"))) is Verdict.INVALID


@pytest.mark.parametrize(
    "made_up",
    [
        with_workload("reader", data_loader="synthetic"),
        with_workload("reader", data_loader=" Synthetic "),
        with_workload("dataset", format="synthetic"),
        replace(GOOD, loader="synthetic"),
        replace(with_workload("reader", data_loader="synthetic"), loader="synthetic"),
    ],
)
def test_a_run_that_reads_nothing_is_invalid(made_up: Subject) -> None:
    (finding,) = judge(made_up)
    assert finding.verdict is Verdict.INVALID
    assert finding.what.startswith("no data is read")


@pytest.mark.parametrize("loader", [None, "threads", "direct", "pytorch"])
def test_a_run_that_reads_is_not_judged_by_its_loader(loader: str | None) -> None:
    assert judge(replace(with_workload("reader", data_loader=loader), loader=loader)) == ()


def test_an_unknown_model_is_invalid() -> None:
    assert verdict(judge(replace(GOOD, model="nosuch"))) is Verdict.INVALID


@given(verdicts=st.lists(st.sampled_from(Verdict)))
def test_the_worst_finding_decides(verdicts: list[Verdict]) -> None:
    expected = next((worst for worst in (Verdict.INVALID, Verdict.OPEN) if worst in verdicts), Verdict.CLOSED)
    assert verdict([Finding(item, "") for item in verdicts]) is expected


@given(verdicts=st.lists(st.sampled_from(Verdict), max_size=12))
def test_a_submission_needs_five_valid_runs(verdicts: list[Verdict]) -> None:
    (finding,) = judge_submission(verdicts)
    valid = [item for item in verdicts if item is not Verdict.INVALID]
    assert (finding.verdict is Verdict.INVALID) is (len(valid) < 5)
    if len(valid) >= 5:
        assert finding.verdict is max(valid)
