"""A whole job in one process: what it writes is complete, strict, and says what was measured."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dlio_benchmark.clock import FakeClock
from dlio_benchmark.comm import Comm, Simulated, Solo
from dlio_benchmark.errors import (
    ConfigError,
    DataMissingError,
    DataSetMismatchError,
    DlioError,
    Exit,
    InvalidResultError,
    SchemaMismatchError,
)
from dlio_benchmark.job import Job
from dlio_benchmark.report.log import Log

Tree = dict[str, Any]
COLUMNS = [
    {"name": "features", "dtype": "float32", "size": 16},
    {"name": "text", "dtype": "string"},
    {"name": "flag", "dtype": "bool"},
    {"name": "unread", "dtype": "float64", "size": 8, "read": False},
]


def tree(folder: Path, **dataset: Any) -> Tree:
    return {
        "framework": "pytorch",
        "model": {"name": "tiny"},
        "workflow": {"generate_data": True, "train": True, "evaluation": True},
        "dataset": {
            "format": "parquet",
            "data_folder": str(folder / "data"),
            "num_files_train": 4,
            "num_files_eval": 2,
            "num_samples_per_file": 24,
            "compression": "zstd",
            "parquet": {"columns": COLUMNS, "row_group_size": 6},
        }
        | dataset,
        "reader": {"batch_size": 4, "batch_size_eval": 2, "sample_shuffle": "seed", "file_shuffle": "seed"},
        "train": {"epochs": 2, "computation_time": 0.01},
        "evaluation": {"eval_time": 0.001},
    }


def changed(base: Tree, path: str, value: Any) -> Tree:
    out = copy.deepcopy(base)
    *sections, name = path.split(".")
    at = out
    for section in sections:
        at = at.setdefault(section, {})
    at[name] = value
    return out


def only(base: Tree, *, generate: bool = False, train: bool = False) -> Tree:
    flow = {"generate_data": generate, "train": train, "evaluation": False}
    return {**copy.deepcopy(base), "workflow": flow}


def run(work: Tree, folder: Path, comm: Comm | None = None) -> Path:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    Job(work, comm or Solo(), str(out), Log(quiet=True), strict=True, launch="this one").run()
    return out


def loaded(path: Path) -> dict[str, Any]:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    parsed: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return parsed


def wanted_bytes(folder: Path, split: str, names: list[str]) -> int:
    """What the footers say of the column chunks, by pyarrow."""
    total = 0
    for path in (folder / "data" / split).rglob("*.parquet"):
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            chunks = (metadata.row_group(group).column(n) for n in range(metadata.num_columns))
            total += sum(c.total_compressed_size for c in chunks if c.path_in_schema.split(".")[0] in names)
    return total


def test_a_job_generates_trains_evaluates_and_proves_it(tmp_path: Path) -> None:
    out = run(tree(tmp_path), tmp_path)
    summary = loaded(out / "summary.json")
    proof = summary["dlio"]
    assert proof["complete"] is proof["valid"] is True
    assert proof["launch"] == "this one"
    assert [(one["epoch"], one["split"]) for one in proof["epochs"]] == [
        (1, "train"),
        (1, "valid"),
        (2, "train"),
        (2, "valid"),
    ]
    for one in proof["epochs"]:
        promised = wanted_bytes(tmp_path, one["split"], ["features", "text", "flag"])
        assert one["bytes_read"] == one["bytes_requested"] == promised
        assert one["rows"] == one["rows_planned"] == {"train": 96, "valid": 48}[one["split"]]
    assert summary["num_accelerators"] == 1
    assert len(summary["metric"]["train_au_percentage"]) == 2
    assert len(summary["metric"]["eval_throughput_samples_per_second"]) == 2


def test_the_per_rank_files_hold_one_time_per_step(tmp_path: Path) -> None:
    out = run(tree(tmp_path), tmp_path)
    times = loaded(out / "0_output.json")
    for epoch in ("1", "2"):
        for kind in ("load", "proc", "compute"):
            assert len(times[epoch][kind]["block1"]) == 96 // 4
            assert len(times[epoch][kind]["eval"]) == 48 // 2
    stats = loaded(out / "0_per_epoch_stats.json")
    assert set(stats) == {"1", "2"}
    assert {"start", "end", "duration", "block1", "eval"} <= set(stats["1"])


def test_generation_alone_writes_no_result(tmp_path: Path) -> None:
    out = run(only(tree(tmp_path), generate=True), tmp_path)
    assert list(out.iterdir()) == []
    assert (tmp_path / "data" / "dlio_manifest.json").exists()


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_any_number_of_ranks_writes_the_same_files(tmp_path: Path, ranks: int) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    run(only(tree(alone), generate=True), alone)
    Simulated.run(ranks, lambda comm: run(only(tree(together), generate=True), together, comm))

    def files(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in (folder / "data").rglob("*") if p.is_file()}

    assert files(together) == files(alone)
    assert len({p.read_bytes() for p in (alone / "data").rglob("*.parquet")}) == 4 + 2


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_ranks_together_read_every_epoch_whole(tmp_path: Path, ranks: int) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    Simulated.run(ranks, lambda comm: run(only(tree(tmp_path), train=True), tmp_path, comm))
    proof = loaded(tmp_path / "out" / "summary.json")["dlio"]
    steps = 96 // (4 * ranks)
    assert [one["rows"] for one in proof["epochs"]] == [steps * 4 * ranks] * 2
    assert all((tmp_path / "out" / f"{rank}_output.json").exists() for rank in range(ranks))


@pytest.mark.parametrize("scope", ["row_group", "window", "global"])
def test_every_scope_of_shuffling_delivers_the_whole_epoch(tmp_path: Path, scope: str) -> None:
    proof = loaded(run(changed(tree(tmp_path), "reader.shuffle_scope", scope), tmp_path) / "summary.json")["dlio"]
    assert [one["rows"] for one in proof["epochs"] if one["split"] == "train"] == [96, 96]


@pytest.mark.parametrize("mode", ["default", "row_group", "bytes"])
def test_a_result_names_how_it_was_read(tmp_path: Path, mode: str) -> None:
    work = changed(tree(tmp_path), "dataset.parquet.read_mode", mode)
    proof = loaded(run(work, tmp_path) / "summary.json")["dlio"]
    assert proof["read_mode"] == mode
    assert proof["decode"] == ("none" if mode == "bytes" else "full")


def test_a_run_takes_what_it_is_not_told_from_the_manifest(tmp_path: Path) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    work = only(tree(tmp_path), train=True)
    for name in ("compression", "parquet", "num_samples_per_file"):
        del work["dataset"][name]
    proof = loaded(run(work, tmp_path) / "summary.json")["dlio"]
    assert proof["compression"] == "zstd"
    assert proof["epochs"][0]["rows"] == 96


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dataset.compression", "snappy"),
        ("dataset.num_samples_per_file", 25),
        ("dataset.parquet.row_group_size", 7),
        ("dataset.seed", 11),
        ("dataset.parquet.columns", COLUMNS[:2]),
        ("dataset.file_prefix", "other"),
    ],
)
def test_a_data_set_of_another_configuration_is_refused_by_key(tmp_path: Path, path: str, value: Any) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    with pytest.raises(DataSetMismatchError, match=path.replace(".", r"\.")) as caught:
        run(changed(only(tree(tmp_path), train=True), path, value), tmp_path)
    assert caught.value.code is Exit.DATA_INVALID


def test_a_second_data_set_is_not_mixed_into_the_first(tmp_path: Path) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    with pytest.raises(DataSetMismatchError, match="4 files"):
        run(changed(only(tree(tmp_path), generate=True), "dataset.num_files_train", 8), tmp_path)


def test_fewer_files_than_generated_are_a_subset_and_more_are_missing(tmp_path: Path) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    train = only(tree(tmp_path), train=True)
    proof = loaded(run(changed(train, "dataset.num_files_train", 3), tmp_path) / "summary.json")["dlio"]
    assert proof["epochs"][0]["rows"] == 72
    assert any("3 of 4" in note for note in proof["notes"])
    with pytest.raises(DataMissingError, match="Not enough dataset"):
        run(changed(train, "dataset.num_files_train", 5), tmp_path)


@pytest.mark.parametrize("ranks", [1, 2])
def test_numbers_of_files_that_are_left_open_are_those_of_the_data_set(tmp_path: Path, ranks: int) -> None:
    run(only(tree(tmp_path, num_files_train=10), generate=True), tmp_path)
    place = {"data_folder": str(tmp_path / "data")}
    work = {
        **tree(tmp_path),
        "workflow": {"train": True, "evaluation": True},
        "dataset": place,
    }
    Simulated.run(ranks, lambda comm: run(work, tmp_path, comm))
    summary = loaded(tmp_path / "out" / "summary.json")
    assert (summary["num_files_train"], summary["num_files_eval"]) == (10, 2)
    assert [one["rows"] for one in summary["dlio"]["epochs"]] == [240, 48, 240, 48]
    assert not any("files are read" in note for note in summary["dlio"]["notes"])


def test_a_small_data_set_is_read_without_saying_how_small_it_is(tmp_path: Path) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    work = only({**tree(tmp_path), "dataset": {"data_folder": str(tmp_path / "data")}}, train=True)
    assert loaded(run(work, tmp_path) / "summary.json")["dlio"]["epochs"][0]["rows"] == 96


def test_a_number_of_files_that_contradicts_the_data_set_is_said_to_do_so(tmp_path: Path) -> None:
    run(only(tree(tmp_path, num_files_train=10), generate=True), tmp_path)
    for generated in (9, 11):
        wrong = {"data_folder": str(tmp_path / "data"), "num_files_generated": generated}
        with pytest.raises(DataSetMismatchError, match=f"has 10, the configuration wants {generated}"):
            run(only({**tree(tmp_path), "dataset": wrong}, train=True), tmp_path)


def test_a_data_set_without_training_files_is_said_to_have_none(tmp_path: Path) -> None:
    run(only(tree(tmp_path, num_files_train=0), generate=True), tmp_path)
    work = only({**tree(tmp_path), "dataset": {"data_folder": str(tmp_path / "data")}}, train=True)
    with pytest.raises(DataMissingError, match="0 files for train"):
        run(work, tmp_path)


def test_foreign_files_are_read_and_said_to_be_foreign(tmp_path: Path) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    (tmp_path / "data" / "dlio_manifest.json").unlink()
    proof = loaded(run(only(tree(tmp_path), train=True), tmp_path) / "summary.json")["dlio"]
    assert any("foreign" in note for note in proof["notes"])
    assert proof["valid"]


def test_foreign_files_of_another_schema_are_refused_with_every_column(tmp_path: Path) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    (tmp_path / "data" / "dlio_manifest.json").unlink()
    other = [{"name": "absent", "dtype": "float32"}, {"name": "text", "dtype": "int64"}]
    with pytest.raises(SchemaMismatchError, match=r"(?s)absent.*text|text.*absent"):
        run(changed(only(tree(tmp_path), train=True), "dataset.parquet.columns", other), tmp_path)


def test_too_few_rows_for_a_step_end_the_run_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(InvalidResultError, match="no step can be executed") as caught:
        run(changed(tree(tmp_path), "reader.batch_size", 97), tmp_path)
    assert caught.value.code is Exit.NOT_MET


def test_more_steps_than_there_are_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="total_training_steps"):
        run(changed(tree(tmp_path), "train.total_training_steps", 25), tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("reader.batch_size", 97, InvalidResultError),
        ("reader.batch_size_eval", 49, InvalidResultError),
        ("train.total_training_steps", 25, ConfigError),
    ],
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_that_cannot_train_generates_nothing(
    tmp_path: Path, path: str, value: int, kind: type[DlioError], ranks: int
) -> None:
    work = changed(tree(tmp_path), path, value)

    def rank(comm: Comm) -> DlioError:
        with pytest.raises(DlioError) as caught:
            run(work, tmp_path, comm)
        return caught.value

    errors = Simulated.run(ranks, rank) if ranks > 1 else [rank(Solo())]
    assert isinstance(errors[0], kind)
    assert all(error.agreed for error in errors)
    assert not (tmp_path / "data").exists()


def test_a_run_without_a_phase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to do"):
        run(only(tree(tmp_path)), tmp_path)


def test_a_cap_on_the_steps_holds_for_every_epoch(tmp_path: Path) -> None:
    work = changed(tree(tmp_path), "train.total_training_steps", 5)
    proof = loaded(run(work, tmp_path) / "summary.json")["dlio"]
    assert [one["steps"] for one in proof["epochs"] if one["split"] == "train"] == [5, 5]


@pytest.mark.parametrize("partition", ["flag", "text"])
def test_hive_partitions_can_be_trained_on(tmp_path: Path, partition: str) -> None:
    work = changed(tree(tmp_path), "dataset.parquet.partition_by", partition)
    proof = loaded(run(work, tmp_path) / "summary.json")["dlio"]
    assert proof["epochs"][0]["rows"] == 96
    assert all(f"{partition}=" in str(p) for p in (tmp_path / "data" / "train").rglob("*.parquet"))


def test_the_data_set_is_removed_when_it_is_not_to_be_kept(tmp_path: Path) -> None:
    run(changed(tree(tmp_path), "dataset.keep_files", False), tmp_path)
    assert not (tmp_path / "data").exists()


def test_removing_the_data_set_leaves_what_does_not_belong_to_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").touch()
    run(changed(tree(tmp_path), "dataset.keep_files", False), tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["notes.txt"]


def test_records_of_random_size_make_files_of_different_width(tmp_path: Path) -> None:
    work = tree(tmp_path, record_length_bytes=4096, record_length_bytes_stdev=2000, num_samples_per_file=2)
    del work["dataset"]["parquet"]
    proof = loaded(run(changed(work, "reader.batch_size", 2), tmp_path) / "summary.json")["dlio"]
    assert proof["valid"]
    sizes = {p.stat().st_size for p in (tmp_path / "data" / "train").rglob("*.parquet")}
    assert len(sizes) > 1


def test_a_synthetic_run_needs_no_data(tmp_path: Path) -> None:
    work = changed(only(tree(tmp_path), train=True), "dataset.format", "synthetic")
    work = changed(changed(work, "dataset.compression", "none"), "dataset.parquet", {})
    proof = loaded(run(work, tmp_path) / "summary.json")["dlio"]
    assert proof["loader"] == "synthetic"
    assert proof["epochs"][0]["bytes_read"] == 0


def test_time_in_the_result_is_that_of_the_clock_it_was_given(tmp_path: Path) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    out = tmp_path / "out"
    job = Job(only(tree(tmp_path), train=True), Solo(), str(out), Log(quiet=True), clock=FakeClock())
    job.run()
    summary = loaded(out / "summary.json")
    assert summary["metric"]["train_au_percentage"] == [100.0, 100.0]
    assert summary["dlio"]["seconds"]["compute_s"] == pytest.approx(2 * 24 * 0.01)


def test_every_rank_ends_with_the_error_of_the_one_that_failed(tmp_path: Path) -> None:
    run(only(tree(tmp_path), generate=True), tmp_path)
    victim = next((tmp_path / "data" / "train").glob("*3_of_4*"))
    victim.write_bytes(victim.read_bytes()[:-100])
    with pytest.raises(DlioError, match="3_of_4"):
        Simulated.run(2, lambda comm: run(only(tree(tmp_path), train=True), tmp_path, comm))
