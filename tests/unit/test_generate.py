"""Generation: what it keeps, what it refuses, and what it leaves for the next attempt."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_data import Heard, files, make, workload

from dlio_benchmark.comm import Simulated
from dlio_benchmark.data_generator.manifest import JOURNAL, MANIFEST, FileEntry
from dlio_benchmark.errors import (
    CannotCreateError,
    DataError,
    DataSetMismatchError,
    Exit,
    LockHeldError,
    PeerFailedError,
)
from dlio_benchmark.storage.lock import locked
from dlio_benchmark.storage.posix import Posix


@dataclass(frozen=True, slots=True)
class Full(Posix):
    """A device without room, which says so beforehand or in the middle."""

    free: int = 0
    most_writes: list[int] | None = None

    def free_bytes(self, path: str) -> int:
        return self.free

    def write(self, fd: int, chunk: memoryview) -> int:
        if self.most_writes is not None:
            self.most_writes[0] -= 1
            if self.most_writes[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, chunk)


def test_generation_says_what_it_wrote(tmp_path: Path) -> None:
    heard = Heard()
    done = make(tmp_path, heard=heard)
    stored = sum(len(body) for path, body in files(tmp_path).items() if path.endswith(".parquet"))
    assert (done.files, done.files_kept, done.rows, done.bytes) == (4, 0, 80, stored)
    assert (heard.files, heard.bytes) == (4, stored)


def test_a_complete_data_set_is_kept_as_it_is(tmp_path: Path) -> None:
    make(tmp_path)
    before = {path: os.stat(tmp_path / path).st_mtime_ns for path in files(tmp_path)}
    assert make(tmp_path).files_kept == 4
    assert {path: os.stat(tmp_path / path).st_mtime_ns for path in files(tmp_path)} == before


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_lost_and_shortened_files_are_written_again_and_only_they(tmp_path: Path, ranks: int) -> None:
    make(tmp_path)
    whole = files(tmp_path)
    lost, short = tmp_path / "train" / "img_1_of_3.parquet", tmp_path / "valid" / "img_0_of_1.parquet"
    lost.unlink()
    short.write_bytes(short.read_bytes()[:-1])
    done = Simulated.run(ranks, lambda comm: make(tmp_path, comm=comm))
    assert [one.files_kept for one in done] == [2] * ranks
    assert files(tmp_path) == whole


def test_an_attempt_without_room_is_continued_by_the_next(tmp_path: Path) -> None:
    make(tmp_path / "calm")
    with pytest.raises(CannotCreateError, match=r"img_\d_of_3\.parquet: cannot write"):
        make(tmp_path / "root", calls=Full(10**12, [6]))
    kept = make(tmp_path / "root").files_kept
    assert 0 < kept < 4
    assert files(tmp_path / "root") == files(tmp_path / "calm")


def test_a_damaged_file_of_an_earlier_attempt_is_not_kept(tmp_path: Path) -> None:
    def stop(_written: Sequence[FileEntry]) -> None:
        raise DataError("stop before the manifest")

    make(tmp_path / "calm")
    with pytest.raises(DataError, match="stop"):
        make(tmp_path / "root", check=stop)
    assert not (tmp_path / "root" / MANIFEST).exists()
    path = tmp_path / "root" / "train" / "img_2_of_3.parquet"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    assert make(tmp_path / "root").files_kept == 3
    assert files(tmp_path / "root") == files(tmp_path / "calm")


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match=r"about \d+ bytes are to be written, 100 bytes are free") as refused:
        make(tmp_path, calls=Full(100))
    assert refused.value.code == Exit.CANNOT_CREATE
    assert files(tmp_path) == {}


def asked_for(root: Path, **dataset: Any) -> int:
    """Return the bytes that a generation says it will write."""
    with pytest.raises(CannotCreateError, match=r"about \d+ bytes") as refused:
        make(root, workload(**dataset), calls=Full(0))
    found = re.search(r"about (\d+) bytes", str(refused.value))
    assert found is not None
    return int(found[1])


def written(root: Path, **dataset: Any) -> int:
    return make(root, workload(**dataset)).bytes


def test_the_room_for_files_that_differ_is_that_of_all_and_not_that_of_the_first(tmp_path: Path) -> None:
    many = {"num_files_train": 64, "num_files_eval": 0, "num_samples_per_file": 4, "parquet": {"row_group_size": 4}}
    spread = {"record_length_bytes": 10_000, "record_length_bytes_stdev": 8_000}
    for seed in range(3):
        wanted = asked_for(tmp_path / str(seed), seed=seed, **many, **spread)
        assert wanted == pytest.approx(written(tmp_path / str(seed), seed=seed, **many, **spread), rel=0.25)


@pytest.mark.parametrize(
    "column",
    [
        {"dtype": "int16", "size": 8},
        {"dtype": "uint16"},
        {"dtype": "string"},
        {"dtype": "string", "size": 40},
        {"dtype": "binary", "size": 3},
        {"dtype": "bool"},
        {"dtype": "float16", "size": 7},
        {"dtype": "uint8", "size": 300},
    ],
)
def test_the_room_for_values_is_that_of_how_they_are_stored(tmp_path: Path, column: dict[str, Any]) -> None:
    parquet = {"columns": [{"name": "x", **column}], "row_group_size": 40_000}
    large = {"num_samples_per_file": 40_000, "parquet": parquet, "num_files_eval": 0}
    assert asked_for(tmp_path, **large) == pytest.approx(written(tmp_path, **large), rel=0.05)


def test_a_column_that_names_folders_takes_no_room(tmp_path: Path) -> None:
    columns = [{"name": "x", "dtype": "int8"}, {"name": "where", "dtype": "string", "size": 100}]
    parted = {"num_samples_per_file": 20_000, "parquet": {"columns": columns, "partition_by": "where"}}
    assert asked_for(tmp_path, **parted) < 4 * 20_000 * 2


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("seed", {"seed": 11}),
        ("num_samples_per_file", {"num_samples_per_file": 21}),
        ("num_files_train", {"num_files_train": 4}),
        ("num_files_eval", {"num_files_eval": 2}),
        ("num_files_generated", {"num_files_generated": 5}),
        ("compression", {"compression": "zstd"}),
    ],
)
def test_another_data_set_is_refused_by_the_name_of_the_key(tmp_path: Path, key: str, other: dict[str, Any]) -> None:
    make(tmp_path)
    whole = files(tmp_path)
    with pytest.raises(DataSetMismatchError, match=f"dataset.{key}: "):
        make(tmp_path, workload(**other))
    assert files(tmp_path) == whole


def test_an_unfinished_data_set_of_another_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError):
        make(tmp_path, calls=Full(10**12, [6]))
    with pytest.raises(DataSetMismatchError, match=r"unfinished(.|\n)*dataset\.seed: the data set has 10"):
        make(tmp_path, workload(seed=12))
    with pytest.raises(DataSetMismatchError, match=r"dataset\.num_files_train: 3 files were begun"):
        make(tmp_path, workload(num_files_train=5))


def test_files_of_somebody_else_are_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "mine.txt").touch()
    with pytest.raises(DataSetMismatchError, match=r"mine\.txt is in the way"):
        make(tmp_path)


def test_a_held_lock_stops_every_rank(tmp_path: Path) -> None:
    codes = []

    def attempt(comm: Simulated) -> None:
        try:
            make(tmp_path, comm=comm)
        except (LockHeldError, PeerFailedError) as error:
            codes.append(error.code)

    with locked(str(tmp_path)):
        Simulated.run(3, attempt)
    assert codes == [Exit.LOCKED] * 3


def test_what_a_check_refuses_gets_no_manifest(tmp_path: Path) -> None:
    seen: list[str] = []

    def check(written: Sequence[FileEntry]) -> None:
        seen.extend(entry.path for entry in written)
        assert not (tmp_path / MANIFEST).exists()

    make(tmp_path, check=check)
    assert len(seen) == 4
    assert (tmp_path / MANIFEST).exists()


def test_what_a_crash_after_the_manifest_left_is_tidied_up(tmp_path: Path) -> None:
    make(tmp_path)
    whole = files(tmp_path)
    (tmp_path / JOURNAL).mkdir()
    (tmp_path / JOURNAL / "1-0.jsonl").write_text("{", encoding="utf-8")
    (tmp_path / "train" / ".img_0_of_3.parquet.1.partial").touch()
    make(tmp_path)
    assert files(tmp_path) == whole
