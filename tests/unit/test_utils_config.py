"""DLIO's configuration interface: every key through LoadConfig, its attribute and GetConfig, and back to a workload."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from declared_keys import KEYS, PARQUET, SECTIONS, nested, pairs
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlio_benchmark import session
from dlio_benchmark.common.enumerations import (
    DataLoaderType,
    FormatType,
    StorageType,
)
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.errors import ConfigError, Issue
from dlio_benchmark.utils.config import (
    ATTRIBUTES,
    PATHS,
    ConfigArguments,
    GetConfig,
    LoadConfig,
)

few = settings(max_examples=10, deadline=None)


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_session", session.Session())
    for name in [name for name in os.environ if name.startswith(("DLIO_", "AWS_"))]:
        monkeypatch.delenv(name)


def test_every_key_has_one_attribute_of_its_own() -> None:
    assert set(PATHS.values()) == set(KEYS) == set(ATTRIBUTES)
    assert len(PATHS) == len(KEYS)


def as_attribute(value: Any) -> Any:
    """Return what an attribute shows for a decoded value that is not None."""
    if isinstance(value, Column):
        return {"name": value.name, "dtype": value.dtype.value, "size": value.size, "read": value.read}
    if isinstance(value, Duration):
        return {"mean": value.parameters[0]}
    return [as_attribute(one) for one in value] if isinstance(value, tuple) else value


def as_text(value: Any) -> str | None:
    """Return what the query tool prints for a decoded value that is not None."""
    if isinstance(value, Duration):
        return str(value.parameters[0])
    if isinstance(value, Enum):
        return str(value.value)
    return str(as_attribute(value)) if value != "" else None


@pytest.mark.parametrize("section", SECTIONS)
@few
@given(data=st.data(), omega=st.booleans())
def test_every_key_goes_through_load_attribute_and_get(section: str, data: st.DataObject, omega: bool) -> None:
    for path in SECTIONS[section]:
        written, meant = data.draw(pairs(*KEYS[path]), label=path)
        tree = nested(path, written.value if isinstance(written, Enum) else written)
        args = ConfigArguments()
        LoadConfig(args, OmegaConf.create(tree) if omega else tree)
        if meant is not None:
            assert getattr(args, ATTRIBUTES[path]) == as_attribute(meant)
            assert GetConfig(args, path) == as_text(meant)
            if path.startswith("reader."):
                assert GetConfig(args, f"data_{path}") == as_text(meant)


def outcome(work: Callable[[], Workload]) -> Workload | tuple[Issue, ...]:
    """Return what ``work`` gives, or the issues that it raises."""
    try:
        return work()
    except ConfigError as error:
        return error.issues


@pytest.mark.parametrize("section", SECTIONS)
@few
@given(data=st.data())
def test_attributes_read_back_as_the_workload_that_was_loaded(section: str, data: st.DataObject) -> None:
    unset = ConfigArguments()
    for path in SECTIONS[section]:
        tree = nested(path, data.draw(pairs(*KEYS[path]), label=path)[0])
        args = ConfigArguments()
        LoadConfig(args, tree)
        if getattr(args, ATTRIBUTES[path]) == getattr(unset, ATTRIBUTES[path]):
            tree = nested("dataset.format", tree["dataset"]["format"])
        assert outcome(args.workload) == outcome(lambda tree=tree: decode(tree).workload)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("framework", "tensorflow"),
        ("dataset.format", "npz"),
        ("dataset.num_files_train", "168"),
        ("dataset.record_length_bytes", "146600628"),
        ("dataset.compression_level", "4"),
        ("reader.read_threads", "1"),
        ("data_reader.batch_size", "7"),
        ("reader.data_loader", "tensorflow"),
        ("train.computation_time", "0.323"),
        ("train.computation_time_stdev", None),
        ("evaluation.eval_time", "0.5"),
        ("evaluation.eval_time_stdev", "0.1"),
        ("metric.au", "0.9"),
        ("workflow.train", "True"),
        ("output.folder", None),
        ("output.metric.exclude_start_steps", "1"),
        ("checkpoint.checkpoint_rank_sync", "False"),
        ("model.transformer.vocab_size", "32000"),
        ("dataset.record_dims", "[]"),
        ("storage.storage_options.access_key_id", None),
        ("model.name", None),
        ("nosuch", None),
        ("dataset", None),
        ("", None),
    ],
)
def test_the_query_prints_values_as_dlio_does(key: str, text: str | None) -> None:
    args = ConfigArguments()
    LoadConfig(
        args,
        {
            "model": {"name": ""},
            "dataset": {"format": "npz", "num_files_train": 168, "record_length_bytes": 146600628},
            "data_reader": {"batch_size": 7},
            "train": {"computation_time": 0.323},
            "evaluation": {"eval_time": {"mean": 0.5, "stdev": 0.1}},
            "storage": {"storage_options": {"access_key_id": "s3cr3t"}},
        },
    )
    assert GetConfig(args, key) == text


@pytest.mark.parametrize(
    ("law", "mean"),
    [({"type": "gamma", "shape": 2, "scale": 3}, "6.0"), ({"type": "uniform", "min": 1, "max": 2}, "1.5")],
)
def test_a_law_without_a_mean_is_printed_by_the_mean_that_follows(law: dict[str, Any], mean: str) -> None:
    args = ConfigArguments()
    LoadConfig(args, {"train": {"computation_time": law}})
    assert args.computation_time == law
    assert GetConfig(args, "train.computation_time") == mean


@pytest.mark.parametrize("value", [True, "true", "True", "1", "yes", "on"])
def test_skip_listing_is_true_for_a_yes(value: Any) -> None:
    args = ConfigArguments()
    LoadConfig(args, OmegaConf.create({"dataset": {"skip_listing": value}}))
    assert args.skip_listing is True


@pytest.mark.parametrize("value", [False, "false", "maybe", ""])
def test_skip_listing_is_false_for_any_other_text(value: Any) -> None:
    args = ConfigArguments()
    args.skip_listing = True
    LoadConfig(args, OmegaConf.create({"dataset": {"skip_listing": value}}))
    assert args.skip_listing is False


def test_a_key_that_is_not_given_leaves_its_attribute() -> None:
    args = ConfigArguments()
    args.batch_size = 9
    LoadConfig(args, {"dataset": {"listing_validation_interval": "50000"}})
    assert (args.batch_size, args.listing_validation_interval) == (9, 50000)


def test_an_invalid_value_is_refused_and_changes_nothing() -> None:
    args = ConfigArguments()
    with pytest.raises(ConfigError, match=r"reader\.batch_size: must be at least 1"):
        LoadConfig(args, {"train": {"epochs": 3}, "reader": {"batch_size": 0}})
    assert args.epochs == 1
    with pytest.raises(ConfigError, match="must be a mapping"):
        LoadConfig(args, OmegaConf.create([1]))


def test_there_is_one_instance_until_it_is_reset() -> None:
    args = ConfigArguments.get_instance()
    assert ConfigArguments.get_instance() is args
    args.batch_size = 5
    ConfigArguments.reset()
    assert ConfigArguments.get_instance().batch_size == 1


def test_the_instance_shows_the_workload_of_the_session() -> None:
    session.begin(PARQUET, session.current_comm())
    assert ConfigArguments.get_instance().format is FormatType.PARQUET


def test_defaults_are_those_of_dlio() -> None:
    args = ConfigArguments()
    assert args.format is FormatType.TFRECORD
    assert args.storage_type is StorageType.LOCAL_FS
    assert (args.read_threads, args.write_threads, args.batch_size, args.seed) == (1, 1, 1, 123)
    assert args.post_generation_settle_seconds == 0.0
    assert args.parquet_columns == []
    assert (args.parquet_row_group_size, args.parquet_partition_by) == (1024, None)


def test_an_unknown_attribute_names_the_nearest_one() -> None:
    with pytest.raises(AttributeError, match="did you mean 'batch_size'"):
        _ = ConfigArguments().bach_size


def test_arguments_travel_to_workers() -> None:
    args = ConfigArguments()
    args.parquet_columns = [{"name": "a"}]
    assert vars(pickle.loads(pickle.dumps(args))).keys() == vars(args).keys()
    assert pickle.loads(pickle.dumps(args)).parquet_columns == [{"name": "a"}]


def test_attributes_may_be_set_as_outside_tests_do() -> None:
    args = ConfigArguments()
    args.format, args.data_loader = FormatType.PARQUET, DataLoaderType.TENSORFLOW
    args.parquet_columns = OmegaConf.create([{"name": "a", "dtype": "int32", "size": 1}])
    args.record_dims, args.storage_root = [], None
    workload = args.workload()
    assert [column.name for column in workload.dataset.parquet.columns] == ["a"]
    assert workload.reader.data_loader is None
    args.parquet_columns = [{"name": "a", "dtype": "nosuch"}]
    with pytest.raises(ConfigError, match=r"columns\[0\]\.dtype"):
        args.workload()
