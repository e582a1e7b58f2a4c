"""Long work moves the pulse of its rank with every file and every piece of one, so that nobody takes it for a stall."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import make, tree, workload

from dlio_benchmark.clock import RealClock
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.data_generator.manifest import JOURNAL, MANIFEST, FileEntry, file_digests, load
from dlio_benchmark.engine.dataset import split_files
from dlio_benchmark.engine.parts import reader_of
from dlio_benchmark.engine.verify import read_back, verify
from dlio_benchmark.errors import DataError
from dlio_benchmark.guard import Pulse
from dlio_benchmark.job import Job
from dlio_benchmark.report.log import Log
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage

MIB = 2**20
PIECES = 3
# One file that is hashed in several pieces.
LARGE = {
    "num_files_train": 1,
    "num_files_eval": 0,
    "num_samples_per_file": 20,
    "parquet": {"columns": [{"name": "octets", "dtype": "uint8", "size": MIB}], "row_group_size": 10},
}


class Felt(Pulse):
    """A pulse that counts by stage how often it moved."""

    __slots__ = ("_done", "moves")

    def __init__(self) -> None:
        self.moves: Counter[str] = Counter()
        super().__init__()

    @property
    def done(self) -> int:
        return self._done

    @done.setter
    def done(self, done: int) -> None:
        self.moves[self.stage] += bool(done)
        self._done = done

    @property
    def all_moves(self) -> int:
        return self.moves.total()


def stopped(_written: Sequence[FileEntry]) -> None:
    raise DataError("stop before the manifest")


def attempted(root: Path, **dataset: Any) -> None:
    """Write all files of a data set, but no manifest."""
    with pytest.raises(DataError, match="stop"):
        make(root, workload(**dataset), check=stopped)


def found(root: Path, pulse: Pulse, **dataset: Any) -> int:
    work = decode({**tree(**dataset), "workflow": {"train": True}}, strict=True).workload
    storage = LocalStorage(str(root))
    reader, comm = reader_of(work, storage, RealClock()), Solo(pulse)
    return len(split_files(work, DatasetType.TRAIN, load(storage), storage=storage, comm=comm, reader=reader))


def job(root: Path, pulse: Pulse, workflow: dict[str, bool], **dataset: Any) -> Job:
    out = root / "out"
    out.mkdir(exist_ok=True)
    work = tree(data_folder=str(root / "data"), num_files_train=9, **dataset) | {
        "workflow": workflow,
        "reader": {"batch_size": 20},
    }
    return Job(work, Solo(pulse), str(out), Log(quiet=True), strict=True)


def test_every_thread_counts() -> None:
    pulse = Pulse()

    def work() -> None:
        for _ in range(1000):
            pulse.beat(2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pulse.done == 8000


def test_a_thing_counts_when_the_next_is_asked_for() -> None:
    pulse = Pulse()
    things = pulse.over("ab")
    assert (next(things), pulse.done) == ("a", 0)
    assert (next(things), pulse.done) == ("b", 1)
    assert (list(things), pulse.done) == ([], 2)


def test_a_file_is_hashed_piece_by_piece() -> None:
    storage, pulse = MemoryStorage(), Felt()
    storage.files["x"] = bytes(20 * MIB)
    file_digests(storage, "x", 8, pulse.beat)
    assert (pulse.all_moves, pulse.done) == (PIECES, 20 * MIB)


def test_a_large_file_that_is_kept_moves_the_pulse_while_it_is_hashed(tmp_path: Path) -> None:
    attempted(tmp_path, **LARGE)
    pulse = Felt()
    assert make(tmp_path, workload(**LARGE), comm=Solo(pulse)).files_kept == 1
    assert pulse.done >= (tmp_path / "train" / "img_0_of_1.parquet").stat().st_size
    assert pulse.all_moves >= PIECES


def test_a_job_that_keeps_every_file_moves_the_pulse(tmp_path: Path) -> None:
    flow = {"generate_data": True, "train": False}
    job(tmp_path, Pulse(), flow).run()
    (tmp_path / "data" / "train" / "img_0_of_9.parquet").unlink()
    pulse = Felt()
    job(tmp_path, pulse, flow).run()
    assert pulse.moves["generate"] >= 9


def test_files_that_are_written_move_the_pulse(tmp_path: Path) -> None:
    pulse = Felt()
    job(tmp_path, pulse, {"generate_data": True, "train": False}, verify=False).run()
    assert pulse.moves["generate"] >= 10


def test_a_complete_data_set_is_looked_through_with_a_pulse(tmp_path: Path) -> None:
    make(tmp_path)
    pulse = Felt()
    make(tmp_path, comm=Solo(pulse))
    assert pulse.all_moves == 4


def test_a_data_set_that_lost_a_file_is_taken_up_with_a_pulse(tmp_path: Path) -> None:
    """Each file is noted in the journal, swept over, read from the journal twice, and hashed if it is there."""
    make(tmp_path)
    (tmp_path / "valid" / "img_0_of_1.parquet").unlink()
    pulse = Felt()
    make(tmp_path, comm=Solo(pulse))
    assert pulse.all_moves >= 4 * 4 + 3


def test_folders_that_are_forced_to_the_device_move_the_pulse(tmp_path: Path) -> None:
    pulse, storage = Felt(), LocalStorage(str(tmp_path))
    for name in "abc":
        (tmp_path / name).mkdir()
    storage.sync([f"{name}/x" for name in "abc"], pulse.beat)
    assert pulse.all_moves == 1 + 3


def test_a_folder_is_removed_file_by_file_and_links_are_not_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "a" / "b").mkdir(parents=True)
    other.mkdir()
    for path in (root / "a" / "x", root / "a" / "b" / "y", other / "z"):
        path.touch()
    (root / "a" / "file").symlink_to(other / "z")
    (root / "a" / "folder").symlink_to(other)
    pulse = Felt()
    LocalStorage(str(root)).delete("a", pulse.beat)
    assert pulse.all_moves == 3
    assert list(root.iterdir()) == []
    assert [path.name for path in other.iterdir()] == ["z"]


def test_files_of_a_manifest_are_looked_for_with_a_pulse(tmp_path: Path) -> None:
    make(tmp_path)
    pulse = Felt()
    assert found(tmp_path, pulse) == pulse.all_moves == 3


def test_foreign_files_are_listed_and_counted_with_a_pulse(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for number in range(3):
        columns = {"number": pa.array(range(20), pa.int32()), "truth": pa.array([True] * 20)}
        pq.write_table(pa.table(columns), tmp_path / "train" / f"part-{number}.parquet")
    pulse = Felt()
    assert found(tmp_path, pulse) == 3
    assert pulse.all_moves == 3 + 3


def test_foreign_files_with_our_names_are_looked_for_with_a_pulse(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / MANIFEST).unlink()
    pulse = Felt()
    assert found(tmp_path, pulse) == 3
    assert pulse.all_moves == 3 + 3


@pytest.mark.parametrize("check", ["verify", "read back"])
def test_a_large_file_is_checked_with_a_pulse(tmp_path: Path, check: str) -> None:
    work = workload(**LARGE)
    make(tmp_path, work)
    storage, pulse = LocalStorage(str(tmp_path)), Felt()
    manifest = load(storage)
    assert manifest is not None
    if check == "verify":
        verify(work, storage, Solo(pulse))
        assert pulse.moves["verify"] == PIECES + 2
    else:
        read_back(storage, list(manifest.entries()), beat=pulse.beat)
        assert pulse.all_moves == PIECES


def test_the_page_cache_forgets_file_by_file(tmp_path: Path) -> None:
    pulse = Felt()
    job(tmp_path, pulse, {"generate_data": True, "train": True}).run()
    files = steps = 9
    assert pulse.moves["read back"] >= files + 1
    assert pulse.moves["epoch 1 train"] == files + steps


def test_a_data_set_that_is_not_kept_is_removed_file_by_file(tmp_path: Path) -> None:
    pulse = Felt()
    job(tmp_path, pulse, {"generate_data": True, "train": True}, keep_files=False).run()
    assert pulse.moves["remove the data set"] == 9 + 1
    assert not (tmp_path / "data").exists()


def test_what_is_left_of_a_journal_is_removed_with_a_pulse(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / JOURNAL).mkdir()
    for number in range(5):
        (tmp_path / JOURNAL / f"1-{number}.jsonl").touch()
    pulse = Felt()
    make(tmp_path, comm=Solo(pulse))
    assert pulse.all_moves >= 4 + 5
    assert not (tmp_path / JOURNAL).exists()
