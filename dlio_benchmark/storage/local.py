"""Files of a local or mounted file system."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from dlio_benchmark.errors import DataMissingError, StorageError
from dlio_benchmark.storage.failures import raise_read, reading, writing
from dlio_benchmark.storage.output import GrowingFile, LocalOutput, make_folders, sync_folders
from dlio_benchmark.storage.posix import O_READ, Posix, again, release

_MOST_PIECES = 1024  # in one call of Linux, macOS or a BSD


class LocalStorage:
    """Files below ``root``; no path can leave it.  All that writes goes through ``calls``."""

    def __init__(self, root: str, calls: Posix | None = None) -> None:
        self.root = os.path.abspath(root)
        self.calls = calls or Posix()
        self._below_root: set[str] = set()

    def open_input(self, path: str) -> LocalInput:
        """Open a file for reading."""
        full = self.locate(path)
        with reading(full, "open"):
            try:
                return LocalInput(full, self.calls)
            except FileNotFoundError:
                msg = f"{full}: no such file"
                raise DataMissingError(msg) from None

    def open_output(self, path: str) -> LocalOutput:
        """Open a file for writing; its name appears when the context ends without an error."""
        return LocalOutput(self._below(path), self.calls)

    def open_growing(self, path: str) -> GrowingFile:
        """Open a file that grows by records; it has its name from the start."""
        return GrowingFile(self._below(path), self.calls)

    def list(self, folder: str) -> Iterator[str]:
        """Yield the paths of all files below ``folder``; nothing if it does not exist."""
        top = self.locate(folder)
        for here, _, names in os.walk(top, onerror=_walk_failed):
            for name in names:
                yield os.path.relpath(os.path.join(here, name), self.root)

    def size(self, path: str) -> int | None:
        """Return the size of a regular file in bytes, or None if there is none."""
        full = self.locate(path)
        with reading(full, "stat"):
            try:
                found = os.stat(full)
            except (FileNotFoundError, NotADirectoryError):
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def delete(self, path: str, beat: Callable[[int], None] = lambda _files: None) -> None:
        """Remove a file, or a folder with all below it; links are removed, not followed.

        ``beat`` hears of each file below a folder.
        """
        full = self.locate(path)
        with writing(full, "remove"):
            if os.path.isdir(full) and not os.path.islink(full):
                for here, _, names in os.walk(full):
                    for name in names:
                        again(self.calls.unlink, os.path.join(here, name))
                        beat(1)
                shutil.rmtree(full)
            elif os.path.lexists(full):
                again(self.calls.unlink, full)

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it; nothing happens if it exists."""
        full = self.locate(path)
        with writing(full, "create"):
            make_folders(full, self.calls)

    def sync(self, paths: Iterable[str], beat: Callable[[int], None] = lambda _folders: None) -> None:
        """Force the names of files to the device, with those of the folders between them and the root.

        ``beat`` hears of each folder.
        """
        folders = {self.root}
        for folder in {os.path.dirname(path) for path in paths}:
            above = PurePosixPath(folder)
            folders.update(self.locate(str(one)) for one in (above, *above.parents))
        for folder in sorted(folders):
            sync_folders([folder], self.calls)
            beat(1)

    def free_bytes(self) -> int:
        """Return the bytes that can still be written below the root, which exists."""
        with reading(self.root, "look for free space"):
            return self.calls.free_bytes(self.root)

    def _below(self, path: str) -> str:
        full = self.locate(path)
        if full == self.root:
            msg = f"{path!r}: a file cannot stand in the place of the storage root {self.root}"
            raise StorageError(msg)
        return full

    def locate(self, path: str) -> str:
        """Return the absolute path of ``path``.

        Raises:
            StorageError: if it would leave the root.
        """
        parts = PurePosixPath(path).parts
        if os.path.isabs(path) or ".." in parts or "\0" in path or not _is_encodable(path):
            msg = f"{path!r}: the path would leave the storage root {self.root}, or is none"
            raise StorageError(msg)
        full = os.path.join(self.root, *parts)
        with reading(full, "follow links"):
            if not self._is_below(full):
                msg = f"{path!r}: a link leads out of the storage root {self.root}"
                raise StorageError(msg)
        return full

    def _is_below(self, full: str) -> bool:
        """Return whether a path is below the root when links are followed; folders are looked at once."""
        folder = os.path.dirname(full)
        if full != self.root and folder in self._below_root and not os.path.islink(full):
            return True
        real_root, real = os.path.realpath(self.root), os.path.realpath(full)
        is_below = real == real_root or real.startswith(real_root.rstrip("/") + "/")
        if is_below and full != self.root and not os.path.islink(full) and os.path.isdir(folder):
            self._below_root.add(folder)
        return is_below


class LocalInput:
    """An open local file; reads do not share a position, so threads may read at once."""

    def __init__(self, path: str, calls: Posix) -> None:
        self.path = path
        self._calls, self._preadv = calls, calls.preadv
        self._fd = again(calls.open, path, O_READ | os.O_NONBLOCK)  # or a pipe would wait for its writer
        try:
            found = os.fstat(self._fd)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EISDIR, "not a regular file", path)
            os.set_blocking(self._fd, True)
        except BaseException:
            self.close()
            raise
        self.size = found.st_size

    def pread(self, offset: int, *into: memoryview) -> int:
        """Fill the pieces of ``into`` from ``offset`` on; the result is short only at the end of the file."""
        try:
            done = self._preadv(self._fd, into[:_MOST_PIECES], offset)
        except InterruptedError:
            done = 0
        except OSError as error:
            raise_read(self.path, f"read at offset {offset}", error)
        wanted = len(into[0]) if len(into) == 1 else sum(map(len, into))
        return done if done == wanted else self._rest(offset, into, done)

    def _rest(self, offset: int, into: Sequence[memoryview], done: int) -> int:
        """Fill ``into`` from its byte ``done`` on."""
        left = _after(into, done)
        while left:
            try:
                got = self._preadv(self._fd, left[:_MOST_PIECES], offset + done)
            except InterruptedError:
                continue
            except OSError as error:
                raise_read(self.path, f"read at offset {offset + done}", error)
            if not got:
                break
            done += got
            left = _after(left, got)
        return done

    def fileno(self) -> int:
        """Return the file descriptor, for advice about the page cache."""
        return self._fd

    def close(self) -> None:
        """Release the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with reading(self.path, "close"):
                release(self._calls, fd)


def _after(pieces: Sequence[memoryview], count: int) -> Sequence[memoryview]:
    """Return what is left of ``pieces`` to be filled after ``count`` bytes."""
    for number, piece in enumerate(pieces):
        if count < len(piece):
            return [piece[count:], *pieces[number + 1 :]]
        count -= len(piece)
    return ()


def _is_encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _walk_failed(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise_read(str(error.filename), "list", error)
