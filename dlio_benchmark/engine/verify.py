"""Verification of a data set: every file against the manifest, and every value against the function it came from.

Nothing here is timed for the metrics.  Files are shared out over the ranks; each is read once for its digests and once
through the reader with page checksums on, and its rows are made again and compared.  What a rank has just written it
reads back for the digests alone, after it has asked the kernel to forget it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dlio_benchmark.batch import Block
from dlio_benchmark.comm import Comm
from dlio_benchmark.common.enumerations import DatasetType, ReadMode
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.data_generator.manifest import MANIFEST, FileEntry, Manifest, file_digests, load
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles, files_of
from dlio_benchmark.engine.agree import at_length, on_root
from dlio_benchmark.engine.dataset import check_shape
from dlio_benchmark.engine.generate import layouts
from dlio_benchmark.errors import DataError, DataMissingError, listed
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage import cache
from dlio_benchmark.storage.base import Storage
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.synth import as_values, to_arrow
from dlio_benchmark.values import as_arrow

_SHOWN = 20
_Beat = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """How much of a data set was found to be as it should be."""

    files: int
    rows: int
    bytes: int

    def text(self) -> str:
        """Return the finding in a sentence."""
        return f"Verified: {self.files} files, {self.rows} rows, {self.bytes} bytes are as the manifest says"


def verify(
    workload: Workload,
    storage: LocalStorage,
    comm: Comm,
    *,
    values: bool = True,
    advance: Callable[[int, int], None] = lambda _files, _bytes: None,
) -> Verified:
    """Compare a data set with its manifest and, with ``values``, with its regenerated rows.

    Raises:
        DataMissingError: if there is no manifest.
        DataError: naming every file that differs, and in what.
    """
    comm.pulse.stage = "verify"
    manifest = on_root(comm, "manifest", lambda: _manifest(storage))
    on_root(comm, "data set against configuration", lambda: check_shape(manifest, workload, storage.root))
    entries = list(manifest.entries())
    mine = entries[comm.world.rank :: comm.world.size]

    def look() -> list[str]:
        found: list[str] = []
        for entry in mine:
            found.extend(_wrong_with(entry, manifest, storage, values=values, beat=comm.pulse.beat))
            advance(1, entry.bytes)
        return found

    wrong = [text for part in at_length(comm, "verification", look) for text in part]
    _refuse_wrong("the data set is damaged", wrong, storage)
    return Verified(len(entries), sum(entry.rows for entry in entries), sum(entry.bytes for entry in entries))


def read_back(
    storage: LocalStorage,
    entries: Sequence[FileEntry],
    advance: Callable[[int, int], None] = lambda _files, _bytes: None,
    beat: _Beat = lambda _bytes: None,
) -> None:
    """Compare files that were just written with what was written; ``beat`` hears of each piece that is read.

    Raises:
        DataError: naming every file that differs, and in what.
    """
    wrong: list[str] = []
    for entry in entries:
        cache.evict([os.path.join(storage.root, entry.path)])
        wrong.extend(_wrong_bytes(entry, storage, beat))
        advance(1, entry.bytes)
    _refuse_wrong("what was written is not what can be read", wrong, storage)


def _refuse_wrong(what: str, wrong: Sequence[str], storage: LocalStorage) -> None:
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        remedy = "remedy: look after the storage, remove these files, and generate again; all others are kept"
        raise DataError(listed(f"{storage.root}: {what}", [*wrong[:_SHOWN], *more, remedy]))


def _manifest(storage: Storage) -> Manifest:
    manifest = load(storage)
    if manifest is None:
        msg = f"no {MANIFEST} in the data folder: there is nothing to verify against"
        raise DataMissingError(msg)
    return manifest


def _wrong_with(entry: FileEntry, manifest: Manifest, storage: Storage, *, values: bool, beat: _Beat) -> Iterator[str]:
    yield from _wrong_bytes(entry, storage, beat)
    if values and storage.size(entry.path) is not None:
        try:
            yield from _wrong_values(entry, manifest, storage, beat)
        except DataError as error:
            yield str(error)


def _wrong_bytes(entry: FileEntry, storage: Storage, beat: _Beat) -> Iterator[str]:
    size = storage.size(entry.path)
    if size is None:
        yield f"{entry.path}: no such file"
        return
    if size != entry.bytes:
        yield f"{entry.path}: {size} bytes, the manifest says {entry.bytes}"
    whole, footer = file_digests(storage, entry.path, entry.footer_bytes + 8, beat)
    if footer != entry.footer_digest:
        yield f"{entry.path}: the footer has digest {footer}, the manifest says {entry.footer_digest}"
    elif whole != entry.digest:
        yield f"{entry.path}: the file has digest {whole}, the manifest says {entry.digest}"


def _wrong_values(entry: FileEntry, manifest: Manifest, storage: Storage, beat: _Beat) -> Iterator[str]:
    """Yield each column of a file whose values are not the ones that the generator makes, with the first such row."""
    files = files_of(manifest.workload, DatasetType(entry.split), entry.index)
    part = _part(entry, manifest, files)
    columns, made = files.columns_of(part), files.rows_of(part)
    reader = ParquetRows(
        storage, [replace(one, read=True) for one in columns], ReadMode.ROW_GROUP, verify_checksums=True
    )
    file = reader.open(entry.path)
    try:
        start = 0
        for index in range(len(file.shapes)):
            block = file.read(index).block
            for column, rows in zip(columns, made, strict=True):
                wanted = as_values(column, rows.payload(start, start + block.rows), block.rows)
                at = _first_difference(block, column, wanted)
                if at is not None:
                    yield f"{entry.path}: row {start + at} of column {column.name!r} is not what was generated"
            start += block.rows
            beat(block.rows)
    finally:
        file.close()


def _part(entry: FileEntry, manifest: Manifest, files: ParquetFiles) -> PlannedFile:
    layout = layouts(manifest.workload.dataset)[0 if entry.split == DatasetType.TRAIN.value else 1]
    rows = manifest.workload.dataset.num_samples_per_file
    whole = PlannedFile(DatasetType(entry.split), entry.index, layout.path(entry.index), rows)
    column = manifest.workload.dataset.parquet.partition_by
    parts = [whole] if column is None else files.parts(whole, column)
    part = next((part for part in parts if part.path == entry.path), None)
    if part is None:
        msg = f"{entry.path}: the configuration of the data set makes no such file"
        raise DataError(msg)
    return part


def _first_difference(block: Block, column: Column, wanted: Any) -> int | None:
    got = block.columns[column.name]
    if isinstance(got, np.ndarray):
        same = np.asarray(got == wanted)
        rows = same if same.ndim == 1 else same.all(axis=1)
    else:
        import pyarrow.compute as pc  # noqa: PLC0415

        rows = np.asarray(pc.equal(pc.cast(as_arrow(got), to_arrow(column, wanted).type), to_arrow(column, wanted)))
    return None if rows.all() else int(np.argmin(rows))
