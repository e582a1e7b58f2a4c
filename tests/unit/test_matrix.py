"""Every codec, element type, read mode and number of ranks: generate, train two epochs, and account for each byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dlio_benchmark.comm import Simulated
from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.job import Job
from dlio_benchmark.report.log import Log

CODECS = {"none": "UNCOMPRESSED", "snappy": "SNAPPY", "gzip": "GZIP", "zstd": "ZSTD", "lz4": "LZ4"}
ROWS, FILES, GROUP, BATCH = 20, 4, 7, 5


def tree(folder: Path, codec: str, dtype: ColumnType) -> dict[str, Any]:
    sizes = {ColumnType.LIST: 9, ColumnType.STRING: 12, ColumnType.BINARY: 33}
    columns = [
        {"name": "one", "dtype": dtype.value, "size": sizes.get(dtype, 1)},
        {"name": "skipped", "dtype": dtype.value, "size": 3, "read": False},
        {"name": "many", "dtype": dtype.value, "size": sizes.get(dtype, 5)},
    ]
    return {
        "workflow": {"generate_data": True, "train": False},
        "dataset": {
            "format": "parquet",
            "data_folder": str(folder / f"{codec}-{dtype}"),
            "num_files_train": FILES,
            "num_samples_per_file": ROWS,
            "compression": codec,
            "parquet": {"columns": columns, "row_group_size": GROUP},
        },
        "reader": {"batch_size": BATCH, "read_threads": 1, "evict_cache": False},
        "train": {"epochs": 2},
    }


def run(work: dict[str, Any], ranks: int, out: Path) -> None:
    Simulated.run(ranks, lambda comm: Job(work, comm, str(out), Log(quiet=True), strict=True).run())


@pytest.mark.parametrize("dtype", ColumnType, ids=str)
@pytest.mark.parametrize("codec", CODECS)
def test_rows_and_bytes_of_every_epoch_are_those_of_the_plan_and_the_footers(
    tmp_path: Path, codec: str, dtype: ColumnType
) -> None:
    work = tree(tmp_path, codec, dtype)
    run(work, 2, tmp_path)
    wanted = 0
    for path in sorted(Path(work["dataset"]["data_folder"]).rglob("img_*.parquet")):
        metadata = pq.read_metadata(path)
        assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [7, 7, 6]
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(number)
                assert chunk.compression == CODECS[codec]
                wanted += chunk.total_compressed_size * (not chunk.path_in_schema.startswith("skipped"))
    for mode in ReadMode:
        for ranks in (1, 2):
            train = {**work, "workflow": {"train": True}}
            train["dataset"] = {**work["dataset"], "parquet": {**work["dataset"]["parquet"], "read_mode": mode.value}}
            run(train, ranks, tmp_path)
            proof = json.loads((tmp_path / "summary.json").read_text())["dlio"]
            assert [one["rows"] for one in proof["epochs"]] == [ROWS * FILES] * 2
            assert [one["bytes_read"] for one in proof["epochs"]] == [wanted] * 2
            assert proof["decode"] == ("none" if mode is ReadMode.BYTES else "full")
