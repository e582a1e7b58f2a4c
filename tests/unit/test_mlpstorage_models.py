"""The shipped workloads hold the suite's numbers."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import pytest

from dlio_benchmark.errors import UsageError
from dlio_benchmark.mlpstorage import models
from dlio_benchmark.mlpstorage.sizing import row_bytes

# h float16, f float32, d float64, b int8; a capital letter is a column that training reads
DLRM_COLUMNS = (
    "hhddfhfbhbfFdfbhfFFhDdddhFfhhfdFdfhhdbbbhFhFdbdddF"
    "fbbFffbfHFdhdbfhbFHfhFhfFDhbfdbbffhbhbFbFFHFDdFHbh"
    "hdhfdhhfdfddbhhbBDfbhhbbbhbbfbhfdhhdhFddhFbbdfdFdd"
    "bbbdDFfbFhFhFhdhdhfBdhbdbbbbhhBdddhdBbhFdbdfdFfddh"
)
LETTER_OF = {"float16": "h", "float32": "f", "float64": "d", "int8": "b"}
ALL_WORKLOADS = [
    models.workload_name(model, accelerator)
    for model, accelerators in models.ACCELERATORS_OF.items()
    for accelerator in (None, *accelerators)
]
load_workload = functools.cache(models.load_workload)  # takes long where there are many columns

# batch size, epochs, seconds per step, least accelerator utilization
TIMINGS = {
    "unet3d_a100": (7, 5, 0.636, 0.90),
    "unet3d_h100": (7, 5, 0.323, 0.90),
    "unet3d_b200": (7, 5, 0.162, 0.90),
    "resnet50_a100": (400, 5, 0.435, 0.90),
    "resnet50_h100": (400, 5, 0.224, 0.90),
    "cosmoflow_a100": (1, 5, 0.00551, 0.70),
    "cosmoflow_h100": (1, 5, 0.00350, 0.70),
    "cosmoflow_v100": (1, 5, 0.00936, 0.70),
    "retinanet_a100": (16, 5, 0.210, 0.85),
    "retinanet_h100": (16, 5, 0.180, 0.85),
    "retinanet_b200": (24, 8, 0.04755, 0.85),
    "retinanet_mi355": (32, 8, 0.0634, 0.85),
    "dlrm_a100": (4096, 1, 0.007, 0.70),
    "dlrm_h100": (8192, 1, 0.005, 0.70),
    "dlrm_b200": (12288, 2, 0.000375, 0.70),
    "dlrm_mi355": (16384, 1, 0.0005625, 0.70),
    "flux_a100": (8, 5, 1.100, 0.80),
    "flux_h100": (8, 5, 0.850, 0.80),
    "flux_b200": (48, 1, 1.35, 0.90),
    "flux_mi355": (72, 1, 2.025, 0.90),
}
# files, samples per file, bytes per record, its deviation, its size after resizing
DATA_SETS: dict[str, tuple[float | None, ...]] = {
    "unet3d_datagen": (168, 1, 146_600_628, 68_341_808, 2_097_152),
    "unet3d_h100": (168, 1, 146_600_628, 68_341_808, 2_097_152),
    "unet3d_b200": (7_200, 1, 146_600_628, 68_341_808, 2_097_152),
    "resnet50_h100": (1_024, 1_251, 114_660.07, None, 150_528),
    "cosmoflow_a100": (524_288, 1, 2_828_486, 71_311, None),
    "retinanet_a100": (1_743_042, 1, 153_600, 51_200, None),
    "retinanet_mi355": (1_170_301, 1, 322_957, None, None),
    "dlrm_b200": (1_024, 1_536_000, 761, None, None),
    "flux_b200": (4_296, 288, 2_164_832, None, None),
}


def columns_of(name: str) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = load_workload(name)["dataset"]["parquet"]["columns"]
    return columns


def test_every_model_has_a_generating_workload_and_one_per_accelerator() -> None:
    shipped = {path.stem for path in (models.CONFIG_DIR / "workload").glob("*.yaml")}
    assert set(ALL_WORKLOADS) <= shipped
    assert set(TIMINGS) == {name for name in ALL_WORKLOADS if not name.endswith("_datagen")}


@pytest.mark.parametrize("name", ALL_WORKLOADS)
def test_a_workload_generates_or_trains_parquet_and_leaves_the_loader_to_the_engine(name: str) -> None:
    tree = load_workload(name)
    generates = name.endswith("_datagen")
    assert tree["workflow"] == {"generate_data": generates, "train": not generates, "checkpoint": False}
    assert tree["dataset"]["format"] == "parquet"
    assert tree["model"]["name"] == name.rsplit("_", 1)[0]
    assert ("reader" in tree) is not generates
    assert "data_loader" not in tree.get("reader", {})


@pytest.mark.parametrize("name", TIMINGS)
def test_timings_are_those_of_the_suite(name: str) -> None:
    tree = load_workload(name)
    found = (
        tree["reader"]["batch_size"],
        tree["train"]["epochs"],
        tree["train"]["computation_time"],
        tree["metric"]["au"],
    )
    assert found == TIMINGS[name]


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets_have_the_sizes_of_the_suite(name: str) -> None:
    dataset = load_workload(name)["dataset"]
    keys = ("num_files_train", "num_samples_per_file", "record_length_bytes")
    optional = ("record_length_bytes_stdev", "record_length_bytes_resize")
    assert tuple(dataset.get(key) for key in keys + optional) == DATA_SETS[name]


@pytest.mark.parametrize("name", [name for name in ALL_WORKLOADS if name.startswith("dlrm")])
def test_dlrm_has_the_two_hundred_columns_of_the_suite(name: str) -> None:
    columns = columns_of(name)
    letters = "".join(
        LETTER_OF[column["dtype"]].upper() if column["read"] else LETTER_OF[column["dtype"]] for column in columns
    )
    assert letters == DLRM_COLUMNS
    assert [column["name"] for column in columns] == [f"feature_{index:03d}" for index in range(200)]
    assert {column["size"] for column in columns} == {1}


def test_dlrm_reads_forty_columns_of_a_hundred_and_sixty_bytes() -> None:
    columns = columns_of("dlrm_b200")
    wanted = [column for column in columns if column["read"]]
    assert Counter(column["dtype"] for column in columns) == {"float32": 56, "float16": 50, "float64": 49, "int8": 45}
    assert Counter(column["dtype"] for column in wanted) == {"float32": 27, "float16": 4, "float64": 5, "int8": 4}
    assert (row_bytes(columns, []), row_bytes(wanted, []), len(wanted)) == (761, 160, 40)


def test_flux_rows_are_five_lists_of_float32() -> None:
    columns = columns_of("flux_datagen")
    assert {column["name"]: column["size"] for column in columns} == {
        "t5_encodings": 524_328,
        "clip_encodings": 409,
        "mean": 8_232,
        "logvar": 8_232,
        "timestamp": 7,
    }
    assert row_bytes(columns, []) == 2_164_832


@pytest.mark.parametrize("model", ["dlrm", "flux"])
def test_all_accelerators_of_a_model_with_columns_train_on_the_data_set_it_generates(model: str) -> None:
    generated = load_workload(models.workload_name(model))["dataset"]
    for accelerator in models.ACCELERATORS_OF[model]:
        assert load_workload(models.workload_name(model, accelerator))["dataset"] == generated


def test_an_accelerator_without_timings_is_refused_with_those_that_have_them() -> None:
    with pytest.raises(UsageError, match="resnet50 has no timings for 'mi355'; it has them for a100, h100"):
        models.workload_name("resnet50", "mi355")
