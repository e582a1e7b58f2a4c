"""Every codec, element type, read mode and number of ranks: generate, train two epochs, and account for each byte.

Every combination of the four occurs; a data set has columns of several types, each of which occurs with every codec.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import matrix_job
import pyarrow.parquet as pq
import pytest

from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.launch import run

CODECS = {"none": "UNCOMPRESSED", "snappy": "SNAPPY", "gzip": "GZIP", "zstd": "ZSTD", "lz4": "LZ4"}
TYPES = [list(ColumnType)[first::3] for first in range(3)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Path]:
    """Return the folder with the data sets and results of all cells, by number of ranks; one launch for each."""
    folders = {ranks: tmp_path_factory.mktemp(f"ranks-{ranks}") for ranks in (1, 2)}
    cells = [name_of(codec, dtypes) for codec in CODECS for dtypes in TYPES]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    for ranks, folder in folders.items():
        argv = [sys.executable, matrix_job.__file__, str(folder), *cells]
        done = run(ranks, argv, timeout_s=300.0, env=environ, grace_s=20.0)
        assert (done.code, done.stderr) == (0, "")
    return folders


def name_of(codec: str, dtypes: Iterable[ColumnType]) -> str:
    return "-".join([codec, *map(str, dtypes)])


def files_of(cell: Path) -> list[Path]:
    return sorted((cell / "data").rglob("img_*.parquet"))


def bytes_promised(files: list[Path], codec: str) -> int:
    """Return the stored bytes of the wanted chunks of all files, after a look at their row groups and codecs."""
    promised = 0
    for path in files:
        groups = [pq.read_metadata(path).row_group(number) for number in range(3)]
        assert [group.num_rows for group in groups] == [7, 7, 6]
        for chunk in (group.column(number) for group in groups for number in range(group.num_columns)):
            assert chunk.compression == CODECS[codec]
            promised += chunk.total_compressed_size * (not chunk.path_in_schema.startswith(matrix_job.SKIPPED))
    return promised


@pytest.mark.parametrize("dtypes", TYPES, ids=lambda dtypes: "-".join(map(str, dtypes)))
@pytest.mark.parametrize("codec", CODECS)
def test_rows_and_bytes_of_every_epoch_are_those_of_the_plan_and_the_footers(
    results: Mapping[int, Path], codec: str, dtypes: list[ColumnType]
) -> None:
    for ranks, folder in results.items():
        cell = folder / name_of(codec, dtypes)
        files = files_of(cell)
        assert len(files) == matrix_job.FILES
        promised = bytes_promised(files, codec)
        for mode in ReadMode:
            summary = json.loads((cell / mode.value / "summary.json").read_text())
            proof = summary["dlio"]
            assert summary["num_accelerators"] == ranks
            assert [one["rows"] for one in proof["epochs"]] == [matrix_job.ROWS * matrix_job.FILES] * matrix_job.EPOCHS
            assert [one["bytes_read"] for one in proof["epochs"]] == [promised] * matrix_job.EPOCHS
            assert (proof["valid"], proof["read_mode"]) == (True, mode.value)
            assert proof["decode"] == ("none" if mode is ReadMode.BYTES else "full")


def test_two_ranks_write_the_bytes_of_one(results: Mapping[int, Path]) -> None:
    digests = [
        {
            (cell.name, path.name): hashlib.sha256(path.read_bytes()).hexdigest()
            for cell in folder.iterdir()
            for path in files_of(cell)
        }
        for folder in results.values()
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[0].values())) == len(digests[0]) == len(CODECS) * len(TYPES) * matrix_job.FILES
