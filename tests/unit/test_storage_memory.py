"""Memory storage keeps the promises of the real one, and counts reads."""

from __future__ import annotations

from pathlib import Path

from storage_contract import StorageContract, read, write

from dlio_benchmark.storage.base import Storage
from dlio_benchmark.storage.memory import MemoryStorage


class TestMemoryStorage(StorageContract):
    def make(self, tmp_path: Path) -> Storage:
        return MemoryStorage()


def test_reads_are_recorded() -> None:
    storage = MemoryStorage()
    write(storage, "x", b"12345")
    read(storage, "x")
    assert storage.reads == [("x", 0, 5)]
