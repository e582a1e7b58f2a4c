"""Generation: every rank writes its files, and the manifest follows when all are whole.

A restart keeps the files that an earlier attempt's journal names and whose content still has the digest noted
there; everything else is written again.  A data set that lost files is a generation that begins anew with all others
proven.  Since content depends on the configuration alone, a data set that was
interrupted any number of times ends with the same bytes as one that was not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from dlio_benchmark.comm import Comm
from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.columns import mean_columns
from dlio_benchmark.config.model import Dataset, Workload
from dlio_benchmark.config.shape import CONTENT_VERSION, SPLIT_KEYS, differences
from dlio_benchmark.data_generator.manifest import (
    JOURNAL,
    FileEntry,
    Journal,
    Manifest,
    begin,
    begun,
    file_digests,
    journalled,
    load,
    reopen,
    save,
    stamp_of,
)
from dlio_benchmark.engine.agree import at_length, everywhere, on_root
from dlio_benchmark.engine.beside import Stop, StoppableOutputs, beside
from dlio_benchmark.errors import CannotCreateError, DataSetMismatchError, Issue, listed
from dlio_benchmark.parquet.encode_schema import row_bits
from dlio_benchmark.plan.generation import FileWritten, PlannedFile, written_by
from dlio_benchmark.plan.layout import Layout
from dlio_benchmark.plan.world import World
from dlio_benchmark.storage.base import Outputs
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.lock import locked
from dlio_benchmark.storage.output import PARTIAL

_OVERHEAD = 1.02


class Writer(Protocol):
    """Writes the files of one data set."""

    def parts(self, file: PlannedFile) -> list[PlannedFile]:
        """Return the files that a logical file consists of: itself, or one per partition with rows in it."""

    def write(self, file: PlannedFile, storage: Outputs) -> FileWritten:
        """Write a file and return what was written; its name appears only when it is whole.

        Several threads may write files at once.
        """


class Progress(Protocol):
    """Hears of work as it is done."""

    def advance(self, files: int, stored_bytes: int) -> None:
        """Count work that was done."""


Check = Callable[[Sequence[FileEntry]], None]


@dataclass(frozen=True, slots=True)
class Generated:
    """What a generation did, over all ranks; ``seconds`` is the time of writing, without checks."""

    files: int
    files_kept: int
    rows: int
    bytes: int
    seconds: float


def data_root(tree: Mapping[str, Any]) -> str:
    """Return the folder of the data set that a workload's tree names; an absolute data_folder stands alone."""
    storage, dataset = tree.get("storage") or {}, tree.get("dataset") or {}
    return os.path.join(str(storage.get("storage_root", "./")), str(dataset.get("data_folder", "./data/")))


def layouts(dataset: Dataset) -> tuple[Layout, ...]:
    """Return the layouts of the training and the evaluation files that a configuration names."""
    extension = dataset.format.value
    generated = dataset.num_files_generated or dataset.num_files_train
    return (
        Layout(DatasetType.TRAIN, generated, dataset.file_prefix, extension, dataset.num_subfolders_train),
        Layout(DatasetType.VALID, dataset.num_files_eval, dataset.file_prefix, extension, dataset.num_subfolders_eval),
    )


def planned_files(dataset: Dataset, world: World) -> Iterator[PlannedFile]:
    """Yield the files that this rank writes: every ``size``-th of the training files followed by the others."""
    train, valid = layouts(dataset)
    for number in written_by(train.files + valid.files, world):
        layout, index = (train, number) if number < train.files else (valid, number - train.files)
        yield PlannedFile(layout.split, index, layout.path(index), dataset.num_samples_per_file)


def generate(
    workload: Workload,
    storage: LocalStorage,
    comm: Comm,
    *,
    writer: Writer,
    progress: Progress,
    check: Check | None = None,
    files_at_once: int = 1,
) -> Generated:
    """Write the data set of ``workload`` below the storage's root, and its manifest at the end.

    ``check`` is called on every rank with the files that it wrote, after the last is written and before the manifest
    is; what it raises on a rank leaves the data set unfinished.  A rank writes ``files_at_once`` files at a time.

    Raises:
        DataSetMismatchError: if the folder holds another data set, or files that are not of this one.
        LockHeldError: if another job is generating there.
        CannotCreateError: if there is not enough space, or no permission.
    """
    start = time.monotonic()
    with ExitStack() as stack:
        take = partial(locked, storage.root, storage.calls)
        on_root(comm, "lock of the data folder", lambda: bool(stack.enter_context(take())))
        job = _Job(workload, storage, comm, writer, progress, files_at_once)
        existing = on_root(comm, "state of the data folder", job.existing)
        if existing is not None:
            return Generated(len(existing), len(existing), *_totals(existing), time.monotonic() - start)
        kept, written = job.run()
        seconds = time.monotonic() - start
        if check is not None:
            at_length(comm, "check of the files written", lambda: check(written))
        entries = [entry for both in comm.gather((kept, written), "files written") for part in both for entry in part]
        on_root(comm, "manifest", lambda: job.finish(entries))
        files_kept = sum(comm.gather(len(kept), "files kept"))
        return Generated(len(entries), files_kept, *_totals(entries), seconds)


def _totals(entries: Iterable[FileEntry]) -> tuple[int, int]:
    entries = list(entries)
    return sum(entry.rows for entry in entries), sum(entry.bytes for entry in entries)


@dataclass(frozen=True, slots=True)
class _Job:
    workload: Workload
    storage: LocalStorage
    comm: Comm
    writer: Writer
    progress: Progress
    files_at_once: int = 1

    def existing(self) -> list[FileEntry] | None:
        """Look at the folder: return the files of a complete data set of this configuration, None for work to do."""
        manifest = load(self.storage)
        if manifest is not None:
            entries = list(manifest.entries())
            self._refuse_other(manifest, entries)
            if all(self.storage.size(entry.path) == entry.bytes for entry in self.comm.pulse.over(entries)):
                self._tidy_up()
                return entries
            reopen(self.storage, manifest, self.workload, self.comm.pulse.beat)
        unfinished = begun(self.storage)
        if unfinished is None:
            self._refuse_foreign()
        else:
            self._refuse_unfinished(unfinished)
        self._sweep()
        self._room()
        begin(self.storage, self.workload)
        return None

    def _refuse_other(self, manifest: Manifest, entries: Sequence[FileEntry]) -> None:
        issues: list[Issue | str] = [*differences(manifest.workload, self.workload)]
        if manifest.content != CONTENT_VERSION:
            issues.append(f"generator: the data set has content version {manifest.content}, this is {CONTENT_VERSION}")
        for layout in layouts(self.workload.dataset):
            have = len({entry.index for entry in entries if entry.split == layout.split.value})
            if have != layout.files:
                key = _count_key(self.workload.dataset, layout)
                issues.append(f"{key}: the data set has {have} files, the configuration wants {layout.files}")
        self._refuse("another data set", issues)

    def _refuse_unfinished(self, unfinished: Workload) -> None:
        issues: list[Issue | str] = [*differences(unfinished, self.workload)]
        for have, want in zip(layouts(unfinished.dataset), layouts(self.workload.dataset), strict=True):
            if have.files != want.files:
                key = _count_key(self.workload.dataset, want)
                issues.append(f"{key}: {have.files} files were begun, the configuration wants {want.files}")
        self._refuse("an unfinished data set of another configuration", issues)

    def _refuse(self, what: str, issues: Sequence[Issue | str]) -> None:
        if issues:
            remedy = "remedy: choose another dataset.data_folder, or remove that one"
            raise DataSetMismatchError(listed(f"{self.storage.root} holds {what}", [*issues, remedy]))

    def _refuse_foreign(self) -> None:
        for layout in layouts(self.workload.dataset):
            for path in self.storage.list(layout.split.value):
                msg = (
                    f"{self.storage.root}/{path} is in the way: the folder has files but no manifest; "
                    "choose another dataset.data_folder, or remove them"
                )
                raise DataSetMismatchError(msg)

    def _tidy_up(self) -> None:
        """Finish what a generation could not do after it wrote the manifest."""
        if next(self.storage.list(JOURNAL), None) is not None:
            self._sweep()
            self.storage.delete(JOURNAL, self.comm.pulse.beat)

    def _sweep(self) -> None:
        for path in list(self.comm.pulse.over(self.storage.list("."))):
            if path.endswith(PARTIAL):
                self.storage.delete(path)

    def _room(self) -> None:
        dataset = self.workload.dataset
        rows = sum(layout.files for layout in layouts(dataset)) * dataset.num_samples_per_file
        stored = [column for column in mean_columns(dataset) if column.name != dataset.parquet.partition_by]
        need = rows * sum(map(row_bits, stored)) // 8
        need = int(need * _OVERHEAD * (1 - dataset.parquet.compressibility * bool(dataset.compression.value != "none")))
        have = sum(
            entry.bytes for entry in journalled(self.storage, stamp_of(self.workload), self.comm.pulse.beat).values()
        )
        free = self.storage.free_bytes()
        if need - have > free:
            msg = f"{self.storage.root}: about {need - have} bytes are to be written, {free} bytes are free there"
            raise CannotCreateError(msg)

    def run(self) -> tuple[list[FileEntry], list[FileEntry]]:
        """Write this rank's files and return (kept, written)."""
        stamp = stamp_of(self.workload)
        proven: dict[str, FileEntry] = {}

        def recall() -> None:
            proven.update(journalled(self.storage, stamp, self.comm.pulse.beat))

        everywhere(self.comm, "journals of earlier attempts", recall)
        kept: list[FileEntry] = []
        written: list[FileEntry] = []

        stop = Stop()
        outputs = StoppableOutputs(self.storage, stop)

        def write_share() -> None:
            with closing(Journal(self.storage, self.comm.world.rank, stamp)) as journal:
                make = partial(self._made, proven, journal, outputs)
                jobs = (partial(make, file) for file in planned_files(self.workload.dataset, self.comm.world))
                with closing(beside(jobs, self.files_at_once, stop)) as results:
                    for parts in results:
                        for entry, is_new in parts:
                            (written if is_new else kept).append(entry)
                        self.progress.advance(1, sum(entry.bytes for entry, _ in parts))

        at_length(self.comm, "generation", write_share)
        return kept, written

    def _made(
        self, proven: Mapping[str, FileEntry], journal: Journal, outputs: Outputs, file: PlannedFile
    ) -> list[tuple[FileEntry, bool]]:
        """Return the files that a logical file consists of, each with whether it was written now."""
        made = []
        for part in self.writer.parts(file):
            entry = self._proven(part, proven.get(part.path))
            made.append((entry or self._written(part, journal, outputs), entry is None))
        return made

    def _proven(self, file: PlannedFile, entry: FileEntry | None) -> FileEntry | None:
        if entry is None or self.storage.size(file.path) != entry.bytes:
            return None
        found = file_digests(self.storage, file.path, entry.footer_bytes + 8, self.comm.pulse.beat)
        return entry if found == (entry.digest, entry.footer_digest) else None

    def _written(self, file: PlannedFile, journal: Journal, outputs: Outputs) -> FileEntry:
        got = self.writer.write(file, outputs)
        entry = FileEntry(
            file.split.value,
            file.index,
            got.path,
            got.rows,
            got.bytes,
            got.footer_bytes,
            got.row_groups,
            got.digest,
            got.footer_digest,
        )
        journal.add(entry)
        return entry

    def finish(self, entries: Sequence[FileEntry]) -> None:
        """Write the manifest once every name that it holds is on the device, then remove the journals."""
        for layout in layouts(self.workload.dataset):
            self.storage.make_folder(layout.split.value)
        self.storage.sync((entry.path for entry in entries), self.comm.pulse.beat)
        save(self.storage, self.workload, entries)
        self.storage.delete(JOURNAL, self.comm.pulse.beat)


def _count_key(dataset: Dataset, layout: Layout) -> str:
    if layout.split is DatasetType.TRAIN and dataset.num_files_generated:
        return "dataset.num_files_generated"
    return SPLIT_KEYS[layout.split]


__all__ = ["Check", "Generated", "Progress", "Writer", "data_root", "generate", "layouts", "planned_files"]
