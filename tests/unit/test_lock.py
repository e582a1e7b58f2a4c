"""The lock of a folder: one owner, named to all others, and recovered when it died."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from dlio_benchmark.errors import CannotCreateError, Exit, LockHeldError
from dlio_benchmark.storage import lock
from dlio_benchmark.storage.lock import LOCK_NAME, Owner, locked
from dlio_benchmark.storage.posix import Posix

HOLDER = """
import sys
from dlio_benchmark.storage.lock import locked
with locked(sys.argv[1]) as owner:
    print(owner.pid, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def note(folder: Path, owner: Owner) -> None:
    (folder / LOCK_NAME).write_text(json.dumps(asdict(owner)), encoding="utf-8")


def test_a_lock_makes_the_folder_and_leaves_no_file(tmp_path: Path) -> None:
    with locked(str(tmp_path / "a" / "b")) as owner:
        assert owner == Owner.me()
        assert owner.alive
        assert json.loads((tmp_path / "a" / "b" / LOCK_NAME).read_text(encoding="utf-8")) == asdict(owner)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_another_process_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    with another_process(tmp_path) as holder:
        named = f"process {holder.pid} on {socket.gethostname()}"
        with pytest.raises(LockHeldError, match=named) as refused, locked(str(tmp_path)):
            pass
        assert refused.value.code == Exit.LOCKED


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with another_process(tmp_path) as holder:
        holder.kill()
        holder.wait()
        assert (tmp_path / LOCK_NAME).exists()
        with locked(str(tmp_path)) as owner:
            assert owner.pid == os.getpid()


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(str(tmp_path)):
        raise ZeroDivisionError
    with locked(str(tmp_path)):
        pass


def test_a_lock_from_before_the_last_boot_is_stale(tmp_path: Path) -> None:
    note(tmp_path, replace(Owner.me(), pid=os.getppid(), boot="another boot"))
    with locked(str(tmp_path)):
        pass


def test_a_process_number_that_was_given_again_is_another_owner(tmp_path: Path) -> None:
    note(tmp_path, replace(Owner.me(), pid=os.getppid(), born="1"))
    with locked(str(tmp_path)):
        pass


def test_an_owner_on_another_machine_is_believed_and_the_remedy_named(tmp_path: Path) -> None:
    note(tmp_path, replace(Owner.me(), host="elsewhere"))
    remedy = f"on elsewhere .* if it is certain that it died, remove .*{LOCK_NAME}"
    with pytest.raises(LockHeldError, match=remedy), locked(str(tmp_path)):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\0" * 5000])
def test_a_lock_file_without_a_name_in_it_is_free(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK_NAME).write_text(text, encoding="utf-8")
    with locked(str(tmp_path)):
        pass


def test_without_kernel_locks_the_name_in_the_file_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOSYS, "not implemented")

    with another_process(tmp_path) as holder:
        monkeypatch.setattr(fcntl, "flock", unknown)
        with pytest.raises(LockHeldError, match=f"process {holder.pid}"), locked(str(tmp_path)):
            pass
        holder.kill()
        holder.wait()
        with locked(str(tmp_path)):
            pass


@dataclass(frozen=True, slots=True)
class Raced(Posix):
    """Calls between which another machine writes its name into the lock: after that of this process."""

    folder: Path = Path()

    def fsync(self, fd: int) -> None:
        if (self.folder / LOCK_NAME).exists():
            note(self.folder, replace(Owner.me(), host="elsewhere"))


def test_without_kernel_locks_the_last_of_those_who_begin_at_once_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOSYS, "not implemented")

    monkeypatch.setattr(fcntl, "flock", unknown)
    monkeypatch.setattr(lock, "_SETTLE_S", 0.0)
    with pytest.raises(LockHeldError, match="on elsewhere"), locked(str(tmp_path), Raced(tmp_path)):
        pytest.fail("two owners at once")
    assert json.loads((tmp_path / LOCK_NAME).read_text())["host"] == "elsewhere"


def test_a_place_where_no_folder_can_be_made_is_named() -> None:
    with pytest.raises(CannotCreateError, match="/proc/nowhere: cannot create the folder"), locked("/proc/nowhere/x"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateError, match="file: cannot create the folder"), locked(str(tmp_path / "file" / "x")):
        pass
