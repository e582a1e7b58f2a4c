"""What shapes data is compared by its effect, and what a run leaves open is taken from the data set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fault_experiments import found_by
from small_data import tree, workload

from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Workload
from dlio_benchmark.config.shape import differences, plain, shape_of, with_defaults


def keys(found: Workload, wanted: Workload) -> set[str]:
    return {issue.where for issue in differences(found, wanted)}


def test_edits_are_refused_exactly_if_they_make_other_data() -> None:
    figures = found_by("edits")
    assert figures["edits"] == 150
    assert figures["edits that shape data"] > 10


def test_a_workload_does_not_differ_from_itself() -> None:
    assert differences(workload(), workload()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 11),
        ("file_prefix", "part"),
        ("num_subfolders_train", 2),
        ("compression", "zstd"),
        ("num_samples_per_file", 21),
        ("parquet", {"columns": [{"name": "number", "dtype": "int32"}, {"name": "truth", "dtype": "int8"}]}),
    ],
)
def test_a_key_that_shapes_data_is_named_with_both_values(key: str, value: Any) -> None:
    (issue, *rest) = differences(workload(), workload(**{key: value}))
    assert key in issue.where
    assert "the data set has" in issue.what
    assert "the configuration wants" in issue.what
    assert all(one.where.startswith("dataset.parquet.") for one in rest)


def columns_differ(found: Any, wanted: Any) -> list[str]:
    pair = (workload(parquet={"columns": columns}) for columns in (found, wanted))
    return [issue.what for issue in differences(*pair) if issue.where == "dataset.parquet.columns"]


LABEL, DENSE = {"name": "label", "dtype": "int8"}, {"name": "dense", "dtype": "float32", "size": 13}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([LABEL, {**DENSE, "name": "dens"}], ["wants 'dens', the data set has 'dense'", "does not name"]),
        ([LABEL, {**DENSE, "size": 26}], ["'dense' as float32[13], the configuration wants it as float32[26]"]),
        ([{**LABEL, "dtype": "int16"}, DENSE], ["'label' as int8, the configuration wants it as int16"]),
        ([LABEL], ["the data set has 'dense', which the configuration does not name"]),
        ([LABEL, DENSE, {"name": "x"}], ["wants 'x', the data set has no such column: label, dense"]),
        ([DENSE, LABEL], ["in the order label, dense, the configuration in another one"]),
    ],
)
def test_columns_that_differ_are_named_one_by_one(wanted: Any, said: list[str]) -> None:
    found = columns_differ([LABEL, DENSE], wanted)
    assert len(found) == len(said)
    assert all(part in what for part, what in zip(said, found, strict=True))


def test_many_columns_that_differ_are_counted() -> None:
    many = [{"name": f"c{n:02}", "dtype": "int8"} for n in range(12)]
    found = columns_differ(many, [{**one, "dtype": "int16"} for one in many])
    assert (len(found), found[-1]) == (11, "2 more differ")


def test_what_only_follows_from_another_key_is_not_named() -> None:
    fewer = differences(workload(num_samples_per_file=3), workload(num_samples_per_file=2000))
    assert [issue.where for issue in fewer] == ["dataset.num_samples_per_file"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"num_subfolders_train": 0}, {"num_subfolders_train": 1}),
        ({"compression": "zstd"}, {"compression": "zstd", "compression_level": 1}),
        ({"num_files_train": 3}, {"num_files_train": 2}),
        ({"num_subfolders_eval": 2, "num_files_eval": 0}, {"num_files_eval": 0}),
        ({"record_length_bytes": 5}, {"record_length_bytes": 500}),
        ({"keep_files": True}, {"keep_files": False}),
    ],
)
def test_what_makes_the_same_files_is_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert keys(workload(**one), workload(**other)) == set()


def single(**dataset: Any) -> Workload:
    return workload(parquet={}, **dataset)


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ({"record_length_bytes": 100}, {"record_length_bytes": 101}, set()),
        ({"record_length_bytes": 100}, {"record_length_bytes": 121}, {"dataset.record_length_bytes"}),
        (
            {"record_length_bytes": 100, "record_length_bytes_stdev": 5},
            {"record_length_bytes": 101, "record_length_bytes_stdev": 5},
            {"dataset.record_length_bytes"},
        ),
        ({"record_dims": [2, 3]}, {"record_dims": [3, 2]}, set()),
        ({"record_dims": [2, 3]}, {"record_dims": [3, 3]}, {"dataset.record_dims"}),
    ],
)
def test_a_single_column_is_compared_by_its_elements(
    one: dict[str, Any], other: dict[str, Any], named: set[str]
) -> None:
    assert keys(single(**one), single(**other)) == named


def test_the_single_column_written_out_is_the_same() -> None:
    written = workload(parquet={"columns": [{"name": "data", "dtype": "uint8", "size": 100}]})
    assert keys(single(record_length_bytes=100), written) == set()
    assert keys(single(record_length_bytes=400), written) != set()


def test_row_groups_and_pages_count_only_up_to_the_rows_of_a_file() -> None:
    parquet = tree()["dataset"]["parquet"]
    large = workload(parquet={**parquet, "row_group_size": 20})
    larger = workload(parquet={**parquet, "row_group_size": 1000, "generation_batch_size": 50})
    paged = workload(parquet={**parquet, "row_group_size": 20, "generation_batch_size": 5})
    assert keys(large, larger) == set()
    assert keys(large, paged) == {"dataset.parquet.generation_batch_size"}


def test_keys_that_are_not_given_are_adopted() -> None:
    shape = shape_of(workload(seed=5, compression="zstd"))
    adopted = decode(with_defaults({"dataset": {"num_files_train": 2}, "workflow": {"train": False}}, shape)).workload
    assert shape_of(adopted) == shape
    assert adopted.dataset.num_files_train == 2


def test_keys_that_are_given_stay_also_under_their_old_names() -> None:
    shape = shape_of(single(record_length_bytes=100))
    for name in ("record_length", "record_length_bytes"):
        given = {"dataset": {name: 400, "parquet": {"row_group_size": 3}}, "workflow": {"train": False}}
        dataset = decode(with_defaults(given, shape)).workload.dataset
        assert dataset.record_length_bytes == 400
        assert dataset.parquet.row_group_size == 3


def test_defaults_change_neither_the_tree_nor_what_is_no_section() -> None:
    given: dict[str, Any] = {"dataset": {"parquet": {}}}
    with_defaults(given, shape_of(workload()))
    assert given == {"dataset": {"parquet": {}}}
    assert with_defaults({"dataset": "none"}, shape_of(workload()))["dataset"] == "none"


def test_whether_a_column_is_read_does_not_shape_data() -> None:
    column = workload().dataset.parquet.columns[0]
    assert plain(column) == plain(replace(column, read=False))
