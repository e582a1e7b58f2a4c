"""Small wrongs around the manifest: versions that are not known, splits without files, files left open or behind."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.data_generator import manifest
from dlio_benchmark.errors import DataError
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.storage.posix import Posix
from verification.contracts.job import run_job, tree_of
from verification.probes import open_files


@pytest.mark.parametrize("change", [{"version": 99}, {"format": "another"}])
def test_a_manifest_of_another_kind_or_version_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    data = run_job(tree_of(tmp_path), tmp_path).data
    path = data / manifest.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match="is not known here"):
        manifest.load(LocalStorage(str(data)))


def test_a_split_without_files_counts_none(tmp_path: Path) -> None:
    data = run_job(tree_of(tmp_path), tmp_path).data
    found = manifest.load(LocalStorage(str(data)))
    assert found is not None
    assert (found.count(DatasetType.TRAIN), found.count(DatasetType.VALID)) == (3, 0)


def test_a_data_set_that_is_opened_again_is_unfinished_and_leaves_no_file_open(tmp_path: Path) -> None:
    tree = tree_of(tmp_path)
    data = run_job(tree, tmp_path).data
    storage, workload = LocalStorage(str(data)), decode(tree).workload
    known = manifest.load(storage)
    assert known is not None
    went_in: list[int] = []
    manifest.reopen(storage, known, workload, went_in.append)
    assert manifest.load(storage) is None
    assert manifest.begun(storage) is not None
    came_out: list[int] = []
    noted = manifest.journalled(storage, manifest.stamp_of(workload), came_out.append)
    assert sorted(noted) == sorted(entry.path for entry in known.entries())
    assert sum(came_out) >= sum(went_in) == len(noted) > 0
    assert open_files(data) == []


def test_digests_leave_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    whole, tail = manifest.file_digests(LocalStorage(str(tmp_path)), "f", 2)
    assert (whole, tail) == (manifest.digest_of([b"abc"]), manifest.digest_of([b"bc"]))
    assert open_files(tmp_path) == []


def test_digests_need_eight_mebibytes_whatever_the_size_of_the_file() -> None:
    storage = MemoryStorage()
    storage.files["f"] = bytes((16 << 20) + 5)
    manifest.file_digests(storage, "f", 2)
    assert {length for _, _, length in storage.reads} <= {2, 8 << 20}
    assert len(storage.reads) >= 3


@dataclass(frozen=True, slots=True)
class Halting(Posix):
    """Writes one half of a chunk while something waits, and calls that before the rest is asked for."""

    waiting: list[Callable[[], None]]

    def write(self, fd: int, chunk: memoryview) -> int:
        """Write a half, or all."""
        if not self.waiting:
            return os.write(fd, chunk)
        wrote = os.write(fd, chunk[: len(chunk) // 2])
        self.waiting.pop()()
        return wrote


class Asked:
    """A lock that tells when it is asked for."""

    def __init__(self) -> None:
        self.lock, self.wanted = threading.Lock(), threading.Event()

    def __enter__(self) -> None:
        self.wanted.set()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_files_that_two_threads_complete_at_once_stand_in_the_journal_one_after_the_other(tmp_path: Path) -> None:
    first, second = (manifest.FileEntry("train", n, f"{n}.parquet", 1, 2, 3, 4, "aa", "bb") for n in range(2))
    lock = Asked()

    def add() -> None:
        try:
            journal.add(second)
        finally:
            lock.wanted.set()

    def meanwhile() -> None:
        """Let the other thread come as far as it can: to the end, or to where it has to wait."""
        lock.wanted.clear()
        other.start()
        assert lock.wanted.wait(60)

    storage = LocalStorage(str(tmp_path), Halting([meanwhile]))
    other = threading.Thread(target=add)
    journal = manifest.Journal(storage, 0, "stamp")
    vars(journal)["_lock"] = lock
    journal.add(first)
    other.join()
    journal.close()
    (path,) = (tmp_path / manifest.JOURNAL).iterdir()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    assert [line["path"] for line in lines] == [first.path, second.path]


def test_the_version_of_manifests_is_that_of_those_that_were_written_before(tmp_path: Path) -> None:
    written = json.loads((run_job(tree_of(tmp_path), tmp_path).data / manifest.MANIFEST).read_text())
    assert (manifest.VERSION, written["version"]) == (1, 1)
