"""Keys that are unknown, old, or without effect here: each is reported once, where it stands."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_issues import only_issue
from declared_keys import KEYS, PARQUET, at, nested, put
from hypothesis import given
from hypothesis import strategies as st

import dlio_benchmark
from dlio_benchmark.config.decode import FOREIGN_KEYS, Decoded, decode
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.errors import Issue

SHIPPED = sorted((Path(dlio_benchmark.__file__).parent / "configs" / "workload").glob("*.yaml"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("workflow.profiling", True),
        ("reader.pin_memory", False),
        ("reader.data_loader_sampler", "index"),
        ("dataset.generation_buffer_size", 4096),
        ("storage.post_generation_settle_seconds", 5),
    ],
)
def test_a_key_that_asks_for_what_is_not_offered_is_reported(path: str, value: Any) -> None:
    assert decode(nested(path, value), strict=True).warnings == (Issue(path, "has no effect here"),)


def test_nothing_is_said_of_keys_that_published_workloads_carry_for_other_formats() -> None:
    for path in ("dataset.record_length_bytes_resize", "reader.shuffle_size", "reader.transfer_size"):
        assert decode(nested(path, 4096), strict=True).warnings == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.stem))
def test_a_shipped_workload_is_valid_without_a_warning(path: Path) -> None:
    assert decode(yaml.safe_load(path.read_text()), strict=True).warnings == ()


def test_a_storage_option_without_effect_is_reported_by_its_name_alone() -> None:
    options = {"columns": ["a"], "secret_access_key": "hunter2"}
    (warning,) = decode(nested("storage.storage_options", options)).warnings
    assert str(warning) == "storage.storage_options.secret_access_key: has no effect here"


def test_what_is_moot_or_asks_for_nothing_is_not_reported() -> None:
    tree = {"checkpoint": {"fsync": True}, "model": {"type": "cnn"}, "reader": {"pin_memory": True}}
    assert decode({"dataset": {"format": "parquet"}, **tree}).warnings == ()


def test_an_unknown_key_is_reported_with_the_nearest_name() -> None:
    got = decode(nested("dataset.compresion", "zstd"))
    assert got.workload == PARQUET
    assert got.warnings == (Issue("dataset.compresion", "unknown key; did you mean 'compression'?"),)


def test_a_key_of_another_section_is_reported_with_its_place() -> None:
    (warning,) = decode(nested("dataset.batch_size", 4)).warnings
    assert warning.what == "unknown key; did you mean 'reader.batch_size'?"


def test_an_unknown_key_without_a_near_name_lists_the_known_ones() -> None:
    (warning,) = decode(nested("metric.zzz", 4)).warnings
    assert warning.what == "unknown key; known here: au"


unknown_names = st.text(st.characters(categories=["L"]), min_size=3, max_size=12)


@given(name=unknown_names, section=st.sampled_from(["", "dataset.", "dataset.parquet.", "reader.", "output.metric."]))
def test_an_unknown_key_warns_and_is_an_error_in_strict_mode_or_when_typed(name: str, section: str) -> None:
    path = f"{section}{name}"
    if path in KEYS or any(known.startswith(f"{path}.") for known in (*KEYS, *FOREIGN_KEYS)):
        return
    tree = nested(path, 1)
    got = decode(tree)
    assert (got.workload, [warning.where for warning in got.warnings]) == (PARQUET, [path])
    assert only_issue(tree, strict=True).where == path
    assert only_issue(tree, typed=[path]).where == path
    assert decode(tree, typed=["dataset.format"]) == got


@pytest.mark.parametrize(
    ("typed", "tree", "where"),
    [
        ("datset.format", {"datset": {"format": "csv"}}, "datset"),
        ("data_reader.bach_size", {"data_reader": {"bach_size": 4}}, "data_reader.bach_size"),
        (
            "dataset.parquet.columns",
            {"dataset": {"parquet": {"columns": [{"name": "a", "typ": 1}]}}},
            "dataset.parquet.columns[0].typ",
        ),
        ("reader.batch_size", {"reader": {"batch_size": 4}, "data_reader": {"batch_size": 2}}, "reader"),
    ],
)
def test_a_typed_key_that_has_no_effect_is_an_error(typed: str, tree: dict[str, Any], where: str) -> None:
    tree.setdefault("dataset", {})["format"] = "parquet"
    assert decode(copy.deepcopy(tree)).warnings[0].where == where
    assert only_issue(tree, typed=[typed]).where == where


@pytest.mark.parametrize("path", sorted(FOREIGN_KEYS))
def test_keys_that_foreign_files_carry_pass_in_silence(path: str) -> None:
    tree = nested(path + "anything" if path.endswith(".") else path, 1)
    assert decode(tree, strict=True, typed=[path.rstrip(".")]) == Decoded(PARQUET)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "", 5, None, ("a", 1)])
def test_an_unprintable_key_is_reported_on_one_line(name: Any) -> None:
    (warning,) = decode({"dataset": {"format": "parquet", name: 1}}).warnings
    assert str(warning).isprintable()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dataset.record_length", "dataset.record_length_bytes"),
        ("dataset.record_length_stdev", "dataset.record_length_bytes_stdev"),
        ("dataset.record_length_resize", "dataset.record_length_bytes_resize"),
        ("model.model_size", "model.model_size_bytes"),
    ],
)
def test_an_old_name_sets_the_key_of_today_and_says_so(old: str, new: str) -> None:
    tree = nested(old, 1234)
    got = decode(tree, strict=True, typed=[old])
    assert at(got.workload, new) == 1234
    assert got.warnings[0].where == old
    put(tree, new, 99)
    assert at(decode(tree).workload, new) == 99


@pytest.mark.parametrize(
    ("mean", "stdev"),
    [
        ("reader.preprocess_time", "reader.preprocess_time_stdev"),
        ("train.computation_time", "train.computation_time_stdev"),
        ("evaluation.eval_time", "evaluation.eval_time_stdev"),
    ],
)
def test_an_old_spread_and_its_mean_are_a_normal_law(mean: str, stdev: str) -> None:
    tree = nested(mean, 0.3)
    put(tree, stdev, 0.1)
    assert at(decode(tree).workload, mean) == Duration("normal", (0.3, 0.1))
    put(tree, mean, {"type": "gamma", "shape": 2, "scale": 0.1})
    assert at(decode(tree).workload, mean) == Duration("gamma", (2.0, 0.1))
    put(tree, mean, None)
    assert at(decode(tree).workload, mean) == Duration("normal", (0.0, 0.1))


def test_data_reader_is_another_name_of_reader() -> None:
    assert decode({"dataset": {"format": "parquet"}, "data_reader": {"batch_size": 7}}).workload.reader.batch_size == 7
    tree = {"dataset": {"format": "parquet"}, "reader": {"batch_size": 3}, "data_reader": {"read_threads": 2}}
    got = decode(tree)
    assert (got.workload.reader.batch_size, got.workload.reader.read_threads) == (1, 2)
    assert [warning.where for warning in got.warnings] == ["reader"]
    assert only_issue(tree, strict=True).where == "reader"


def test_an_error_names_the_section_as_it_was_spelled() -> None:
    assert only_issue(nested("data_reader.batch_size", 0)).where == "data_reader.batch_size"
    assert only_issue(nested("data_reader.odirect", True)).where == "data_reader.odirect"
