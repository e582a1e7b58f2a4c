"""What datagen leaves behind is what run takes over, and nothing contradicts it unnoticed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.config.fields import Key, declared
from dlio_benchmark.config.model import Dataset
from dlio_benchmark.errors import ConfigError
from dlio_benchmark.mlpstorage import manifest
from dlio_benchmark.mlpstorage.models import ACCELERATORS_OF, load_workload, workload_name
from dlio_benchmark.mlpstorage.parameters import Override, merged, parse_params

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEFAULTS = {name: field.default for name, field, _ in declared(Dataset)}
NOT_BYTES = {"num_files_train", "num_files_eval", "record_length_bytes_resize"}
WIDE = [{"name": f"c{index}", "dtype": "float32", "size": index + 1} for index in range(4)]

numbers = st.integers(1, 10**6)
shapes = st.fixed_dictionaries(
    {"num_files_train": numbers, "num_samples_per_file": numbers},
    optional={
        "record_length_bytes": numbers | st.floats(1, 1e6),
        "record_length_bytes_stdev": numbers,
        "compression": st.sampled_from(["none", "zstd", "GZIP"]),
        "format": st.just("parquet"),
        "file_prefix": st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
        "parquet": st.fixed_dictionaries(
            {}, optional={"row_group_size": numbers, "columns": st.just(WIDE), "partition_by": st.none()}
        ),
    },
)


def written(folder: Path, dataset: dict[str, Any], overrides: tuple[Override, ...] = ()) -> manifest.Manifest:
    content = manifest.document("unet3d", dataset, overrides, Path("/leaf"), now=NOW)
    (folder / manifest.FILE_NAME).write_text(json.dumps(content))
    found = manifest.read(folder)
    assert found is not None
    return found


@given(generated=shapes, trained=shapes)
def test_a_run_that_takes_over_the_data_set_has_its_shape(
    tmp_path_factory: pytest.TempPathFactory, generated: dict[str, Any], trained: dict[str, Any]
) -> None:
    found = written(tmp_path_factory.mktemp("data"), generated)
    taken = manifest.taken_over(found, "unet3d", trained, ())
    below = [Override(override.key.removeprefix("dataset."), override.text, override.value) for override in taken]
    shape = manifest.shaping(merged(trained, below))
    assert {key: shape.get(key) for key in found.dataset} == dict(found.dataset)
    reread = parse_params(f"{override.key}={override.text}" for override in taken)
    assert [override.value for override in reread] == [override.value for override in taken]


@pytest.mark.parametrize("model", ACCELERATORS_OF)
def test_a_run_of_every_accelerator_can_train_on_what_its_model_generates(model: str, tmp_path: Path) -> None:
    generated = load_workload(workload_name(model))["dataset"]
    content = manifest.document(model, generated, (), Path("/leaf"), now=NOW)
    (tmp_path / manifest.FILE_NAME).write_text(json.dumps(content))
    found = manifest.read(tmp_path)
    assert found is not None
    for accelerator in ACCELERATORS_OF[model]:
        trained = load_workload(workload_name(model, accelerator))["dataset"]
        taken = manifest.taken_over(found, model, trained, ())
        below = [Override(override.key.removeprefix("dataset."), override.text, override.value) for override in taken]
        assert manifest.differences(found, model, merged(trained, below)) == []


@given(dataset=shapes, key=st.sampled_from(["num_samples_per_file", "record_length_bytes"]), value=numbers)
def test_a_given_value_contradicts_exactly_when_it_differs(
    tmp_path_factory: pytest.TempPathFactory, dataset: dict[str, Any], key: str, value: int
) -> None:
    found = written(tmp_path_factory.mktemp("data"), dataset)
    chosen = (Override.of(f"dataset.{key}", value),)
    if dataset.get(key, DEFAULTS[key]) == value:
        assert all(override.key != f"dataset.{key}" for override in manifest.taken_over(found, "unet3d", {}, chosen))
        return
    with pytest.raises(ConfigError) as caught:
        manifest.taken_over(found, "unet3d", {}, chosen)
    assert [issue.where for issue in caught.value.issues] == [f"dataset.{key}"]


@pytest.mark.parametrize(
    ("columns", "fits"),
    [
        (WIDE[1:3], True),
        ([{**WIDE[0], "read": False}, *WIDE[1:]], True),
        ([{**WIDE[0], "read": False}, WIDE[2]], True),
        (WIDE[::-1], True),
        ([{**WIDE[0], "size": 9}], False),
        ([{**WIDE[0], "dtype": "int8"}], False),
        ([{"name": "other"}], False),
    ],
)
def test_a_run_may_read_some_of_the_columns_but_no_others(
    tmp_path: Path, columns: list[dict[str, Any]], fits: bool
) -> None:
    found = written(tmp_path, {"parquet": {"columns": WIDE}})
    chosen = (Override.of("dataset.parquet.columns", columns),)
    if fits:
        assert manifest.taken_over(found, "unet3d", {}, chosen) == ()
        (sent,) = manifest.with_all_columns(found, chosen)
        asked = {column["name"] for column in columns if column.get("read", True)}
        assert [column.get("read", True) for column in sent.value] == [one["name"] in asked for one in WIDE]
        assert [{key: column[key] for key in WIDE[0]} for column in sent.value] == WIDE
        return
    with pytest.raises(ConfigError, match=r"dataset\.parquet\.columns"):
        manifest.taken_over(found, "unet3d", {}, chosen)


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, _, key in declared(Dataset)])
def test_a_run_takes_over_exactly_what_the_engine_says_shapes_data(tmp_path: Path, name: str, key: Key) -> None:
    other = (Override.of(name, "other"),)
    shapes = key.shapes_data or name in NOT_BYTES
    found = written(tmp_path, merged({}, other), (Override.of(f"dataset.{name}", "other"),))
    taken = {override.key: override.value for override in manifest.taken_over(found, "unet3d", {}, ())}
    assert taken == ({f"dataset.{name}": "other"} if shapes else {})
    assert (f"dataset.{name}" in found.overrides) is shapes
    contradicting = (Override.of(f"dataset.{name}", "another"),)
    if shapes and name != "record_length_bytes_resize":
        with pytest.raises(ConfigError, match="another"):
            manifest.taken_over(found, "unet3d", {}, contradicting)
    else:
        assert manifest.taken_over(found, "unet3d", {}, contradicting) == ()


@pytest.mark.parametrize("text", ["verify=false", "parquet.verify_checksums=true"])
def test_a_manifest_that_names_more_than_what_shapes_data_binds_no_run(tmp_path: Path, text: str) -> None:
    (typed,) = parse_params([f"dataset.{text}"])
    name = typed.key.removeprefix("dataset.")
    content = manifest.document("unet3d", {}, (), Path("/leaf"), now=NOW)
    content["dataset"][name] = typed.value
    content["overrides"][typed.key] = typed.text
    (tmp_path / manifest.FILE_NAME).write_text(json.dumps(content))
    found = manifest.read(tmp_path)
    assert found is not None
    assert manifest.taken_over(found, "unet3d", {}, ()) == ()


@pytest.mark.parametrize("text", ["seed=10", "parquet.row_group_size=1024", "parquet.columns=[]", "file_prefix=img"])
def test_a_default_that_is_said_agrees_with_one_that_is_not(tmp_path: Path, text: str) -> None:
    said = parse_params([f"dataset.{text}"])
    assert manifest.taken_over(written(tmp_path, {}), "unet3d", {}, said) == ()


@pytest.mark.parametrize(("codec", "level", "fits"), [("zstd", 1, True), ("zstd", 3, False), ("gzip", 9, True)])
def test_a_level_agrees_with_the_one_that_its_codec_has_by_itself(
    tmp_path: Path, codec: str, level: int, fits: bool
) -> None:
    found = written(tmp_path, {"compression": codec})
    given = (Override.of("dataset.compression_level", level),)
    if fits:
        assert manifest.taken_over(found, "unet3d", {"compression": codec}, given) == ()
        return
    with pytest.raises(ConfigError, match=r"dataset\.compression_level"):
        manifest.taken_over(found, "unet3d", {"compression": codec}, given)


def test_a_manifest_of_another_front_end_binds_only_what_it_names(tmp_path: Path) -> None:
    content = {"schema_version": 1, "model": "unet3d", "num_files_train": 8, "dataset_format": "parquet"}
    (tmp_path / manifest.FILE_NAME).write_text(json.dumps(content))
    found = manifest.read(tmp_path)
    assert found is not None
    trained = {"num_files_train": 9, "parquet": {"row_group_size": 7, "columns": WIDE}}
    (taken,) = manifest.taken_over(found, "unet3d", trained, parse_params(["dataset.seed=3"]))
    assert (taken.key, taken.value) == ("dataset.num_files_train", 8)


def test_how_files_are_read_is_the_runs_own_choice(tmp_path: Path) -> None:
    found = written(tmp_path, {"parquet": {"read_mode": "default"}, "keep_files": True})
    chosen = parse_params(["dataset.parquet.read_mode=row_group", "dataset.keep_files=false", "reader.batch_size=3"])
    assert manifest.taken_over(found, "unet3d", {"parquet": {"read_mode": "bytes"}}, chosen) == ()


def test_the_data_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="asks for dlrm, the data set was generated for unet3d"):
        manifest.taken_over(written(tmp_path, {}), "dlrm", {}, ())


def test_texts_are_passed_on_as_they_were_typed(tmp_path: Path) -> None:
    typed = parse_params(["dataset.parquet.columns=[{name: a, dtype: float32}]", "storage.password=hunter2"])
    found = written(tmp_path, {"parquet": {"columns": typed[0].value}}, typed)
    (taken,) = manifest.taken_over(found, "unet3d", {}, ())
    assert taken.text == "[{name: a, dtype: float32}]"
    assert dict(found.overrides) == {"dataset.parquet.columns": taken.text}


def test_the_manifest_of_another_front_end_is_understood(tmp_path: Path) -> None:
    content = {"schema_version": 1, "model": "unet3d", "num_files_train": 8, "dataset_format": "PARQUET"}
    (tmp_path / manifest.FILE_NAME).write_text(json.dumps(content))
    found = manifest.read(tmp_path)
    assert found is not None
    assert dict(found.dataset) == {"num_files_train": 8, "format": "parquet"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 2}', '{"schema_version": 1, "dataset": 3}'])
def test_a_manifest_that_is_none_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.FILE_NAME).write_text(text)
    with pytest.raises(ConfigError, match="remove it"):
        manifest.read(tmp_path)


def test_no_manifest_is_no_error(tmp_path: Path) -> None:
    assert manifest.read(tmp_path) is None
