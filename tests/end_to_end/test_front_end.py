"""The front end and the engine agree: what the one lets a run ask for, the other does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dlio_benchmark.mlpstorage.cli import main
from dlio_benchmark.mlpstorage.status import Status
from verification import oracle

FILES, ROWS = 2, 32
COLUMNS = "[{name:a,dtype:float32,size:16},{name:b,dtype:int8},{name:c,dtype:string,size:4},{name:p,dtype:int8}]"
SOME = "[{name:b,dtype:int8}]"
GENERATED = (f"dataset.num_files_train={FILES}", f"dataset.num_samples_per_file={ROWS}", "dataset.verify=false")
TRAINED = ("train.epochs=1", "train.computation_time=0.001", "reader.batch_size=4")


def words(command: str, *more: str) -> list[str]:
    """Return a command of one process, with folders beside the one it is started in."""
    places = ("--data-dir", "../data", "--results-dir", "../results")
    return ["training", command, "--model", "unet3d", "--exec-type", "docker", *places, *more]


def stored_bytes(path: Path, column: str) -> int:
    """Return the bytes of a column's chunks."""
    footer = pq.ParquetFile(path).metadata
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema == column)


def proof(results: Path) -> dict[str, Any]:
    (path,) = results.glob("training/unet3d/run/*/summary.json")
    content: dict[str, Any] = json.loads(path.read_text())["dlio"]
    return content


def test_a_run_reads_some_columns_of_a_data_set_in_a_folder_that_goes_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("MLPSTORAGE_HOME", str(tmp_path))
    shape = (*GENERATED, f"dataset.parquet.columns={COLUMNS}", "dataset.parquet.partition_by=p")
    generate = words("datagen", "--num-processes", "1", "--compression", "none", "--params", *shape)
    assert main(generate) == Status.SUCCESS
    files = sorted((tmp_path / "data" / "unet3d").rglob("*.parquet"))
    assert sum(pq.ParquetFile(path).metadata.num_rows for path in files) == FILES * ROWS
    assert set(oracle.codecs(files)) == {"none"}

    client = ("--num-accelerators", "1", "--accelerator-type", "h100", "--client-host-memory-in-gb", "1")
    asked = (f"dataset.parquet.columns={SOME}", "dataset.parquet.verify_checksums=true")
    assert main(words("run", *client, "--params", *TRAINED, *asked)) == Status.SUCCESS
    found = proof(tmp_path / "results")
    assert found["valid"] is True
    (epoch,) = found["epochs"]
    assert epoch["rows"] == FILES * ROWS
    assert epoch["bytes_promised"] == sum(stored_bytes(path, "b") for path in files)
