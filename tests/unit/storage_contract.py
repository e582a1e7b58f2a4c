"""What every storage promises; a storage passes by subclassing the contract and saying ``make``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from dlio_benchmark.errors import DataMissingError
from dlio_benchmark.storage.base import Storage


def write(storage: Storage, path: str, *chunks: bytes | memoryview) -> None:
    """Write a file."""
    with storage.open_output(path) as out:
        for chunk in chunks:
            assert out.write(chunk) == len(chunk)


def read(storage: Storage, path: str) -> bytes:
    """Read a whole file."""
    file = storage.open_input(path)
    try:
        body = bytearray(file.size)
        assert file.pread(0, memoryview(body)) == file.size
        return bytes(body)
    finally:
        file.close()


class StorageContract(ABC):
    """Tests of one storage."""

    @abstractmethod
    def make(self, tmp_path: Path) -> Storage:
        """Return an empty storage."""

    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        storage = self.make(tmp_path)
        write(storage, "a/b/c.bin", b"one", memoryview(b"two"), b"")
        assert read(storage, "a/b/c.bin") == b"onetwo"
        assert storage.size("a/b/c.bin") == 6

    def test_a_read_is_short_only_at_the_end(self, tmp_path: Path) -> None:
        storage = self.make(tmp_path)
        write(storage, "x", bytes(range(10)))
        file = storage.open_input("x")
        into = bytearray(4)
        assert [file.pread(at, memoryview(into)) for at in (0, 6, 8, 10, 50)] == [4, 4, 2, 0, 0]
        file.close()
        file.close()

    @pytest.mark.parametrize("start", [0, 3, 9, 12])
    def test_a_read_fills_several_pieces_one_after_the_other(self, tmp_path: Path, start: int) -> None:
        storage, body = self.make(tmp_path), bytes(range(10))
        write(storage, "x", body)
        file = storage.open_input("x")
        pieces = [bytearray(size) for size in (2, 0, 3, 1, 4)]
        found = file.pread(start, *[memoryview(piece) for piece in pieces])
        assert found == len(body[start:])
        assert b"".join(pieces) == body[start:].ljust(10, b"\0")
        assert file.pread(start) == 0
        file.close()

    def test_a_name_appears_only_when_the_file_is_whole(self, tmp_path: Path) -> None:
        storage = self.make(tmp_path)
        with storage.open_output("x") as out:
            out.write(b"half")
            assert storage.size("x") is None
        assert storage.size("x") == 4

    def test_a_file_that_fails_leaves_no_trace(self, tmp_path: Path) -> None:
        storage = self.make(tmp_path)
        with pytest.raises(ZeroDivisionError), storage.open_output("f/x") as out:
            out.write(b"half")
            raise ZeroDivisionError
        assert list(storage.list(".")) == []

    def test_an_existing_file_is_replaced_at_the_end(self, tmp_path: Path) -> None:
        storage = self.make(tmp_path)
        write(storage, "x", b"old")
        with storage.open_output("x") as out:
            out.write(b"newer")
            assert read(storage, "x") == b"old"
        assert read(storage, "x") == b"newer"

    def test_the_list_has_all_files_below_a_folder(self, tmp_path: Path) -> None:
        storage = self.make(tmp_path)
        for path in ("a/x", "a/b/y", "ab/z"):
            write(storage, path, b"")
        assert sorted(storage.list("a")) == ["a/b/y", "a/x"]
        assert sorted(storage.list(".")) == ["a/b/y", "a/x", "ab/z"]
        assert list(storage.list("nowhere")) == []

    def test_deleting_takes_a_file_or_a_folder_with_all_below_it(self, tmp_path: Path) -> None:
        storage = self.make(tmp_path)
        for path in ("a/x", "a/b/y", "ab/z"):
            write(storage, path, b"")
        storage.delete("a")
        storage.delete("nowhere")
        assert list(storage.list(".")) == ["ab/z"]
        storage.delete("ab/z")
        assert storage.size("ab/z") is None

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataMissingError, match="nowhere"):
            self.make(tmp_path).open_input("nowhere")
