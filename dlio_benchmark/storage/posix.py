"""The calls that local storage makes of the operating system, as a value that tests can replace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

O_READ = os.O_RDONLY | os.O_CLOEXEC
O_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
O_GROW = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
O_CLAIM = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Posix:
    """One method per system call; each raises OSError as the call does."""

    def open(self, path: str, flags: int) -> int:
        """Return a file descriptor."""
        return os.open(path, flags, 0o644)

    def write(self, fd: int, chunk: memoryview) -> int:
        """Write some of ``chunk`` and return how many bytes."""
        return os.write(fd, chunk)

    preadv = staticmethod(os.preadv)  # there are many of these, and each is short

    def begin_writeback(self, fd: int, start: int, many: int) -> None:
        """Ask the kernel to begin writing ``many`` bytes from ``start`` on to the device; it may refuse, and say so."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, start, many, os.POSIX_FADV_DONTNEED)

    def fsync(self, fd: int) -> None:
        """Force a file or folder to the device."""
        os.fsync(fd)

    def rename(self, old: str, new: str) -> None:
        """Give a file its final name, replacing what has it."""
        os.replace(old, new)

    def close(self, fd: int) -> None:
        """Release a file descriptor; it is gone even if this fails."""
        os.close(fd)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def mkdir(self, path: str) -> None:
        """Make a folder in one that exists."""
        os.mkdir(path)

    def free_bytes(self, path: str) -> int:
        """Return the bytes that an ordinary user may still write where ``path`` is."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize


def again(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what ``call`` returns, made again as often as a signal interrupts it; not for ``close``."""
    while True:
        try:
            return call(*args, **kwargs)
        except InterruptedError:
            continue


def release(calls: Posix, fd: int) -> None:
    """Close a file descriptor; an interruption counts as done, for the kernel has released it all the same."""
    with contextlib.suppress(InterruptedError):
        calls.close(fd)
