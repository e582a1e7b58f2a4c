"""Writing to a local file system so that a crash at any moment leaves only whole files under their names.

A file is written aside, forced to the device, given its name, and then its folder is forced to the device.  A folder
counts as made when the folder that it stands in has been forced, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from dlio_benchmark.storage.failures import raise_write, writing
from dlio_benchmark.storage.posix import O_GROW, O_NEW, O_READ, Posix, again, release

PARTIAL = ".partial"
_WRITEBACK_BYTES = 2 << 20


class LocalOutput:
    """A local file being written under a temporary name beside its final one."""

    def __init__(self, path: str, calls: Posix) -> None:
        self.path = path
        self._calls = calls
        self._folder, name = os.path.split(path)
        self._aside = os.path.join(self._folder, f".{name}.{os.getpid()}{PARTIAL}")
        self._fd = -1
        self._written = self._begun = 0
        with writing(path, "create"):
            make_folders(self._folder, calls)
            with contextlib.suppress(FileNotFoundError):
                again(calls.unlink, self._aside)
            self._fd = again(calls.open, self._aside, O_NEW)

    def write(self, chunk: bytes | memoryview) -> int:
        """Append all of ``chunk`` and return its length in bytes.

        The device begins with what is written while more is made, so that forcing the file down at its end takes less.
        """
        many = write_all(self._fd, chunk, self.path, self._calls)
        self._written += many
        if self._written - self._begun >= _WRITEBACK_BYTES:
            with contextlib.suppress(OSError):
                self._calls.begin_writeback(self._fd, self._begun, self._written - self._begun)
            self._begun = self._written
        return many

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._forget()
            return
        try:
            with writing(self.path, "publish"):
                self._publish()
        except BaseException:
            self._forget()
            raise

    def _publish(self) -> None:
        again(self._calls.fsync, self._fd)
        fd, self._fd = self._fd, -1
        release(self._calls, fd)
        again(self._calls.rename, self._aside, self.path)
        sync_folder(self._folder, self._calls)

    def _forget(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                release(self._calls, fd)
        with contextlib.suppress(OSError):
            again(self._calls.unlink, self._aside)


class GrowingFile:
    """A local file that grows by whole records; what was added survives the end of the process."""

    def __init__(self, path: str, calls: Posix) -> None:
        self.path = path
        self._calls = calls
        with writing(path, "create"):
            make_folders(os.path.dirname(path), calls)
            self._fd = again(calls.open, path, O_GROW)

    def add(self, record: bytes) -> None:
        """Append a record."""
        write_all(self._fd, record, self.path, self._calls)

    def close(self) -> None:
        """Release the file; calling it again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with writing(self.path, "close"):
                release(self._calls, fd)


def write_all(fd: int, chunk: bytes | memoryview, path: str, calls: Posix) -> int:
    """Write all of ``chunk`` to the file ``path``, in as many calls as it takes, and return its length in bytes."""
    view = memoryview(chunk).cast("B")
    done = 0
    while done < len(view):
        try:
            wrote = again(calls.write, fd, view[done:])
            if not wrote:
                raise OSError(errno.EIO, "nothing was written")
        except OSError as error:
            raise_write(path, f"write at offset {done} of {len(view)} bytes", error)
        done += wrote
    return done


def make_folders(path: str, calls: Posix) -> None:
    """Make a folder and those above it, each forced to the device; nothing happens if it exists.

    Raises:
        CannotCreateError: naming the folder that cannot be made.
        StorageError: if the storage failed.
    """
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        with writing(folder, "create the folder"):
            _make_folder(folder, calls)
            sync_folder(os.path.dirname(folder), calls)


def _make_folder(folder: str, calls: Posix) -> None:
    try:
        again(calls.mkdir, folder)
    except FileExistsError:  # another rank may be faster
        if not os.path.isdir(folder):
            raise NotADirectoryError(errno.ENOTDIR, "something that is no folder is in the way", folder) from None
    except FileNotFoundError as error:  # the folder above is there: it is one in which nothing can be made
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), folder) from error


def sync_folders(folders: Iterable[str], calls: Posix) -> None:
    """Force folders to the device, each once."""
    for folder in sorted(set(folders)):
        with writing(folder, "force to the device"):
            sync_folder(folder, calls)


def sync_folder(folder: str, calls: Posix) -> None:
    """Force the names in a folder to the device."""
    fd = again(calls.open, folder, O_READ)
    try:
        again(calls.fsync, fd)
    finally:
        release(calls, fd)
