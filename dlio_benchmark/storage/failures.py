"""What the operating system refuses, in words: the path, what was to be done, why not, and the right exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from typing import NoReturn

from dlio_benchmark.errors import CannotCreateError, DlioError, StorageError, UnreadableError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.EEXIST}
)
_DENIED = frozenset({errno.EACCES, errno.EPERM})


@contextlib.contextmanager
def reading(path: str, what: str) -> Iterator[None]:
    """Turn an error of the operating system into a `StorageError` that says what could not be done with ``path``.

    Where the right to it is missing it is an `UnreadableError`.
    """
    try:
        yield
    except DlioError:
        raise
    except OSError as error:
        raise_read(path, what, error)


@contextlib.contextmanager
def writing(path: str, what: str) -> Iterator[None]:
    """Turn an error of the operating system into a `CannotCreateError` or `StorageError` about ``path``."""
    try:
        yield
    except DlioError:
        raise
    except OSError as error:
        raise_write(path, what, error)


def raise_read(path: str, what: str, error: OSError) -> NoReturn:
    """Raise the error of a read that failed."""
    msg = f"{path}: cannot {what}: {error.strerror or error}"
    if error.errno in _DENIED:
        raise UnreadableError(f"{msg}; {_whose(path, os.R_OK)}") from error
    raise StorageError(msg) from error


def raise_write(path: str, what: str, error: OSError) -> NoReturn:
    """Raise the error of a write that failed; with no room left it says how much there is."""
    msg = f"{path}: cannot {what}: {error.strerror or error}"
    if error.errno in _NO_ROOM:
        raise CannotCreateError(f"{msg}; {_free_bytes(path)} bytes are free there") from error
    if error.errno in _DENIED:
        raise CannotCreateError(f"{msg}; {_whose(path, os.W_OK)}") from error
    raise (CannotCreateError if error.errno in _NO_RIGHT else StorageError)(msg) from error


def _free_bytes(path: str) -> int:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(os.path.dirname(path)).free
    return 0


def _whose(path: str, wanted: int) -> str:
    """Return what stands in the way to ``path``: whose it is, its mode, and as whom this process runs."""
    found, below = "/", os.path.abspath(path).split("/")[1:]
    for name in below:
        if not os.access(found, os.X_OK) or not os.path.lexists(os.path.join(found, name)):
            break
        found = os.path.join(found, name)
    if os.access(found, wanted) and os.path.abspath(path) == found:
        found = os.path.dirname(found)  # it may be changed, but not replaced or removed
    try:
        seen = os.stat(found)
    except OSError:
        return f"this process runs as {_user(os.geteuid())}"
    mode, owner = stat.filemode(seen.st_mode), _user(seen.st_uid)
    return f"{found} belongs to {owner} and has mode {mode}, this process runs as {_user(os.geteuid())}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
