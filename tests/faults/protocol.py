"""The write protocol on a model of a disk that loses whatever it may.

The calls of one generation are recorded.  A crash may come after any of them.  What was forced to the device before is
there; of the rest, any part may be: of the data written to a file since its last fsync nothing, a torn part, zeros, or
all; of the names made, moved and removed in a folder since the folder's last fsync any subset.  An fsync of a file says
nothing about its name.

In every such state a final name must hold the whole file, and the manifest may be there only with all files that it
names.  Some states are put on a real file system and generation is restarted there.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from findings import Files, Finding, differences, files_below, is_final, make, tree

from dlio_benchmark.data_generator.manifest import MANIFEST
from dlio_benchmark.storage.posix import Posix

_MOST_PENDING = 10


class Op(NamedTuple):
    """A call that changed something: ``what`` was done to ``path``, with a second path or with data."""

    what: str
    path: str
    new: str = ""
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Recorded(Posix):
    """Calls that are made and written down, with paths below ``root``."""

    root: str = ""
    ops: list[Op] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)

    def _note(self, what: str, path: str, new: str = "", data: bytes = b"") -> None:
        self.ops.append(Op(what, os.path.relpath(path, self.root), new and os.path.relpath(new, self.root), data))

    def open(self, path: str, flags: int) -> int:
        """Open and note a file that is new."""
        if flags & os.O_CREAT and not os.path.exists(path):
            self._note("create", path)
        fd = os.open(path, flags, 0o644)
        self.paths[fd] = path
        return fd

    def write(self, fd: int, chunk: memoryview) -> int:
        """Write and note."""
        self._note("write", self.paths[fd], data=bytes(chunk))
        return os.write(fd, chunk)

    def fsync(self, fd: int) -> None:
        """Note; nothing here needs a device."""
        self._note("fsync", self.paths[fd])

    def rename(self, old: str, new: str) -> None:
        """Rename and note."""
        self._note("rename", old, new)
        os.replace(old, new)

    def unlink(self, path: str) -> None:
        """Remove and note."""
        os.unlink(path)
        self._note("unlink", path)

    def mkdir(self, path: str) -> None:
        """Make a folder and note."""
        os.mkdir(path)
        self._note("mkdir", path)


class Name(NamedTuple):
    """A change of the names in a folder: ``inode`` appears at ``path`` and leaves ``old``; no inode is a removal."""

    path: str
    inode: int | None
    old: str = ""
    folder: bool = False


@dataclass(slots=True)
class Disk:
    """What is on the device for sure, and what is on its way."""

    names: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"."})
    durable: dict[int, bytes] = field(default_factory=dict)
    written: dict[int, bytes] = field(default_factory=dict)
    pending: list[Name] = field(default_factory=list)
    live: dict[str, int] = field(default_factory=dict)

    def apply(self, op: Op) -> None:
        """Make a call."""
        getattr(self, f"_{op.what}")(op)

    def _create(self, op: Op) -> None:
        inode = len(self.written)
        self.live[op.path] = inode
        self.written[inode] = self.durable[inode] = b""
        self.pending.append(Name(op.path, inode))

    def _write(self, op: Op) -> None:
        self.written[self.live[op.path]] += op.data

    def _fsync(self, op: Op) -> None:
        if op.path in self.live:
            self.durable[self.live[op.path]] = self.written[self.live[op.path]]
            return
        for name in [name for name in self.pending if (os.path.dirname(name.path) or ".") == op.path]:
            _take(name, self.names, self.folders)
            self.pending.remove(name)

    def _rename(self, op: Op) -> None:
        inode = self.live.pop(op.path)
        self.live[op.new] = inode
        self.pending.append(Name(op.new, inode, op.path))

    def _unlink(self, op: Op) -> None:
        self.live.pop(op.path, None)
        self.pending.append(Name(op.path, None))

    def _mkdir(self, op: Op) -> None:
        self.pending.append(Name(op.path, None, folder=True))

    def states(self, dice: random.Random) -> Iterator[dict[str, bytes]]:
        """Yield the files that a crash now may leave, in every way; beyond a limit of pending names, a sample."""
        for chosen in self._choices(dice):
            names, folders = dict(self.names), set(self.folders)
            for name in chosen:
                _take(name, names, folders)
            reachable = {path: inode for path, inode in names.items() if _is_reachable(path, folders)}
            loose = sorted({inode for inode in reachable.values() if self.durable[inode] != self.written[inode]})
            for bodies in itertools.product(*(self._bodies(inode, dice) for inode in loose)):
                body = {**self.durable, **dict(zip(loose, bodies, strict=True))}
                yield {path: body[inode] for path, inode in reachable.items()}

    def _choices(self, dice: random.Random) -> Iterator[Sequence[Name]]:
        if len(self.pending) <= _MOST_PENDING:
            for keep in itertools.product((False, True), repeat=len(self.pending)):
                yield list(itertools.compress(self.pending, keep))
        else:
            for _ in range(2**_MOST_PENDING):
                yield [name for name in self.pending if dice.random() < 0.5]

    def _bodies(self, inode: int, dice: random.Random) -> list[bytes]:
        safe, new = self.durable[inode], self.written[inode][len(self.durable[inode]) :]
        torn = new[: dice.randrange(len(new))]
        return [safe, safe + torn, safe + torn + bytes(len(new) - len(torn)), safe + new]


def _take(name: Name, names: dict[str, int], folders: set[str]) -> None:
    if name.folder:
        folders.add(name.path)
        return
    if name.old and names.get(name.old) == name.inode:
        del names[name.old]
    if name.inode is None:
        names.pop(name.path, None)
    else:
        names[name.path] = name.inode


def _is_reachable(path: str, folders: set[str]) -> bool:
    folder = os.path.dirname(path)
    return not folder or (folder in folders and _is_reachable(folder, folders))


def recorded(root: str) -> list[Op]:
    """Return the calls of a generation below ``root``, which exists."""
    os.makedirs(root)
    calls = Recorded(root)
    make(root, tree(), calls=calls)
    return calls.ops


def wrong_with(state: Files, whole: Files) -> list[str]:
    """Return how a state of the disk breaks the promise."""
    found = [f"{path} is not whole" for path, body in state.items() if path in whole and body != whole[path]]
    found += [f"{path} is no file of the data set" for path in state if is_final(path) and path not in whole]
    if MANIFEST in state:
        found += [f"the manifest is there and {path} is not" for path in whole if path not in state]
    return found


def crash_states(ops: Sequence[Op], dice: random.Random) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield (calls made, files left) for every crash of a recorded generation."""
    disk = Disk()
    for number, op in enumerate(ops):
        disk.apply(op)
        for state in disk.states(dice):
            yield number + 1, state


def _without_file_fsync(ops: Sequence[Op]) -> list[Op]:
    folders = {"."} | {op.path for op in ops if op.what == "mkdir"}
    return [op for op in ops if op.what != "fsync" or op.path in folders]


def _without_folder_fsync(ops: Sequence[Op]) -> list[Op]:
    folders = {"."} | {op.path for op in ops if op.what == "mkdir"}
    return [op for op in ops if op.what != "fsync" or op.path not in folders]


def _without_new_folder_fsync(ops: Sequence[Op]) -> list[Op]:
    """Leave out the fsync of the folder above after a new folder, and those before the manifest."""
    made = [number for number, op in enumerate(ops) if op.what == "mkdir"]
    return [
        op for number, op in enumerate(ops) if number - 1 not in made and not (op.what == "fsync" and op.path == ".")
    ]


def _rename_first(ops: Sequence[Op]) -> list[Op]:
    """Rename each file before it is forced to the device."""
    out: list[Op] = []
    for op in ops:
        if op.what == "rename":
            last = max(n for n, one in enumerate(out) if one.what == "fsync" and one.path == op.path)
            forced = out.pop(last)
            out += [op, forced._replace(path=op.new)]
        else:
            out.append(op)
    return out


def _manifest_first(ops: Sequence[Op]) -> list[Op]:
    mine = {op.path for op in ops if op.what == "rename" and op.new == MANIFEST} | {MANIFEST}
    last = max(n for n, op in enumerate(ops) if op.what == "rename" and op.new == MANIFEST)
    about = [op for op in ops if op.path in mine] + [ops[last + 1]]
    return [*about, *(op for op in ops if op.path not in mine)]


def _written_in_place(ops: Sequence[Op]) -> list[Op]:
    """Write each file under its final name at once."""
    final = {op.path: op.new for op in ops if op.what == "rename"}
    return [op._replace(path=final.get(op.path, op.path)) for op in ops if op.what not in ("rename", "unlink")]


SABOTEURS: Mapping[str, Callable[[Sequence[Op]], list[Op]]] = {
    "files are not forced to the device": _without_file_fsync,
    "folders are not forced to the device": _without_folder_fsync,
    "new folders are not forced to the device": _without_new_folder_fsync,
    "files are renamed before they are forced": _rename_first,
    "the manifest is written first": _manifest_first,
    "files are written under their final names": _written_in_place,
}


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what all crash states showed, and restarts from ``many`` of them."""
    dice, found = random.Random(seed), Finding()
    root = os.path.join(folder, "recorded")
    ops = recorded(root)
    whole = files_below(root)
    seen: dict[frozenset[tuple[str, bytes]], dict[str, bytes]] = {}
    for number, state in crash_states(ops, dice):
        found.count("crash states")
        for text in wrong_with(state, whole):
            found.wrong(f"after call {number}: {text}")
        seen.setdefault(frozenset(state.items()), state)
    found.count("calls", len(ops))
    found.count("different states", len(seen))
    for state in dice.sample(list(seen.values()), min(many, len(seen))):
        _restart(os.path.join(folder, "restarted"), state, whole, found)
    for name, spoil in SABOTEURS.items():
        caught = any(wrong_with(state, whole) for _, state in crash_states(spoil(ops), dice))
        found.count("saboteurs caught", caught)
        if not caught:
            found.wrong(f"the model does not see that {name}")
    return found


def _restart(root: str, state: Files, whole: Files, found: Finding) -> None:
    for path, body in state.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(body)
    make(root, tree())
    found.count("restarts")
    for path in differences(root, whole):
        found.wrong(f"after a restart {path} differs from an undisturbed run")
    shutil.rmtree(root)
