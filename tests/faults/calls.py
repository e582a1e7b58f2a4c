"""The n-th call of the operating system fails, for every n until none is left to fail.

Writing, reading in training, and verification are each run again and again; an error that a call may give is raised
at the n-th call of one kind, or the call does less than it was asked.  A run then either succeeds, with the right
result, or ends with the right exit code and the path in its message; no final file is partial, and the next run
without a fault succeeds.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from findings import Files, Finding, Tree, differences, files_below, make, partial_files, tree

from dlio_benchmark.clock import RealClock
from dlio_benchmark.comm import Solo
from dlio_benchmark.config.decode import decode
from dlio_benchmark.data_generator.manifest import load
from dlio_benchmark.engine.run import Settled, Told, training
from dlio_benchmark.engine.verify import verify
from dlio_benchmark.errors import DlioError, Exit
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.posix import Posix
from dlio_benchmark.values import as_arrow

SHORT = -1
ERRORS = (errno.EIO, errno.EINTR, errno.ENOSPC, SHORT, errno.EACCES, errno.EDQUOT)
WRITING = ("open", "write", "fsync", "rename", "close", "mkdir", "unlink")
READING = ("open", "pread", "close")
FILES, ROWS, GROUP = 2, 70, 32  # files of two folders and one for evaluation, of three row groups
_CREATING = {errno.ENOSPC, errno.EDQUOT, errno.EACCES}


def _first(buffers: Sequence[memoryview], count: int) -> list[memoryview]:
    """Return the first ``count`` bytes of ``buffers``."""
    found = []
    for buffer in buffers:
        found.append(buffer[:count])
        count -= len(found[-1])
    return found


@dataclass(frozen=True, slots=True)
class Failing(Posix):
    """Calls of which the ``nth`` of one ``kind`` fails with ``error``, or does less than asked."""

    kind: str = ""
    nth: int = 0
    error: int = 0
    made: list[str] = field(default_factory=list)
    hit: list[str] = field(default_factory=list)

    def _fails(self, kind: str, what: str) -> bool:
        self.made.append(kind)
        if kind != self.kind or self.hit or self.made.count(kind) != self.nth:
            return False
        self.hit.append(what)
        return True

    def _try(self, kind: str, what: str) -> None:
        if self._fails(kind, what) and self.error != SHORT:
            raise OSError(self.error, os.strerror(self.error), what)

    def open(self, path: str, flags: int) -> int:
        """Open, or fail."""
        self._try("open", f"{'write' if flags & os.O_ACCMODE else 'read'} {path}")
        return os.open(path, flags, 0o644)

    def write(self, fd: int, chunk: memoryview) -> int:
        """Write all, a part, or fail."""
        self._try("write", "write")
        short = self.error == SHORT and self.kind == "write"
        return os.write(fd, chunk[: -(-len(chunk) // 2)] if short else chunk)

    def preadv(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:  # type: ignore[override]
        """Read all, a part, or fail."""
        self._try("pread", "read")
        if self.error == SHORT and self.kind == "pread":
            buffers = _first(buffers, -(-sum(map(len, buffers)) // 3))
        return os.preadv(fd, buffers, offset)

    def fsync(self, fd: int) -> None:
        """Do nothing, or fail."""
        self._try("fsync", "write")

    def rename(self, old: str, new: str) -> None:
        """Rename, or fail."""
        self._try("rename", "write")
        os.replace(old, new)

    def close(self, fd: int) -> None:
        """Close, and then perhaps fail."""
        os.close(fd)
        self._try("close", "")

    def unlink(self, path: str) -> None:
        """Remove, or fail."""
        self._try("unlink", "write")
        os.unlink(path)

    def mkdir(self, path: str) -> None:
        """Make a folder, or fail."""
        self._try("mkdir", "write")
        os.mkdir(path)


def _work() -> Tree:
    parquet = tree()["dataset"]["parquet"] | {"row_group_size": GROUP}
    return tree(num_files_train=FILES, num_samples_per_file=ROWS, parquet=parquet)


def plans(kinds: tuple[str, ...], errors_per_n: int, act: Callable[[Failing], None]) -> Iterator[Failing]:
    """Yield what ``act`` was run with, for every kind of call and every n until the n-th is not made any more."""
    for kind in kinds:
        for nth in range(1, 10_000):
            hit = False
            for turn in range(errors_per_n):
                failing = Failing(kind, nth, ERRORS[(nth + turn) % len(ERRORS)])
                act(failing)
                hit = hit or bool(failing.hit)
                yield failing
            if not hit:
                break


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what failing every n-th call showed, with ``many`` errors for each n."""
    found = Finding()
    whole_root = os.path.join(folder, "whole")
    make(whole_root, _work())
    whole = files_below(whole_root)
    _generation(many, os.path.join(folder, "root"), whole, found)
    for name, act in (("training", _train), ("verification", _verify), ("reading", _read)):
        _reading(many, whole_root, name, act, found)
    return found


def _generation(many: int, root: str, whole: Files, found: Finding) -> None:
    def act(calls: Failing) -> None:
        error = _ended(lambda: make(root, _work(), calls=calls))
        _judge("generation", calls, error, root, found)
        for path in partial_files(root, whole) if os.path.isdir(root) else []:
            found.wrong(f"{_named(calls)}: {path} is not whole")
        again = _ended(lambda: make(root, _work()))
        if again is not None:
            found.wrong(f"{_named(calls)}: the next run fails: {again}")
        for path in differences(root, whole):
            found.wrong(f"{_named(calls)}: after the next run {path} differs")
        shutil.rmtree(root)

    for _ in plans((*WRITING, "pread"), many, act):
        found.count("generations")


def _reading(many: int, root: str, name: str, action: Callable[[str, Posix], None], found: Finding) -> None:
    def act(calls: Failing) -> None:
        error = _ended(lambda: action(root, calls))
        _judge(name, calls, error, root, found)

    for _ in plans(READING, many, act):
        found.count(f"runs of {name}")


def _ended(action: Callable[[], object]) -> BaseException | None:
    try:
        action()
    except Exception as error:
        return error
    return None


def _named(calls: Failing) -> str:
    error = "short" if calls.error == SHORT else errno.errorcode[calls.error]
    return f"{calls.kind} number {calls.nth} fails with {error}"


def _judge(name: str, calls: Failing, error: BaseException | None, root: str, found: Finding) -> None:
    where = f"{name}: {_named(calls)}"
    if error is None:
        if calls.hit and calls.kind == "pread" and calls.error not in (errno.EINTR, SHORT):
            found.wrong(f"{where}: nobody was told")
        found.count("faults overcome", bool(calls.hit))
        return
    if not calls.hit:
        found.wrong(f"{where}: failed without a fault: {error!r}")
    elif not isinstance(error, DlioError):
        found.wrong(f"{where}: {error!r} is no error raised on purpose")
    elif calls.error in (errno.EINTR, SHORT):
        found.wrong(f"{where}: should have been made again: {error}")
    else:
        found.count("faults reported")
        writes = calls.hit[0].startswith("write")
        wanted = _code(calls.error, writes=writes)
        either = not calls.hit[0] or calls.hit[0].startswith("read /")  # a folder is opened to be forced
        if error.code != wanted and not (either and error.code in (Exit.IO, Exit.CANNOT_CREATE, Exit.DATA_MISSING)):
            found.wrong(f"{where}: exit code {error.code}, not {wanted}: {error}")
        if root not in str(error):
            found.wrong(f"{where}: no path in: {error}")


def _code(error: int, *, writes: bool) -> Exit:
    if writes:
        return Exit.CANNOT_CREATE if error in _CREATING else Exit.IO
    return Exit.DATA_MISSING if error == errno.EACCES else Exit.IO


def _train(root: str, calls: Posix) -> None:
    work = _work()
    work["workflow"] = {"generate_data": False, "train": True}
    work["reader"] = {"batch_size": 10, "read_threads": 2, "sample_shuffle": "seed"}
    decoded = decode(work, strict=True)
    storage = LocalStorage(root, calls)
    settled = Settled(decoded, storage, load(LocalStorage(root)))
    told = Told(lambda _one, _plan: None, lambda _step: None, lambda _phase: None)
    trained = training(settled, Solo(), RealClock(), told)
    tally = trained.phases[0].tally
    assert tally.rows == FILES * ROWS
    assert tally.bytes_read == tally.bytes_promised > 0


def _verify(root: str, calls: Posix) -> None:
    verified = verify(decode(_work(), strict=True).workload, LocalStorage(root, calls), Solo())
    assert verified.files == FILES + 1
    assert verified.rows == (FILES + 1) * ROWS


def _read(root: str, calls: Posix) -> None:
    path = "train/0/img_0_of_2.parquet"
    file = ParquetRows(LocalStorage(root, calls), None).open(path)
    try:
        blocks = [file.read(index).block for index in range(len(file.shapes))]
    finally:
        file.close()
    wanted = pq.ParquetFile(os.path.join(root, path)).read()
    for name in wanted.column_names:
        ours = pa.chunked_array([as_arrow(block.columns[name]) for block in blocks])
        assert ours.to_pylist() == wanted[name].to_pylist(), name
    assert np.sum([block.rows for block in blocks]) == ROWS
