"""One writer per folder: a lock file with its owner's name in it.

The kernel's lock on the open file decides between processes of one machine and ends with its holder, however that
dies.  What is written in the file names the owner, and decides between machines where the file system does not
carry the kernel's lock: an owner on another machine is believed, one on this machine only while it lives.  Where the
file system knows no locks at all, several may write their names at once; the last one stays, and the others see it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NoReturn

from dlio_benchmark.errors import LockHeldError
from dlio_benchmark.storage.failures import writing
from dlio_benchmark.storage.output import make_folders, write_all
from dlio_benchmark.storage.posix import O_CLAIM, Posix, again, release

LOCK_NAME = ".dlio_lock"
_TRIES = 50
# From looking who owns a lock to writing one's name takes much less.
_SETTLE_S = 1.0
# File systems that know no kernel locks say so; there the name in the file decides alone.
_WITHOUT_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK})


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock: machine, process, and the boot and start that make the process number unique."""

    host: str
    pid: int
    boot: str
    born: str

    @staticmethod
    def me() -> Owner:
        """Return this process."""
        return Owner(socket.gethostname(), os.getpid(), _boot(), _born(os.getpid()))

    @property
    def alive(self) -> bool:
        """Whether the process is there; True for one on another machine, which cannot be looked at."""
        if self.host != socket.gethostname():
            return True
        return self.boot == _boot() and self.born == _born(self.pid) != ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextlib.contextmanager
def locked(folder: str, calls: Posix | None = None) -> Iterator[Owner]:
    """Hold the lock of ``folder``, which is made if needed, while the context lasts.

    Raises:
        LockHeldError: naming the owner, if another process holds it.
        CannotCreateError: if the lock file cannot be made.
    """
    calls = calls or Posix()
    path = os.path.join(folder, LOCK_NAME)
    with writing(path, "lock the folder"):
        make_folders(folder, calls)
        fd, is_known = _claimed(path, calls)
    lost = False
    try:
        me = Owner.me()
        with writing(path, "name the owner of the lock"):
            os.ftruncate(fd, 0)
            write_all(fd, json.dumps(asdict(me)).encode(), path, calls)
            again(calls.fsync, fd)
        if not is_known:
            lost = True
            _stay_named(path, calls)
            lost = False
        yield me
    finally:
        if not lost:
            with contextlib.suppress(OSError):  # a lock that stays is recovered by the next one
                again(calls.unlink, path)
        with contextlib.suppress(OSError):
            release(calls, fd)


def _stay_named(path: str, calls: Posix) -> None:
    """Refuse if somebody who began at the same time has written its name over ours, once all such must have done so."""
    time.sleep(_SETTLE_S)
    with writing(path, "read the owner of the lock"):
        fd = again(calls.open, path, O_CLAIM)  # opened anew, for it may be another machine that wrote
    try:
        _believe(fd, path)
    finally:
        release(calls, fd)


def _claimed(path: str, calls: Posix) -> tuple[int, bool]:
    """Return the open lock file, held by this process, and whether the file system knows locks.

    The file may be replaced while we wait, so look again.
    """
    for _ in range(_TRIES):
        fd = again(calls.open, path, O_CLAIM)
        try:
            is_known = _take(fd, path)
            if not _replaced(fd, path):
                _believe(fd, path)
                return fd, is_known
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    return _refuse(path, None)


def _take(fd: int, path: str) -> bool:
    """Lock the file, or refuse with the name of the living owner; return whether the file system knows locks.

    An owner needs a moment to write its name after it has taken the lock, and a name may be that of an owner that has
    just died; either way, look again.
    """
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _believe(fd, path)
            time.sleep(0.02)
            continue
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            return False
        return True
    return _refuse(path, None)


def _believe(fd: int, path: str) -> None:
    owner = _read(fd)
    if owner is not None and owner.alive and owner != Owner.me():
        _refuse(path, owner)


def _refuse(path: str, owner: Owner | None) -> NoReturn:
    who = str(owner) if owner else "a process that has just started"
    msg = f"{path}: {who} is generating here; wait for it to end, or choose another folder"
    if owner and owner.host != socket.gethostname():
        msg += f"; if it is certain that it died, remove {path}"
    raise LockHeldError(msg)


def _replaced(fd: int, path: str) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(fd).st_ino
    except FileNotFoundError:
        return True


def _read(fd: int) -> Owner | None:
    with contextlib.suppress(ValueError, TypeError, OSError):
        return Owner(**json.loads(os.pread(fd, 4096, 0)))
    return None


def _boot() -> str:
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return ""


def _born(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""
