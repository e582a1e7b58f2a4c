"""The page cache is measured, not assumed, and what cannot be measured is unknown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dlio_benchmark.storage.cache import device_bytes, evict, label, resident_share


@pytest.mark.parametrize(
    ("share", "word"),
    [(None, "unknown"), (0.0, "cold"), (0.0099, "cold"), (0.01, "partly warm"), (0.99, "partly warm"), (1.0, "warm")],
)
def test_a_label_says_how_much_is_resident(share: float | None, word: str) -> None:
    assert label(share) == word


def test_what_was_just_written_is_resident(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(1 << 20))
    assert resident_share([str(tmp_path / "x")]) == 1.0


def test_evicted_files_are_no_longer_resident_where_the_file_system_has_a_device(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    evict([str(path), str(tmp_path / "missing")])
    share = resident_share([str(path)])
    assert share is not None
    assert share == 1.0 or label(share) == "cold"  # a file system in memory keeps all


def test_empty_and_missing_files_tell_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert resident_share([str(tmp_path / "empty")]) is None
    assert resident_share([str(tmp_path / "missing")]) is None
    assert resident_share([]) is None


def test_a_file_that_may_not_be_written_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"1")
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert resident_share([str(tmp_path / "x")]) is None


def test_bytes_of_devices_never_go_back() -> None:
    before = device_bytes()
    assert 0 <= before <= device_bytes()
