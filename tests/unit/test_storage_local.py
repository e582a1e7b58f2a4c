"""Local storage: the contract, errors that say where and end with the right code, and no way out of the root."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_contract import StorageContract, read, write

from dlio_benchmark.errors import CannotCreateError, DlioError, StorageError
from dlio_benchmark.storage.base import Storage
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.output import PARTIAL
from dlio_benchmark.storage.posix import Posix


class TestLocalStorage(StorageContract):
    def make(self, tmp_path: Path) -> Storage:
        return LocalStorage(str(tmp_path / "root"))


@dataclass(frozen=True, slots=True)
class Broken(Posix):
    """Calls of one name that fail with one error."""

    name: str = ""
    error: int = errno.EIO

    def _fail(self, name: str) -> None:
        if name == self.name:
            raise OSError(self.error, os.strerror(self.error))

    def write(self, fd: int, chunk: memoryview) -> int:
        self._fail("write")
        return 0 if self.name == "nothing" else os.write(fd, chunk)

    def fsync(self, fd: int) -> None:
        self._fail("fsync")

    def rename(self, old: str, new: str) -> None:
        self._fail("rename")
        os.replace(old, new)


@dataclass(frozen=True, slots=True)
class Begun(Posix):
    """Knows which bytes the kernel was asked to begin with; it refuses them all."""

    spans: list[tuple[int, int]] = field(default_factory=list)

    def begin_writeback(self, fd: int, start: int, many: int) -> None:
        self.spans.append((start, start + many))
        raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE))


def test_the_device_is_asked_to_begin_with_each_byte_once_and_may_refuse(tmp_path: Path) -> None:
    calls, chunk, writes = Begun(), os.urandom(700_001), 20
    with LocalStorage(str(tmp_path), calls).open_output("x.bin") as out:
        for _ in range(writes):
            out.write(chunk)
    assert (tmp_path / "x.bin").read_bytes() == chunk * writes
    assert [start for start, _ in calls.spans] == [0, *(stop for _, stop in calls.spans[:-1])]
    assert {stop - start for start, stop in calls.spans} == {3 * len(chunk)}
    assert writes * len(chunk) - calls.spans[-1][1] < 3 * len(chunk)


@pytest.mark.parametrize("name", ["write", "fsync", "rename"])
@pytest.mark.parametrize(
    ("error", "kind"),
    [(errno.ENOSPC, CannotCreateError), (errno.EROFS, CannotCreateError), (errno.EIO, StorageError)],
)
def test_a_write_that_fails_names_the_file_and_leaves_none(
    tmp_path: Path, name: str, error: int, kind: type[DlioError]
) -> None:
    storage = LocalStorage(str(tmp_path), Broken(name, error))
    with pytest.raises(kind, match=r"x\.bin"):
        write(storage, "x.bin", b"1")
    assert list(tmp_path.iterdir()) == []


def test_no_space_says_how_much_is_free(tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match=r"\d+ bytes are free"):
        write(LocalStorage(str(tmp_path), Broken("write", errno.ENOSPC)), "x", b"1")


def test_a_write_of_nothing_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nothing was written"):
        write(LocalStorage(str(tmp_path), Broken("nothing")), "x", b"1")


OUT = ("..", "../x", "a/../../x", "/etc/passwd", "a\0b", "link/x", "link", ".", "", "\ud800")


@pytest.mark.parametrize("path", OUT)
def test_nothing_is_written_outside_of_the_root(tmp_path: Path, path: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(DlioError):
        write(LocalStorage(str(root)), path, b"1")
    assert list(outside.iterdir()) == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["outside", "root"]


def test_a_link_that_appears_in_a_known_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"not yours")
    storage = LocalStorage(str(tmp_path / "root"))
    write(storage, "f/x", b"1")
    assert read(storage, "f/x") == b"1"
    (tmp_path / "root" / "f" / "y").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "f" / "z").symlink_to(tmp_path / "root" / "f" / "x")
    with pytest.raises(StorageError, match="a link leads out"):
        storage.open_input("f/y")
    assert read(storage, "f/z") == b"1"


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root")
    LocalStorage(str(tmp_path / "root")).delete("link")
    assert not (tmp_path / "root" / "link").is_symlink()
    assert (tmp_path / "kept" / "x").exists()


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    storage = LocalStorage(str(tmp_path))
    assert storage.size("folder") is None
    with pytest.raises(StorageError, match="folder: cannot open"):
        storage.open_input("folder")


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").touch()
    with pytest.raises(CannotCreateError, match="train"):
        write(LocalStorage(str(tmp_path)), "train/x", b"1")


def test_threads_read_one_open_file_at_once(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    body = os.urandom(1 << 16)
    write(storage, "x", body)
    file = storage.open_input("x")
    wrong: list[int] = []

    def look(start: int) -> None:
        into = bytearray(512)
        for at in range(start, len(body), 4096):
            file.pread(at, memoryview(into))
            if bytes(into) != body[at : at + 512]:
                wrong.append(at)

    threads = [threading.Thread(target=look, args=(512 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert wrong == []


@dataclass(frozen=True, slots=True)
class Few(Posix):
    """Calls that read a few bytes at a time, and are interrupted each second time."""

    most: int = 1
    made: list[int] = field(default_factory=list)

    def preadv(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:  # type: ignore[override]
        self.made.append(len(buffers))
        if len(self.made) % 2:
            raise InterruptedError
        whole = bytearray(min(self.most, sum(map(len, buffers))))
        got = os.preadv(fd, [whole], offset)
        left = memoryview(whole)[:got]
        for buffer in buffers:
            buffer[: len(left)] = left[: len(buffer)]
            left = left[len(buffer) :]
        return got


@given(body=st.binary(max_size=30), sizes=st.lists(st.integers(0, 9)), start=st.integers(0, 35), most=st.integers(1, 9))
def test_pieces_are_filled_however_little_a_call_reads(body: bytes, sizes: list[int], start: int, most: int) -> None:
    with TemporaryDirectory() as folder:
        write(LocalStorage(folder), "x", body)
        file = LocalStorage(folder, Few(most=most)).open_input("x")
        pieces = [bytearray(size) for size in sizes]
        wanted = body[start : start + sum(sizes)]
        assert file.pread(start, *[memoryview(piece) for piece in pieces]) == len(wanted)
        assert b"".join(pieces) == wanted.ljust(sum(sizes), b"\0")
        file.close()


def test_more_pieces_are_filled_than_the_system_takes_at_once(tmp_path: Path) -> None:
    most = max(os.sysconf("SC_IOV_MAX"), 1024)
    body = os.urandom(3 * most)
    write(LocalStorage(str(tmp_path)), "x", body)
    file, into = LocalStorage(str(tmp_path)).open_input("x"), bytearray(3 * most)
    pieces = [memoryview(into)[at : at + 1] for at in range(2 * most + 1)]
    assert file.pread(1, *pieces) == len(pieces)
    assert bytes(into) == body[1 : 1 + len(pieces)].ljust(3 * most, b"\0")
    file.close()


@dataclass(frozen=True, slots=True)
class Once(Posix):
    """Calls that read; one of them fails, those after it do not."""

    offset: int = 0
    error: int = errno.EIO
    failed: list[int] = field(default_factory=list)

    def preadv(self, fd: int, buffers: tuple[memoryview], offset: int) -> int:  # type: ignore[override]
        if offset == self.offset and not self.failed:
            self.failed.append(offset)
            raise OSError(self.error, os.strerror(self.error))
        return os.preadv(fd, [buffers[0][:10]], offset)


@pytest.mark.parametrize("offset", [0, 10])
def test_a_read_that_fails_is_an_error_though_the_next_one_would_do(tmp_path: Path, offset: int) -> None:
    write(LocalStorage(str(tmp_path)), "x", bytes(30))
    file = LocalStorage(str(tmp_path), Once(offset=offset)).open_input("x")
    with pytest.raises(StorageError, match=rf"x: cannot read at offset {offset}: Input/output error"):
        file.pread(0, memoryview(bytearray(30)))
    file.close()


@pytest.mark.parametrize("offset", [0, 10])
def test_a_read_that_was_interrupted_is_made_again(tmp_path: Path, offset: int) -> None:
    body, into = os.urandom(30), bytearray(30)
    write(LocalStorage(str(tmp_path)), "x", body)
    file = LocalStorage(str(tmp_path), Once(offset=offset, error=errno.EINTR)).open_input("x")
    assert file.pread(0, memoryview(into)) == 30
    assert bytes(into) == body
    file.close()


@given(chunks=st.lists(st.binary(max_size=100), max_size=8))
def test_any_chunks_come_back_in_order(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]) -> None:
    storage = LocalStorage(str(tmp_path_factory.getbasetemp() / "chunks"))
    write(storage, "x", *chunks)
    assert read(storage, "x") == b"".join(chunks)


def test_a_growing_file_has_every_record_at_once(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    file = storage.open_growing("journal/1")
    file.add(b"one\n")
    assert read(storage, "journal/1") == b"one\n"
    file.close()
    file.close()
    again = storage.open_growing("journal/1")
    again.add(b"two\n")
    again.close()
    assert read(storage, "journal/1") == b"one\ntwo\n"
    assert PARTIAL not in "".join(storage.list("."))
