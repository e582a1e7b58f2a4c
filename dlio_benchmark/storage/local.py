"""Files of a local or mounted file system.

A file is written aside, forced to the device, given its name, and then its folder is forced to the device: after a
crash at any moment a name either does not exist or names a whole file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import PurePosixPath
from types import TracebackType
from typing import NoReturn, Self

from dlio_benchmark.errors import CannotCreateError, DataMissingError, DlioError, StorageError
from dlio_benchmark.storage.posix import O_NEW, O_READ, Posix

PARTIAL = ".partial"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR})


class LocalStorage:
    """Files below ``root``; no path can leave it."""

    def __init__(self, root: str, calls: Posix | None = None) -> None:
        self.root = os.path.abspath(root)
        self._calls = calls or Posix()

    def open_input(self, path: str) -> LocalInput:
        """Open a file for reading."""
        full = self.locate(path)
        try:
            return LocalInput(full, self._calls)
        except FileNotFoundError:
            msg = f"{full}: no such file"
            raise DataMissingError(msg) from None
        except OSError as error:
            _raise_read(full, "open", error)

    def open_output(self, path: str) -> LocalOutput:
        """Open a file for writing; its name appears when the context ends without an error."""
        return LocalOutput(self.locate(path), self._calls)

    def list(self, folder: str) -> Iterator[str]:
        """Yield the paths of all files below ``folder``; nothing if it does not exist."""
        top = self.locate(folder)
        for here, _, names in os.walk(top, onerror=_walk_failed):
            for name in names:
                yield os.path.relpath(os.path.join(here, name), self.root)

    def size(self, path: str) -> int | None:
        """Return the size of a regular file in bytes, or None if there is none."""
        full = self.locate(path)
        try:
            found = os.stat(full)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            _raise_read(full, "stat", error)
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def delete(self, path: str) -> None:
        """Remove a file, or a folder with all below it; links are removed, not followed."""
        full = self.locate(path)
        try:
            if os.path.isdir(full) and not os.path.islink(full):
                shutil.rmtree(full)
            elif os.path.lexists(full):
                self._calls.unlink(full)
        except OSError as error:
            _raise_write(full, "remove", error)

    def locate(self, path: str) -> str:
        """Return the absolute path of ``path``.

        Raises:
            StorageError: if it would leave the root.
        """
        parts = PurePosixPath(path).parts
        if os.path.isabs(path) or ".." in parts or "\0" in path:
            msg = f"{path!r}: the path would leave the storage root {self.root}"
            raise StorageError(msg)
        full = os.path.join(self.root, *parts)
        real_root = os.path.realpath(self.root)
        real = os.path.realpath(full)
        if real != real_root and not real.startswith(real_root.rstrip("/") + "/"):
            msg = f"{path!r}: a link leads out of the storage root {self.root}"
            raise StorageError(msg)
        return full


class LocalInput:
    """An open local file; reads do not share a position, so threads may read at once."""

    def __init__(self, path: str, calls: Posix) -> None:
        self.path = path
        self._calls = calls
        self._fd = calls.open(path, O_READ)
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise OSError(errno.EISDIR, "not a regular file", path)
        self.size = found.st_size

    def pread(self, offset: int, into: memoryview) -> int:
        """Fill ``into`` from ``offset``; the result is short only at the end of the file."""
        done = 0
        while done < len(into):
            try:
                got = self._calls.pread(self._fd, into[done:], offset + done)
            except InterruptedError:
                continue
            except OSError as error:
                _raise_read(self.path, f"read at offset {offset + done}", error)
            if not got:
                break
            done += got
        return done

    def fileno(self) -> int:
        """Return the file descriptor, for advice about the page cache."""
        return self._fd

    def close(self) -> None:
        """Release the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._calls.close(fd)


class LocalOutput:
    """A local file being written under a temporary name beside its final one."""

    def __init__(self, path: str, calls: Posix) -> None:
        self.path = path
        self._calls = calls
        self._folder, name = os.path.split(path)
        self._aside = os.path.join(self._folder, f".{name}.{os.getpid()}{PARTIAL}")
        self._fd = -1
        try:
            made = not os.path.isdir(self._folder)
            calls.makedirs(self._folder)
            if made:
                self._sync_folder(os.path.dirname(self._folder))
            with contextlib.suppress(FileNotFoundError):
                calls.unlink(self._aside)
            self._fd = calls.open(self._aside, O_NEW)
        except OSError as error:
            _raise_write(path, "create", error)

    def write(self, chunk: bytes | memoryview) -> int:
        """Append all of ``chunk`` and return its length in bytes."""
        view = memoryview(chunk).cast("B")
        done = 0
        while done < len(view):
            try:
                done += self._calls.write(self._fd, view[done:])
            except InterruptedError:
                continue
            except OSError as error:
                _raise_write(self.path, "write", error)
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        except OSError as failed:
            self._forget()
            if isinstance(failed, DlioError):
                raise
            _raise_write(self.path, "publish", failed)
        else:
            if kind is not None:
                self._forget()

    def _publish(self) -> None:
        self._calls.fsync(self._fd)
        fd, self._fd = self._fd, -1
        self._calls.close(fd)
        self._calls.rename(self._aside, self.path)
        self._sync_folder(self._folder)

    def _sync_folder(self, folder: str) -> None:
        fd = self._calls.open(folder, O_READ)
        try:
            self._calls.fsync(fd)
        finally:
            self._calls.close(fd)

    def _forget(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                self._calls.close(fd)
        with contextlib.suppress(OSError):
            self._calls.unlink(self._aside)


def _walk_failed(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        _raise_read(str(error.filename), "list", error)


def _raise_read(path: str, what: str, error: OSError) -> NoReturn:
    msg = f"{path}: cannot {what}: {error.strerror or error}"
    raise StorageError(msg) from error


def _raise_write(path: str, what: str, error: OSError) -> NoReturn:
    if error.errno in _NO_ROOM:
        msg = f"{path}: cannot {what}: {error.strerror}; {_free_bytes(path)} bytes are free there"
        raise CannotCreateError(msg) from error
    msg = f"{path}: cannot {what}: {error.strerror or error}"
    raise (CannotCreateError if error.errno in _NO_RIGHT else StorageError)(msg) from error


def _free_bytes(path: str) -> int:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(os.path.dirname(path)).free
    return 0
