"""The datasize formula, to the digit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.errors import ConfigError
from dlio_benchmark.mlpstorage.models import load_workload
from dlio_benchmark.mlpstorage.sizing import Clients, Rule, advised_folders, least_data, memory_bytes, shape_of


@pytest.mark.parametrize(
    ("workload", "gib", "hosts", "accelerators", "files", "disk_gib", "rule"),
    [
        ("unet3d_h100", 64, 1, 1, 3_500, 477.86, Rule.STEPS),
        ("unet3d_h100", 64, 1, 8, 28_000, 3_822.91, Rule.STEPS),
        ("unet3d_h100", 128, 1, 1, 4_687, 639.93, Rule.MEMORY),
        ("unet3d_h100", 512, 2, 8, 37_500, 5_119.97, Rule.MEMORY),
        ("resnet50_h100", 64, 1, 16, 2_557, 341.59, Rule.STEPS),
        ("resnet50_a100", 256, 2, 80, 19_163, 2_559.96, Rule.MEMORY),
        ("cosmoflow_h100", 64, 1, 16, 121_477, 320.00, Rule.MEMORY),
    ],
)
def test_the_suites_worked_examples(
    workload: str, gib: int, hosts: int, accelerators: int, files: int, disk_gib: float, rule: Rule
) -> None:
    tree = load_workload(workload)
    clients = Clients(memory_bytes(gib, hosts), accelerators, tree["reader"]["batch_size"])
    size = least_data(shape_of(tree["dataset"]), clients)
    assert (size.files, round(size.disk_gib, 2), size.rule) == (files, disk_gib, rule)


def test_the_first_worked_example_in_bytes() -> None:
    shape = shape_of({"num_samples_per_file": 1, "record_length_bytes": 146_600_628})
    size = least_data(shape, Clients(memory_bytes(64, 1), 1, 7))
    assert (size.files_by_memory, size.files_by_steps) == (2_343, 3_500)
    assert size.disk_bytes == 513_102_198_000


@given(
    samples=st.integers(1, 10**6),
    record=st.integers(1, 10**9),
    memory=st.integers(1, 2**45),
    accelerators=st.integers(1, 10_000),
    batch=st.integers(1, 10_000),
)
def test_the_data_set_satisfies_both_rules_to_less_than_one_file(
    samples: int, record: int, memory: int, accelerators: int, batch: int
) -> None:
    dataset = {"num_samples_per_file": samples, "record_length_bytes": record}
    size = least_data(shape_of(dataset), Clients(memory, accelerators, batch))
    assert (size.files + 1) * samples * record > 5 * memory
    assert (size.files + 1) * samples > 500 * accelerators * batch
    assert size.files * samples * record <= max(5 * memory, 500 * accelerators * batch * record)


@pytest.mark.parametrize(
    ("dtype", "width"), [("float64", 8), ("int64", 8), ("float32", 4), ("float16", 2), ("int8", 1), ("bool", 1)]
)
def test_without_a_record_length_a_parquet_row_is_the_sum_of_its_columns(dtype: str, width: int) -> None:
    columns = [{"name": "a", "dtype": dtype, "size": 3}, {"name": "b", "dtype": dtype}]
    assert shape_of({"parquet": {"columns": columns}}).record_bytes == 4 * width


@pytest.mark.parametrize(
    ("dataset", "where"),
    [
        ({"record_length_bytes": 0}, "dataset.record_length_bytes"),
        ({"record_length_bytes": "large"}, "dataset.record_length_bytes"),
        ({"num_samples_per_file": -1}, "dataset.num_samples_per_file"),
        ({"parquet": {"columns": [{"name": "a", "dtype": "float31"}]}}, "dataset.parquet.columns[0].dtype"),
        ({"parquet": {"columns": [{"name": "a", "size": 0}]}}, "dataset.parquet.columns[0].size"),
    ],
)
def test_sizes_that_make_no_data_are_refused_by_key(dataset: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        shape_of(dataset)
    assert [issue.where for issue in caught.value.issues] == [where]


@pytest.mark.parametrize(("files", "folders"), [(9_999, 0), (10_000, 2), (19_163, 2), (28_000, 2), (37_500, 3)])
def test_many_files_are_spread_over_more_than_one_folder(files: int, folders: int) -> None:
    assert advised_folders(files) == folders
