"""Decoding: every key round-trips, every wrong value is an error, and all of them are reported at once."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from config_issues import issues_of, only_issue
from declared_keys import (
    KEYS,
    PARQUET,
    SECTIONS,
    accepts_none,
    at,
    is_words,
    nested,
    pairs,
    put,
    replaced,
    without_none,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlio_benchmark.common.enumerations import ColumnType, Compression, FormatType, Shuffle
from dlio_benchmark.config.decode import Decoded, decode, decode_given
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.fields import declared
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.config.rules import OFFERED, broken_rules
from dlio_benchmark.errors import ConfigError, Issue

few = settings(max_examples=15, deadline=None)


def test_nothing_gives_the_declared_defaults() -> None:
    workload = decode({"dataset": {"format": "parquet"}}).workload
    assert workload == PARQUET
    assert all(at(Workload(), path) == field.default for path, field, _ in declared(Workload))


@pytest.mark.parametrize("section", SECTIONS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_key_round_trips_or_breaks_a_rule(section: str, data: st.DataObject) -> None:
    for path in SECTIONS[section]:
        round_trips_or_breaks_a_rule(path, *data.draw(pairs(*KEYS[path]), label=path))


def round_trips_or_breaks_a_rule(path: str, written: Any, meant: Any) -> None:
    expected = replaced(PARQUET, path, meant)
    tree = nested(path, written)
    if path.endswith("_stdev") and meant is not None and "record" not in path:
        mean = path.removesuffix("_stdev")
        expected = replaced(expected, mean, Duration("normal", (0.0, float(meant))))
    broken = broken_rules(expected)
    if broken:
        assert issues_of(tree) == tuple(broken)
    else:
        got = decode(tree, strict=True)
        assert got.workload == expected
        assert all(one.what == "has no effect here" and one.where.startswith(path) for one in got.warnings)


@pytest.mark.parametrize("path", [path for path, (hint, _) in KEYS.items() if is_words(hint)])
@few
@given(word=st.text(max_size=12) | st.integers() | st.booleans() | st.lists(st.integers(), max_size=2))
def test_an_unknown_word_names_key_value_and_all_allowed_words(path: str, word: Any) -> None:
    words = without_none(KEYS[path][0])
    allowed = [str(member.value) for member in OFFERED.get(words, tuple(words))]
    known = [str(member.value).lower() for member in words]
    if str(word).strip().lower() in known or (word == "None" and accepts_none(KEYS[path][0])):
        return
    if words is Shuffle and word is False:
        return
    issue = only_issue(nested(path, word))
    assert issue.where == path
    assert "must be one of " + ", ".join(allowed) in issue.what
    assert repr(word)[:20] in issue.what


@pytest.mark.parametrize(
    ("path", "bound"),
    [(path, "least") for path, (_, key) in KEYS.items() if key.least is not None]
    + [(path, "most") for path, (_, key) in KEYS.items() if key.most is not None],
)
@few
@given(beyond=st.integers(1, 10**6))
def test_a_number_beyond_its_declared_bound_is_refused(path: str, bound: str, beyond: int) -> None:
    key = KEYS[path][1]
    limit = getattr(key, bound)
    value = limit - beyond if bound == "least" else limit + beyond
    issue = next(issue for issue in issues_of(nested(path, value)) if issue.where == path)
    assert issue.what.startswith(f"must be at {bound} {limit:g}")
    assert issue.what.endswith(f"got {value!r}")


WRONG_KINDS: dict[Any, list[Any]] = {
    int: [1.5, "8x", "", True, [1], {"a": 1}, float("nan"), float("inf"), 2**63, -(2**70)],
    float: ["1", True, [1.0], {"a": 1}, float("nan"), float("-inf"), 10**400],
    bool: [2, 0.0, "maybe", [True], None, {"a": 1}],
    str: [True, ["a"], {"a": 1}],
    Duration: [-1, "1", True, [1], {"type": "weibull", "k": 1}, {"mean": -1}, {"stdev": 1}, float("nan"), 10**400],
}


@pytest.mark.parametrize("path", [path for path, (hint, _) in KEYS.items() if without_none(hint) in WRONG_KINDS])
def test_a_value_of_another_kind_is_refused_where_it_stands(path: str) -> None:
    for value in WRONG_KINDS[without_none(KEYS[path][0])]:
        assert any(issue.where == path for issue in issues_of(nested(path, value))), value


@pytest.mark.parametrize("path", [path for path, (hint, _) in KEYS.items() if "tuple" in str(hint)])
@pytest.mark.parametrize("value", [5, {"a": 1}, None, [[1], {"b": 2}], [1.5, None]])
def test_a_list_with_wrong_items_is_refused(path: str, value: Any) -> None:
    assert all(issue.where.startswith(path) for issue in issues_of(nested(path, value)))


def test_a_whole_number_may_be_text_as_an_environment_variable_gives_it() -> None:
    assert decode(nested("dataset.num_files_train", "64")).workload.dataset.num_files_train == 64
    assert only_issue(nested("dataset.num_files_train", "9" * 19)).what.startswith("must fit into 64 bits")


def test_a_section_must_be_a_mapping_and_may_be_empty() -> None:
    assert only_issue({"dataset": {"format": "parquet"}, "train": [1]}).where == "train"
    assert only_issue({"dataset": {"format": "parquet", "parquet": 7}}).where == "dataset.parquet"
    assert decode({"dataset": {"format": "parquet"}, "train": None}).workload == PARQUET


def test_given_keys_are_decoded_alone_and_without_rules() -> None:
    given = decode_given(
        {"dataset": {"format": "csv", "parquet": {"row_group_size": 5}}, "data_reader": {"batch_size": 2}}
    )
    assert given == {"dataset.format": FormatType.CSV, "dataset.parquet.row_group_size": 5, "reader.batch_size": 2}
    with pytest.raises(ConfigError, match=r"train.epochs: must be a whole number"):
        decode_given({"train": {"epochs": "many"}})


@pytest.mark.parametrize("tree", [None, 5, "text", [1, 2], True])
def test_a_tree_must_be_a_mapping(tree: Any) -> None:
    assert only_issue(tree).where == "workload"


def from_yaml(text: str) -> Decoded:
    return decode(OmegaConf.to_container(OmegaConf.create(text), resolve=True))


def test_a_bare_off_in_yaml_is_the_word_off() -> None:
    workload = from_yaml("{dataset: {format: parquet}, reader: {sample_shuffle: off, file_shuffle: no}}").workload
    assert (workload.reader.sample_shuffle, workload.reader.file_shuffle) == (Shuffle.OFF, Shuffle.OFF)


def test_a_bare_on_in_yaml_is_no_shuffle() -> None:
    issue = only_issue(nested("reader.sample_shuffle", True))
    assert issue.what == "must be one of off, seed, random, got True"


def test_columns_arrive_from_omegaconf_as_columns() -> None:
    text = """
    dataset:
      format: parquet
      compression: ZSTD
      parquet:
        partition_by: null
        columns: [{name: features, dtype: float32, size: 1024}, {name: text, dtype: string}, flag]
    """
    dataset = from_yaml(text).workload.dataset
    assert dataset.compression is Compression.ZSTD
    assert dataset.parquet.partition_by is None
    assert dataset.parquet.columns == (
        Column("features", ColumnType.FLOAT32, 1024),
        Column("text", ColumnType.STRING),
        Column("flag"),
    )


@given(data=st.data())
def test_all_problems_are_reported_at_once_and_in_the_order_of_the_input(data: st.DataObject) -> None:
    simple = [
        path for path, (hint, _) in KEYS.items() if without_none(hint) in (int, float) and path != "dataset.format"
    ]
    bad = data.draw(st.lists(st.sampled_from(simple), unique=True, min_size=1, max_size=8))
    tree: dict[str, Any] = {"dataset": {"format": "parquet", "nosuch": 1}}
    for path in bad:
        put(tree, path, "not a number")
    issues = issues_of(tree, strict=True)
    assert {issue.where for issue in issues} >= {*bad, "dataset.nosuch"}
    assert issues == issues_of(copy.deepcopy(tree), strict=True)


def test_values_rules_and_unknown_keys_are_reported_together() -> None:
    tree = {
        "dataset": {
            "format": "parquet",
            "compression": "nosuch",
            "compresion_level": 3,
            "parquet": {
                "columns": [{"name": "a", "dtype": "float31"}, {"name": "a", "size": 0}, {"dtype": "int8"}, 7],
                "row_group_size": 0,
            },
        },
        "train": {"epochs": -1},
        "reader": {"odirect": True},
    }
    assert [issue.where for issue in issues_of(tree, strict=True)] == [
        "dataset.compression",
        "dataset.parquet.columns[0].dtype",
        "dataset.parquet.columns[1].size",
        "dataset.parquet.columns[2]",
        "dataset.parquet.columns[3]",
        "dataset.parquet.row_group_size",
        "train.epochs",
        "reader.odirect",
        "dataset.compresion_level",
    ]


def test_a_wrong_value_does_not_break_rules_in_the_name_of_its_default() -> None:
    assert only_issue({"dataset": {"format": "parket"}}).what.endswith("(did you mean 'parquet'?), got 'parket'")
    columns = [{"name": "a", "dtype": "nosuch"}, {"name": "b"}]
    issue = only_issue(nested("dataset.parquet", {"columns": columns, "partition_by": "a"}))
    assert issue.where == "dataset.parquet.columns[0].dtype"


known_names = sorted(
    {name for path in KEYS for name in path.split(".")} | {"name", "dtype", "size", "read", "type", "mean"}
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=12)
    | st.sampled_from(["parquet", "zstd", "off", "None", "float32", 10**400, 2**63, ""])
)
names = st.sampled_from(known_names) | st.text(max_size=8) | st.integers() | st.none() | st.booleans()
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5))


@st.composite
def workload_trees(draw: st.DrawFn) -> Any:
    tree: dict[Any, Any] = {"dataset": {"format": "parquet"}}
    for path in draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=6, unique=True)):
        hint, key = KEYS[path]
        put(tree, path, draw(trees | pairs(hint, key).map(lambda pair: pair[0])))
    if draw(st.booleans()):
        tree[draw(names)] = draw(trees)
    return tree


@given(tree=workload_trees() | trees, strict=st.booleans())
def test_any_tree_decodes_or_is_refused_by_a_config_error(tree: Any, strict: bool) -> None:
    before = pickle.dumps(tree)
    issues: tuple[Issue, ...] | None = None
    try:
        got = decode(tree, strict=strict)
    except ConfigError as error:
        issues = error.issues
    if issues is None:
        assert broken_rules(got.workload) == []
        assert decode(tree).workload == got.workload
    else:
        assert issues
        assert all(issue.where.isprintable() and len(issue.what) < 4000 for issue in issues)
    assert pickle.dumps(tree) == before


@given(data=st.data())
def test_a_workload_is_a_value_that_survives_pickling(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(KEYS)))
    workload = replaced(PARQUET, path, data.draw(pairs(*KEYS[path]))[1])
    assert pickle.loads(pickle.dumps(workload)) == workload
    assert copy.deepcopy(workload) == workload
    with pytest.raises(dataclasses.FrozenInstanceError):
        workload.framework = None


def test_options_of_a_storage_are_copied_and_never_shown() -> None:
    options = {"columns": ["a"], "nested": {"secret_access_key": "s3cr3t"}}
    workload = decode(nested("storage.storage_options", options)).workload
    options["columns"].append("b")  # type: ignore[attr-defined]
    assert workload.storage.storage_options == {"columns": ["a"], "nested": {"secret_access_key": "s3cr3t"}}
    assert "s3cr3t" not in str(only_issue(nested("storage.storage_options", "s3cr3t")))
