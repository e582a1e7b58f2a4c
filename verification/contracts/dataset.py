"""What a data set on a disk promises.

Whatever ends a generation, no half of a file stands under its final name; a data set of another configuration is
refused by the key that differs; no path of a configuration leads out of the data folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.engine.generate import generate
from dlio_benchmark.errors import DlioError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.plan.world import World
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.posix import Posix
from verification.contracts.forks import ended_forks, in_forks
from verification.contracts.generation import Unheard
from verification.contracts.job import GROUP, Run, Tree, tree_of
from verification.contracts.loader import COLUMNS, Side, Wide, path_of
from verification.contracts.writer import MakeWriter, workload_of
from verification.evidence import Recorder
from verification.probes import open_files
from verification.probes.files import incomplete

# -- endings --------------------------------------------------------------------------------------------------------
Ending = Callable[[], None]
LARGE = ({"name": "large", "dtype": "float64", "size": 4096},)


class _Ending(Posix):
    """System calls of which a write ends the generation."""

    __slots__ = ("_end", "_left")
    _end: Ending
    _left: list[int]

    def __init__(self, end: Ending, writes: int) -> None:
        object.__setattr__(self, "_end", end)
        object.__setattr__(self, "_left", [writes])

    def write(self, fd: int, chunk: memoryview) -> int:
        self._left[0] -= 1
        if self._left[0] < 0:
            self._end()
        return super().write(fd, chunk)


def _disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


ENDINGS: Mapping[str, Ending] = {"killed": _killed, "disk full": _disk_full}


def _generate(make: MakeWriter, folder: str, ending: str, writes: int) -> bool:
    """Generate until the ending comes; return whether it came before all was written."""
    workload = workload_of(files=2, rows=400, group=40, columns=list(LARGE))
    storage = LocalStorage(folder, _Ending(ENDINGS[ending], writes))
    try:
        generate(workload, storage, Solo(), writer=make(workload, World()), progress=Unheard())
    except DlioError:
        return True
    return False


WRITES = (1, 3, 5)
Outcome = tuple[int, bool]


def ended_generations(makes: Mapping[Path, MakeWriter], ending: str) -> list[list[Outcome]]:
    """Generate with each writer below its folder until the ending comes, at each of `WRITES`; return what came of it.

    That is the status of the process (less than zero: the signal that ended it), and whether the ending came before all
    was written.
    """
    each = [(make, str(folder / str(writes)), ending, writes) for folder, make in makes.items() for writes in WRITES]
    for _, place, _, _ in each:
        Path(place).mkdir(parents=True)
    if ending == "killed":
        outcomes = ended_forks(_generate, each)
    else:
        outcomes = [(0, _generate(*arguments)) for arguments in each]
    return [outcomes[start : start + len(WRITES)] for start in range(0, len(outcomes), len(WRITES))]


def no_ending_leaves_half_a_file(evidence: Recorder, outcomes: Sequence[Outcome], ending: str, folder: Path) -> None:
    """Hold that no file is incomplete under its final name after generation ended at one of its first writes."""
    ended = 0
    for writes, (status, came) in zip(WRITES, outcomes, strict=True):
        if status < 0:
            evidence.equal(-status, int(signal.SIGKILL), what="signal that ended the generation")
        ended += status < 0 or came
        half = incomplete(folder / str(writes))
        evidence.hold(len(half), what="incomplete files under their final names", at_most=0, unit="files")
        manifests = [path.name for path in (folder / str(writes)).glob("dlio_manifest.json")]
        evidence.equal(manifests, [], what="manifests of data sets that are not whole")
    evidence.hold(ended, what="generations that were ended", at_least=2, unit="generations")
    evidence.cover("ending", ending)


# -- another configuration ------------------------------------------------------------------------------------------
CHANGES: Mapping[str, tuple[str, Any]] = {
    "columns": ("dataset.parquet.columns", [{"name": "a", "dtype": "float64", "size": 16}]),
    "row_group_size": ("dataset.parquet.row_group_size", GROUP + 3),
    "compression": ("dataset.compression", "gzip"),
    "num_files_train": ("dataset.num_files_train", 9),
    "seed": ("dataset.seed", 77),
}


def changed(tree: Tree, path: str, value: Any) -> dict[str, Any]:
    """Return ``tree`` with another value at a dotted path."""
    *sections, name = path.split(".")
    out = at = dict(tree)
    for section in sections:
        at[section] = dict(at[section])
        at = at[section]
    at[name] = value
    return out


def another_configuration_is_refused(evidence: Recorder, run: Run, field: str, folder: Path) -> None:
    """Hold that neither training on a data set of another configuration nor generating over it passes unseen."""
    tree = tree_of(folder)
    run(tree, folder)
    path, value = CHANGES[field]
    only_train = {**tree, "workflow": {"generate_data": False, "train": True}}
    if field != "num_files_train":
        other = changed(only_train, path, value)
        evidence.raises(ValueError, lambda: run(other, folder), naming=(path,), what=f"training with another {field}")
    evidence.raises(
        ValueError, lambda: run(changed(tree, path, value), folder), naming=(path,), what=f"generating another {field}"
    )
    evidence.cover("field", field)


# -- many epochs ----------------------------------------------------------------------------------------------------
def _grown(side: Side, files: Wide, epochs: int) -> tuple[int, int]:
    """Return by how many open files and resident bytes so many epochs, and failures, grow this process."""
    storage = LocalStorage(str(files.folder))
    loader = side.loader(side.reader(storage, files.columns, ReadMode.ROW_GROUP))
    broken = side.loader(side.reader(storage, COLUMNS, ReadMode.ROW_GROUP))
    plan = EpochPlan(np.full(4, files.rows), 8)

    def epoch() -> None:
        for _ in loader.batches(plan, path_of, Tally()):
            continue
        try:
            next(broken.batches(plan, path_of, Tally()))
        except DlioError:
            return

    for _ in range(3):
        epoch()
    files_before, bytes_before = len(open_files()), _resident()
    for _ in range(epochs):
        epoch()
    grown = len(open_files()) - files_before, _resident() - bytes_before
    loader.close()
    broken.close()
    return grown


Growth = tuple[int, int]


def growths_over_epochs(sides: Sequence[Side], files: Wide) -> list[Growth]:
    """Return by how many open files and bytes of memory 20 epochs grow a process without a past, for each side."""
    return in_forks(_grown, [(side, files, 20) for side in sides])


def nothing_grows_over_epochs(evidence: Recorder, growth: Growth) -> None:
    """Hold open files and memory of a process to what they were after its first epochs."""
    opened, resident = growth
    evidence.hold(opened, what="growth of open files over 20 epochs", at_most=0, unit="files")
    evidence.hold(round(resident / 2**20, 2), what="growth of memory over 20 epochs", at_most=6, unit="MiB")


def _resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


# -- paths and names that attack ------------------------------------------------------------------------------------
Put = Callable[[Path, str], None]


def put_in_storage(root: Path, path: str) -> None:
    """Write a file at ``path`` of the product's storage."""
    with LocalStorage(str(root)).open_output(path) as out:
        out.write(b"x")


def no_path_leads_out(evidence: Recorder, put: Put, attack: str, folder: Path) -> None:
    """Hold that a path which would leave the data folder is refused, and that nothing is written there."""
    root, outside = folder / "root", folder / "outside"
    root.mkdir(parents=True)
    path = {"parent folder": "../outside", "absolute path": str(outside)}[attack]
    put(root, "inside/file")
    evidence.raises(DlioError, lambda: put(root, path), naming=("root",), what=attack)
    evidence.equal(outside.exists(), False, what="file outside the data folder")
    evidence.cover("attack", attack)


Take = Callable[[Path], object]


def nothing_named_is_called(evidence: Recorder, take: Take, folder: Path) -> None:
    """Hold that a class or function that a configuration names is not called."""
    marker = folder / "called"
    lines = ["dataset:", "  format: parquet", "  data_folder:", "    _target_: pathlib.Path.touch"]
    lines += [f"    _args_: ['{marker}']", "model:", "  name: {_target_: pathlib.Path.touch}"]
    with contextlib.suppress(DlioError):
        _taken(take, folder, "\n".join(lines))
    evidence.equal(marker.exists(), False, what="call of what _target_ names")
    evidence.cover("attack", "class name")


def aliases_are_bounded(evidence: Recorder, take: Take, folder: Path) -> None:
    """Hold that aliases which would grow beyond all bounds are refused before they do."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    evidence.raises(ValueError, lambda: _taken(take, folder, "\n".join(lines)), naming=("limits",), what="alias bomb")
    evidence.cover("attack", "alias bomb")


def _taken(take: Take, folder: Path, text: str) -> None:
    (folder / "workload").mkdir(parents=True, exist_ok=True)
    (folder / "workload" / "attack.yaml").write_text(f"{text}\n", encoding="utf-8")
    take(folder)
