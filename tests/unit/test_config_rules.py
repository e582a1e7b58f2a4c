"""The rules between keys: each names the key that breaks it, and says nothing about what it does not know."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest
from declared_keys import KEYS, PARQUET, columns, replaced
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import ColumnType, Compression, DataLoaderType, FormatType, StorageType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Column, Parquet, Workload
from dlio_benchmark.config.rules import CODECS, LEVELS, LOADERS, PARTITION_TYPES, RULES, Rule, broken_rules, overlap
from dlio_benchmark.errors import ConfigError, Issue


def broken(changes: Mapping[str, Any]) -> dict[str, str]:
    workload = PARQUET
    for path, value in changes.items():
        workload = replaced(workload, path, value)
    return {issue.where: issue.what for issue in broken_rules(workload)}


def with_columns(*columns: Column, **parquet: Any) -> dict[str, Any]:
    return {"dataset.parquet": Parquet(columns=columns, **parquet)}


def test_a_default_parquet_workload_breaks_no_rule() -> None:
    assert broken({}) == {}


@pytest.mark.parametrize("kind", FormatType)
@pytest.mark.parametrize("codec", Compression)
def test_each_format_has_its_own_codecs(kind: FormatType, codec: Compression) -> None:
    got = broken({"dataset.format": kind, "dataset.compression": codec})
    if kind not in CODECS:
        assert got == {"dataset.format": f"{kind} is not offered here; use one of parquet, synthetic"}
    elif codec not in CODECS[kind]:
        allowed = ", ".join(map(str, CODECS[kind]))
        assert got == {"dataset.compression": f"{codec} is no codec of {kind}; use one of {allowed}"}
    else:
        assert got == {}


def test_parquet_has_the_five_codecs_of_the_contract() -> None:
    assert {codec.value for codec in CODECS[FormatType.PARQUET]} == {"none", "snappy", "gzip", "lz4", "zstd"}


@given(codec=st.sampled_from(CODECS[FormatType.PARQUET]), level=st.none() | st.integers(-5, 30))
def test_a_level_must_be_one_that_the_codec_has(codec: Compression, level: int | None) -> None:
    got = broken({"dataset.compression": codec, "dataset.compression_level": level})
    low, high = LEVELS.get(codec, (1, 0))
    assert (got == {}) == (level is None or low <= level <= high)
    assert set(got) <= {"dataset.compression_level"}
    assert all(str(level) in what and str(codec) in what for what in got.values())


@given(drawn=st.lists(columns(), max_size=6))
def test_column_names_differ(drawn: list[Column]) -> None:
    names = [column.name for column in drawn]
    got = broken(with_columns(*(dataclasses.replace(column, read=True) for column in drawn)))
    assert ("dataset.parquet.columns" in got) == (len(set(names)) < len(names))


@pytest.mark.parametrize("name", ["", "a\0b", "tab\t", "\ud800", "line\nline", "\x7f"])
def test_an_empty_or_unprintable_column_name_is_refused_with_its_number(name: str) -> None:
    assert list(broken(with_columns(Column("good"), Column(name)))) == ["dataset.parquet.columns[1].name"]


def test_at_least_one_column_is_read() -> None:
    assert "no column is read" in broken(with_columns(Column("a", read=False)))["dataset.parquet.columns"]


def test_a_list_does_not_outgrow_the_size_that_arrow_can_count() -> None:
    assert broken(with_columns(Column("a", size=2**31 - 1))) == {}
    assert list(broken(with_columns(Column("a", size=2**31)))) == ["dataset.parquet.columns[0].size"]
    assert list(broken({"dataset.record_length_bytes": 2.0**31})) == ["dataset.record_length_bytes"]
    assert list(broken({"dataset.record_dims": (2**16, 2**16)})) == ["dataset.record_dims"]


@given(drawn=st.lists(columns(), min_size=2, max_size=5, unique_by=lambda column: column.name), data=st.data())
def test_a_partition_column_is_a_configured_scalar_with_distinct_values(
    drawn: list[Column], data: st.DataObject
) -> None:
    drawn = [dataclasses.replace(column, read=True) for column in drawn]
    chosen = data.draw(st.sampled_from(drawn))
    got = broken(with_columns(*drawn, partition_by=chosen.name))
    scalar = chosen.size == 1 or chosen.dtype is ColumnType.STRING
    assert (got == {}) == (chosen.dtype in PARTITION_TYPES and scalar)
    assert set(got) <= {"dataset.parquet.partition_by"}


def test_a_partition_column_that_is_not_configured_is_refused_with_the_nearest_name() -> None:
    got = broken(with_columns(Column("label"), Column("x"), partition_by="labl"))
    assert got == {
        "dataset.parquet.partition_by": "'labl' is no column of dataset.parquet.columns; did you mean 'label'?"
    }
    assert "none are configured" in broken(with_columns(partition_by="a"))["dataset.parquet.partition_by"]


@pytest.mark.parametrize("name", ["a/b", ".", ".."])
def test_a_partition_column_is_the_name_of_one_folder(name: str) -> None:
    columns = (Column(name, ColumnType.INT8), Column("x"))
    assert "folder name" in broken(with_columns(*columns, partition_by=name))["dataset.parquet.partition_by"]


def test_a_column_besides_the_partition_column_is_read() -> None:
    columns = (Column("key", ColumnType.INT8), Column("x", read=False))
    assert "besides" in broken(with_columns(*columns, partition_by="key"))["dataset.parquet.partition_by"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"storage.storage_type": StorageType.S3}, "storage.storage_type"),
        ({"reader.data_loader": DataLoaderType.DALI}, "reader.data_loader"),
        ({"reader.data_loader": DataLoaderType.CUSTOM}, "reader.data_loader_classname"),
        ({"reader.data_loader_classname": "mine"}, "reader.data_loader_classname"),
        ({"reader.reader_classname": "mine.Reader"}, "reader.reader_classname"),
        ({"reader.multiprocessing_context": "thread"}, "reader.multiprocessing_context"),
        ({"reader.odirect": True}, "reader.odirect"),
        ({"workflow.checkpoint": True}, "workflow.checkpoint"),
        ({"dataset.num_files_train": 0}, "dataset.num_files_train"),
        ({"dataset.num_samples_per_file": 0}, "dataset.num_samples_per_file"),
        ({"train.epochs": 0}, "train.epochs"),
        ({"train.total_training_steps": 0}, "train.total_training_steps"),
        ({"workflow.evaluation": True}, "dataset.num_files_eval"),
        ({"dataset.num_files_generated": 7}, "dataset.num_files_generated"),
        ({"dataset.record_element_type": "string"}, "dataset.record_element_type"),
        ({"dataset.record_element_type": "complex64"}, "dataset.record_element_type"),
        ({"dataset.record_dims": (2, 0)}, "dataset.record_dims"),
        ({"dataset.record_dims": (2, 2), "dataset.record_length_bytes_stdev": 1.0}, "dataset.record_dims"),
        ({"dataset.file_prefix": "a" * 201}, "dataset.file_prefix"),
    ],
)
def test_what_is_not_offered_or_contradicts_itself_is_named(changes: dict[str, Any], where: str) -> None:
    assert list(broken(changes)) == [where]


def test_a_run_that_only_generates_may_have_no_training_files() -> None:
    flow = {"workflow.train": False, "workflow.generate_data": True, "dataset.num_files_train": 0}
    assert list(broken(flow)) == ["dataset.num_files_train"]
    assert broken({**flow, "dataset.num_files_eval": 1}) == {}


@pytest.mark.parametrize("loader", LOADERS)
def test_every_offered_loader_passes(loader: DataLoaderType) -> None:
    name = "mine" if loader is DataLoaderType.CUSTOM else None
    assert broken({"reader.data_loader": loader, "reader.data_loader_classname": name}) == {}


HOSTILE = ["", "\0", "a\0b", "a\nb", "\ud800", "\x1b[2J"]


@pytest.mark.parametrize("path", ["dataset.data_folder", "storage.storage_root", "output.folder", "output.log_file"])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_path_is_printable_and_not_empty(path: str, value: str) -> None:
    assert list(broken({path: value})) == [path]


@pytest.mark.parametrize("value", [*HOSTILE, "../a", "/abs", "a/b", ".hidden"])
def test_a_file_prefix_is_a_plain_name(value: str) -> None:
    assert list(broken({"dataset.file_prefix": value})) == ["dataset.file_prefix"]


@pytest.mark.parametrize("value", ["..", "../x", "a/../../b", "/a/.."])
def test_a_data_folder_does_not_leave_its_root(value: str) -> None:
    assert list(broken({"dataset.data_folder": value})) == ["dataset.data_folder"]


@pytest.mark.parametrize("value", ["/etc/log", "../log", ".", ".."])
def test_a_log_file_stays_in_the_output_folder(value: str) -> None:
    assert list(broken({"output.log_file": value})) == ["output.log_file"]


class Recorded:
    """A section that notes which keys are read of it."""

    def __init__(self, value: Any, path: str, seen: set[str]) -> None:
        self._value, self._path, self._seen = value, path, seen

    def __getattr__(self, name: str) -> Any:
        path = f"{self._path}.{name}".lstrip(".")
        value = getattr(self._value, name)
        if dataclasses.is_dataclass(value):
            return Recorded(value, path, self._seen)
        self._seen.add(path)
        if name == "columns":
            return tuple(Recorded(column, path, self._seen) for column in value)
        return value


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.violations.__name__)
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("columns", [(), (Column("a", ColumnType.INT8), Column("b"))])
def test_a_rule_reads_no_key_that_it_does_not_declare(rule: Rule, train: bool, columns: tuple[Column, ...]) -> None:
    workload = replaced(PARQUET, "workflow.train", train)
    workload = replaced(workload, "dataset.parquet", Parquet(columns=columns, partition_by="a" if columns else None))
    seen: set[str] = set()
    list(rule.violations(Recorded(workload, "", seen)))  # type: ignore[arg-type]
    assert all(any(overlap(read, path) for read in rule.reads) for path in seen), seen


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.violations.__name__)
def test_a_rule_declares_keys_that_exist(rule: Rule) -> None:
    known = [*KEYS, "dataset.parquet.columns.name", "dataset.parquet.columns.read", "dataset.parquet.columns.size"]
    assert all(any(overlap(read, key) for key in known) for read in rule.reads)


@given(path=st.sampled_from(sorted(KEYS)), number=st.integers(0, 9))
def test_rules_say_nothing_about_keys_that_are_invalid_themselves(path: str, number: int) -> None:
    issues = broken_rules(Workload(), [path, f"dataset.parquet.columns[{number}].name"])
    assert all(not overlap(issue.where, path) for issue in issues)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("a.b", "a.b", True), ("a", "a.b", True), ("a.b", "a", True), ("a[0].x", "a", True), ("a", "ab", False)],
)
def test_paths_overlap_when_one_lies_below_the_other(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) is expected


def test_a_violation_ends_decoding_with_its_key() -> None:
    with pytest.raises(ConfigError) as caught:
        decode({"dataset": {"format": "parquet", "compression": "lzf"}})
    assert caught.value.issues == (
        Issue("dataset.compression", "lzf is no codec of parquet; use one of none, snappy, gzip, zstd, lz4"),
    )
    assert re.match(r"the workload configuration is not valid\n  - dataset.compression: ", str(caught.value))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["lable"], "'lable' is none of the columns of dataset.parquet.columns that are read; did you mean 'label'?"),
        (["cold"], "'cold' is none of the columns of dataset.parquet.columns that are read; those are label"),
        (["label", "label"], "names must differ"),
        ([], "must be a list of column names"),
        ("label", "must be a list of column names"),
        ([3], "must be a list of column names"),
    ],
)
def test_columns_that_are_named_to_be_read_are_configured_ones(named: Any, said: str) -> None:
    two = with_columns(Column("label"), Column("cold", read=False))
    assert broken({**two, "storage.storage_options": {"columns": named}}) == {"storage.storage_options.columns": said}


def test_any_column_may_be_named_where_none_are_configured() -> None:
    assert broken({"storage.storage_options": {"columns": ["label"]}}) == {}
    assert broken({**with_columns(Column("label")), "storage.storage_options": {"columns": ["label"]}}) == {}
