"""The files of a run: proven ones are believed and looked for, foreign ones are counted, and both say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import make, tree, workload

from dlio_benchmark.clock import RealClock
from dlio_benchmark.comm import Comm, Simulated, Solo
from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Workload
from dlio_benchmark.data_generator.manifest import MANIFEST, load
from dlio_benchmark.engine.dataset import SplitFiles, check_shape, split_files
from dlio_benchmark.engine.parts import reader_of
from dlio_benchmark.errors import DataMissingError, DataSetMismatchError, DlioError, PeerFailedError
from dlio_benchmark.storage.local import LocalStorage


def reading(**dataset: Any) -> Workload:
    return decode({**tree(**dataset), "workflow": {"train": True}}, strict=True).workload


def found(root: Path, work: Workload, comm: Comm | None = None, split: DatasetType = DatasetType.TRAIN) -> SplitFiles:
    storage = LocalStorage(str(root))
    reader = reader_of(work, storage, RealClock())
    return split_files(work, split, load(storage), storage=storage, comm=comm or Solo(), reader=reader)


def foreign(root: Path, *rows: int) -> None:
    """Write files that know nothing of this package."""
    (root / "train").mkdir(parents=True)
    for number, many in enumerate(rows):
        columns = {"number": pa.array(range(many), pa.int32()), "truth": pa.array([True] * many)}
        pq.write_table(pa.table(columns), root / "train" / f"part-{number:03}.parquet")


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_the_files_of_a_manifest_are_proven(tmp_path: Path, ranks: int) -> None:
    make(tmp_path)
    for one in Simulated.run(ranks, lambda comm: found(tmp_path, reading(), comm)):
        assert one.proven
        assert one.notes == ()
        assert list(one.rows) == [20, 20, 20]
        assert [one.paths(n) for n in range(3)] == [f"train/img_{n}_of_3.parquet" for n in range(3)]


def test_fewer_files_than_there_are_may_be_read_and_it_is_said(tmp_path: Path) -> None:
    make(tmp_path)
    some = found(tmp_path, reading(num_files_train=2))
    assert len(some) == 2
    assert some.notes == ("train: 2 of 3 files are read",)


def test_more_files_than_there_are_are_refused_by_the_name_of_the_key(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(
        DataMissingError, match=r"Not enough dataset .*3 files for train, dataset\.num_files_train wants 4"
    ):
        found(tmp_path, reading(num_files_train=4))
    with pytest.raises(DataMissingError, match=r"dataset\.num_files_eval wants 2"):
        found(tmp_path, reading(num_files_eval=2), split=DatasetType.VALID)


@pytest.mark.parametrize("ranks", [1, 3])
def test_lost_and_short_files_are_all_counted_and_the_first_are_named(tmp_path: Path, ranks: int) -> None:
    make(tmp_path)
    (tmp_path / "train" / "img_0_of_3.parquet").unlink()
    with (tmp_path / "train" / "img_2_of_3.parquet").open("ab") as file:
        file.write(b"x")

    def look(comm: Comm) -> str:
        try:
            found(tmp_path, reading(), comm)
        except (DataMissingError, PeerFailedError) as error:
            return str(error)
        return ""

    for text in Simulated.run(ranks, look):
        assert "2 train files are not as" in text
        assert "img_0_of_3.parquet: no such file" in text
        assert "img_2_of_3.parquet" in text


def test_without_listing_only_every_nth_file_and_the_last_are_looked_for(tmp_path: Path) -> None:
    make(tmp_path, workload(num_files_train=9))
    (tmp_path / "train" / "img_3_of_9.parquet").unlink()
    trusting = {"num_files_train": 9, "skip_listing": True, "listing_validation_interval": 4}
    assert len(found(tmp_path, reading(**trusting))) == 9
    (tmp_path / "train" / "img_8_of_9.parquet").unlink()
    with pytest.raises(DataMissingError, match="img_8_of_9"):
        found(tmp_path, reading(**trusting))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_foreign_files_are_counted_by_their_footers_and_it_is_said(tmp_path: Path, ranks: int) -> None:
    foreign(tmp_path, 20, 7, 20)
    (tmp_path / "train" / ".hidden.parquet").touch()
    (tmp_path / "train" / "readme.txt").touch()
    for one in Simulated.run(ranks, lambda comm: found(tmp_path, reading(), comm)):
        assert list(one.rows) == [20, 7, 20]
        assert not one.proven
        assert any("foreign" in note and MANIFEST in note for note in one.notes)
        assert any("part-001.parquet has 7" in note for note in one.notes)


def test_a_damaged_foreign_file_is_named(tmp_path: Path) -> None:
    foreign(tmp_path, 20, 20, 20)
    (tmp_path / "train" / "part-001.parquet").write_bytes(b"no Parquet at all")
    with pytest.raises(DlioError, match=r"part-001\.parquet"):
        found(tmp_path, reading())


def test_every_key_that_differs_is_named_with_both_values(tmp_path: Path) -> None:
    make(tmp_path)
    manifest = load(LocalStorage(str(tmp_path)))
    assert manifest is not None
    check_shape(manifest, reading(), "here")
    with pytest.raises(DataSetMismatchError) as refused:
        check_shape(manifest, reading(seed=3, compression="gzip", num_files_generated=7), "here")
    text = str(refused.value)
    assert "dataset.seed: the data set has 10, the configuration wants 3" in text
    assert "dataset.compression: the data set has 'none', the configuration wants 'gzip'" in text
    assert "dataset.num_files_generated: the data set has 3, the configuration wants 7" in text
    assert "remedy" in text


def test_no_data_are_looked_for_where_none_are_read(tmp_path: Path) -> None:
    work = decode(
        {"dataset": {"format": "synthetic", "num_files_train": 5, "num_samples_per_file": 2}}, strict=True
    ).workload
    assert list(found(tmp_path, work).rows) == [2] * 5
