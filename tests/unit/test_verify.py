"""Verification accepts what was generated, and names every kind of damage; what it reads it really compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import make, workload

from dlio_benchmark.comm import Simulated, Solo
from dlio_benchmark.data_generator.manifest import digest_of, load, save
from dlio_benchmark.engine.verify import read_back, verify
from dlio_benchmark.errors import DataError, DataMissingError, DataSetMismatchError, PeerFailedError
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.posix import Posix

COLUMNS = [
    *({"name": f"c_{kind}", "dtype": kind} for kind in ("float16", "float64", "int8", "uint64", "bool", "string")),
    {"name": "list", "dtype": "int16", "size": 4},
    {"name": "binary", "dtype": "binary", "size": 9},
]
PATH = "train/img_1_of_3.parquet"
Damage = Callable[[Path], object]


@pytest.mark.parametrize("ranks", [1, 2, 6])
@pytest.mark.parametrize("codec", ["none", "zstd", "lz4"])
def test_a_data_set_of_any_columns_is_as_it_was_generated(tmp_path: Path, codec: str, ranks: int) -> None:
    work = workload(compression=codec, parquet={"columns": COLUMNS, "row_group_size": 7})
    make(tmp_path, work)
    for done in Simulated.run(ranks, lambda comm: verify(work, LocalStorage(str(tmp_path)), comm)):
        assert (done.files, done.rows) == (4, 80)
        assert "4 files, 80 rows" in done.text()


def test_partitions_and_spreads_are_verified_too(tmp_path: Path) -> None:
    parts = workload(parquet={"columns": COLUMNS, "partition_by": "c_bool"})
    make(tmp_path / "parts", parts)
    assert verify(parts, LocalStorage(str(tmp_path / "parts")), Solo()).rows == 80
    spread = workload(record_length_bytes=400, record_length_bytes_stdev=60, parquet={})
    make(tmp_path / "spread", spread)
    assert verify(spread, LocalStorage(str(tmp_path / "spread")), Solo()).rows == 80


def flipped(at: float) -> Damage:
    def damage(path: Path) -> None:
        body = bytearray(path.read_bytes())
        body[int(at * (len(body) - 1))] ^= 4
        path.write_bytes(body)

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "the manifest says"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "the manifest says"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (flipped(0), "the file has digest"),
        (flipped(0.2), "the file has digest"),
        (flipped(0.9), "the footer has digest"),
        (flipped(1), "the footer has digest"),
    ],
)
@pytest.mark.parametrize("ranks", [1, 3])
def test_damage_is_named_by_file_on_every_rank(tmp_path: Path, damage: Damage, said: str, ranks: int) -> None:
    make(tmp_path)
    damage(tmp_path / PATH)
    texts = []

    def look(comm: Any) -> None:
        try:
            verify(workload(), LocalStorage(str(tmp_path)), comm)
        except (DataError, PeerFailedError) as error:
            texts.append(str(error))

    Simulated.run(ranks, look)
    assert len(texts) == ranks
    assert all(PATH in text and said in text for text in texts)


def test_values_that_were_not_generated_are_found_even_if_every_digest_fits(tmp_path: Path) -> None:
    make(tmp_path)
    table = pq.read_table(tmp_path / PATH)
    numbers = pa.array([*table["number"].to_pylist()[:13], 1, 2, 3, 4, 5, 6, 7], pa.int32())
    changed = table.set_column(0, table.schema.field(0), numbers)
    pq.write_table(changed, tmp_path / PATH, row_group_size=8, store_schema=False)
    storage = LocalStorage(str(tmp_path))
    manifest = load(storage)
    assert manifest is not None
    body = (tmp_path / PATH).read_bytes()
    footer = pq.ParquetFile(tmp_path / PATH).metadata.serialized_size
    own = {
        "bytes": len(body),
        "footer_bytes": footer,
        "digest": digest_of([body]),
        "footer_digest": digest_of([body[-footer - 8 :]]),
    }
    entries = [replace(entry, **own) if entry.path == PATH else entry for entry in manifest.entries()]
    save(storage, workload(), entries)
    with pytest.raises(DataError, match="row 13 of column 'number' is not what was generated"):
        verify(workload(), storage, Solo())
    assert verify(workload(), storage, Solo(), values=False).files == 4


def test_nothing_to_verify_against_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="nothing to verify against"):
        verify(workload(), LocalStorage(str(tmp_path)), Solo())


def test_another_configuration_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(DataSetMismatchError, match=r"dataset\.seed"):
        verify(workload(seed=1), LocalStorage(str(tmp_path)), Solo())


def test_progress_is_told_of_every_file(tmp_path: Path) -> None:
    make(tmp_path)
    told: list[tuple[int, int]] = []
    done = verify(workload(), LocalStorage(str(tmp_path)), Solo(), advance=lambda *more: told.append(more))
    assert sum(files for files, _ in told) == 4
    assert sum(stored for _, stored in told) == done.bytes


@dataclass(frozen=True, slots=True)
class Lying(Posix):
    """A device that gives back other bytes than were written."""

    def preadv(self, fd: int, buffers: tuple[memoryview], offset: int) -> int:  # type: ignore[override]
        got = Posix.preadv(fd, buffers, offset)
        if got and offset == 0:
            buffers[0][got // 2] ^= 1
        return got


def test_what_cannot_be_read_back_as_it_was_written_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    storage = LocalStorage(str(tmp_path))
    manifest = load(storage)
    assert manifest is not None
    entries = list(manifest.entries())
    heard: list[int] = []
    read_back(storage, entries, lambda files, _bytes: heard.append(files))
    assert heard == [1] * 4
    with pytest.raises(DataError, match=PATH):
        read_back(LocalStorage(str(tmp_path), Lying()), entries)
