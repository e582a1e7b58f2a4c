"""The manifest describes a data set exactly, is read strictly, and its journals survive any crash."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import make, workload

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.shape import shape_of
from dlio_benchmark.data_generator.manifest import (
    JOURNAL,
    MANIFEST,
    TABLE,
    FileEntry,
    Journal,
    begin,
    begun,
    digest_of,
    file_digests,
    journalled,
    load,
    save,
    stamp_of,
    table_of,
)
from dlio_benchmark.errors import DataError, DataMissingError
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.memory import MemoryStorage

ENTRY = FileEntry("train", 0, "train/x.parquet", 20, 1000, 200, 3, "a" * 32, "b" * 32)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
entries = st.builds(
    FileEntry, st.sampled_from(["train", "valid"]), st.integers(0, 9), texts, *[st.integers(0, 2**40)] * 4, texts, texts
)


@given(st.lists(entries, max_size=10, unique_by=lambda entry: (entry.split, entry.index, entry.path)))
def test_a_saved_manifest_is_loaded_as_it_was(some: list[FileEntry]) -> None:
    storage = MemoryStorage()
    save(storage, workload(), some)
    loaded = load(storage)
    assert loaded is not None
    assert list(loaded.entries()) == sorted(some, key=lambda entry: (entry.split, entry.index, entry.path))
    assert shape_of(loaded.workload) == shape_of(workload())
    assert json.loads(storage.files[MANIFEST])["splits"] == {
        split: {
            "files": len({entry.index for entry in some if entry.split == split}),
            "rows": sum(entry.rows for entry in some if entry.split == split),
            "bytes": sum(entry.bytes for entry in some if entry.split == split),
        }
        for split in sorted({entry.split for entry in some})
    }


def test_the_files_of_a_data_set_are_what_pyarrow_finds(tmp_path: Path) -> None:
    make(tmp_path)
    manifest = load(LocalStorage(str(tmp_path)))
    assert manifest is not None
    assert manifest.count(DatasetType.TRAIN) == 3
    for entry in manifest.entries():
        path = tmp_path / entry.path
        found = pq.ParquetFile(path).metadata
        assert (entry.rows, entry.row_groups) == (found.num_rows, found.num_row_groups)
        assert entry.bytes == path.stat().st_size
        assert entry.footer_bytes == found.serialized_size
    summed = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))["splits"]
    assert summed["train"] == {"files": 3, "rows": 60, "bytes": sum(p.stat().st_size for p in tmp_path.glob("train/*"))}


def test_a_folder_without_a_manifest_has_none() -> None:
    assert load(MemoryStorage()) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", "null", "{}", '{"format": "dlio-data-set", "version": 99}', "\xff\xfe"]
)
def test_a_damaged_manifest_is_an_error_with_a_remedy(text: str) -> None:
    storage = MemoryStorage()
    save(storage, workload(), [ENTRY])
    storage.files[MANIFEST] = text.encode("latin-1")
    with pytest.raises(DataError, match=MANIFEST):
        load(storage)


@pytest.mark.parametrize("key", ["format", "shape", "content", "generator", "files"])
def test_a_manifest_without_one_of_its_keys_is_damaged(key: str) -> None:
    storage = MemoryStorage()
    save(storage, workload(), [ENTRY])
    parsed = json.loads(storage.files[MANIFEST])
    del parsed[key]
    storage.files[MANIFEST] = json.dumps(parsed).encode()
    with pytest.raises(DataError, match="remove the data set's folder"):
        load(storage)


def test_a_table_of_other_files_is_not_believed() -> None:
    storage = MemoryStorage()
    save(storage, workload(), [ENTRY])
    sink = pa.BufferOutputStream()
    pq.write_table(table_of([replace(ENTRY, rows=21)]), sink)
    storage.files[TABLE] = sink.getvalue().to_pybytes()
    with pytest.raises(DataError, match=TABLE):
        load(storage)
    del storage.files[TABLE]
    with pytest.raises(DataMissingError, match=TABLE):
        load(storage)


def test_a_table_of_other_columns_is_damaged() -> None:
    storage = MemoryStorage()
    save(storage, workload(), [ENTRY])
    sink = pa.BufferOutputStream()
    pq.write_table(table_of([ENTRY]).drop_columns(["rows"]), sink)
    body = sink.getvalue().to_pybytes()
    parsed = json.loads(storage.files[MANIFEST])
    parsed["files"]["digest"] = digest_of([body])
    storage.files |= {TABLE: body, MANIFEST: json.dumps(parsed).encode()}
    with pytest.raises(DataError, match=f"{TABLE}: damaged .*its columns are split, index, path, bytes, "):
        load(storage)


def test_a_shape_that_describes_nothing_is_damage_and_no_wrong_configuration() -> None:
    storage = MemoryStorage()
    save(storage, workload(), [ENTRY])
    parsed = json.loads(storage.files[MANIFEST])
    parsed["shape"]["dataset.format"] = "nosuch"
    storage.files[MANIFEST] = json.dumps(parsed).encode()
    manifest = load(storage)
    assert manifest is not None
    with pytest.raises(DataError, match="nosuch"):
        _ = manifest.workload


@given(st.lists(entries, max_size=8, unique_by=lambda entry: entry.path), st.integers(0, 2000))
def test_a_torn_journal_gives_the_entries_before_the_tear(
    tmp_path_factory: pytest.TempPathFactory, some: list[FileEntry], cut: int
) -> None:
    storage = LocalStorage(str(tmp_path_factory.mktemp("journal")))
    journal = Journal(storage, 0, "stamp")
    for entry in some:
        journal.add(entry)
    journal.close()
    (path,) = Path(storage.root, JOURNAL).iterdir()
    path.write_bytes(path.read_bytes()[:cut])
    kept = journalled(storage, "stamp")
    assert list(kept.values()) == some[: len(kept)]
    again = Journal(storage, 0, "stamp")
    for entry in some:
        again.add(entry)
    again.close()
    assert journalled(storage, "stamp") == {entry.path: entry for entry in some}
    assert journalled(storage, "another stamp") == {}


def test_what_is_begun_is_known_until_it_is_removed(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    assert begun(storage) is None
    begin(storage, workload(seed=77))
    found = begun(storage)
    assert found is not None
    assert stamp_of(found) == stamp_of(workload(seed=77)) != stamp_of(workload())
    Path(storage.root, JOURNAL, "plan.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="plan"):
        begun(storage)


def test_the_stamp_counts_the_files_that_exist() -> None:
    same = workload(num_files_train=2, num_files_generated=9), workload(num_files_train=3, num_files_generated=9)
    assert stamp_of(same[0]) == stamp_of(same[1]) != stamp_of(workload(num_files_train=3, num_files_generated=8))


@pytest.mark.parametrize("footer", [0, 1, 8, 100, 5000])
def test_digests_are_those_of_the_whole_file_and_of_its_end(footer: int) -> None:
    storage = MemoryStorage()
    storage.files["x"] = bytes(range(200))
    storage.files["end"] = bytes(range(200))[-footer:] if footer else b""
    whole, tail = file_digests(storage, "x", footer)
    assert whole == file_digests(storage, "x", 0)[0]
    assert tail == file_digests(storage, "end", 0)[0]
