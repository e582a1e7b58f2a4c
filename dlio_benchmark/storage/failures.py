"""What the operating system refuses, in words: the path, what was to be done, why not, and the right exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from typing import NoReturn

from dlio_benchmark.errors import CannotCreateError, DlioError, StorageError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.EEXIST}
)


@contextlib.contextmanager
def reading(path: str, what: str) -> Iterator[None]:
    """Turn an error of the operating system into a `StorageError` that says what could not be done with ``path``."""
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
    raise StorageError(msg) from error


def raise_write(path: str, what: str, error: OSError) -> NoReturn:
    """Raise the error of a write that failed; with no room left it says how much there is."""
    msg = f"{path}: cannot {what}: {error.strerror or error}"
    if error.errno in _NO_ROOM:
        raise CannotCreateError(f"{msg}; {_free_bytes(path)} bytes are free there") from error
    raise (CannotCreateError if error.errno in _NO_RIGHT else StorageError)(msg) from error


def _free_bytes(path: str) -> int:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(os.path.dirname(path)).free
    return 0
