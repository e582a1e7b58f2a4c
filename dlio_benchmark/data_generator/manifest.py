"""What a data set is, written beside it once it is complete.

``dlio_manifest.json`` names the configuration that shaped the data and the table of the files; it is the last
thing that generation writes.  ``dlio_manifest.table`` is that table: number, path, rows, size and digests of every
file.  While generation is under way, ``.dlio_journal/`` says what is being generated, and a journal per rank there
which files are complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from dlio_benchmark import __version__
from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Workload
from dlio_benchmark.config.shape import CONTENT_VERSION, SPLIT_KEYS, shape_of, with_defaults
from dlio_benchmark.errors import ConfigError, DataError, DlioError
from dlio_benchmark.storage.base import Storage
from dlio_benchmark.storage.local import LocalStorage

MANIFEST = "dlio_manifest.json"
TABLE = "dlio_manifest.table"
JOURNAL = ".dlio_journal"
FORMAT = "dlio-data-set"
VERSION = 1
_PLAN = f"{JOURNAL}/plan.json"
_LINES = ".jsonl"
_CHUNK = 8 * 2**20


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A complete file: ``split`` and ``index`` say which, ``path`` is relative to the data set."""

    split: str
    index: int
    path: str
    rows: int
    bytes: int
    footer_bytes: int
    row_groups: int
    digest: str
    footer_digest: str


_SCHEMA = pa.schema(
    [
        ("split", pa.dictionary(pa.int8(), pa.string())),
        ("index", pa.int64()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("footer_bytes", pa.int64()),
        ("row_groups", pa.int64()),
        ("digest", pa.string()),
        ("footer_digest", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A complete data set: what shaped it, and its files ordered by split, number and path."""

    shape: Mapping[str, Any]
    content: int
    generator: str
    files: pa.Table

    @property
    def workload(self) -> Workload:
        """The configuration that shaped the data, everything else at its default."""
        return _described(self.shape, self.counts)

    def count(self, split: DatasetType) -> int:
        """Return the number of logical files of a split."""
        mine = self.of(split)
        return int(mine["index"][-1].as_py()) + 1 if mine.num_rows else 0

    def of(self, split: DatasetType) -> pa.Table:
        """Return the files of a split, ordered by number and path."""
        return _of(self.files, split.value)

    @property
    def counts(self) -> dict[str, int]:
        """The number of logical files of each split, by the key that configures it."""
        return {key: self.count(split) for split, key in SPLIT_KEYS.items()}

    def entries(self) -> Iterator[FileEntry]:
        """Yield every file."""
        for batch in self.files.to_batches():
            for row in batch.to_pylist():
                yield FileEntry(**row)


def _of(files: pa.Table, split: str) -> pa.Table:
    mine = np.flatnonzero(np.asarray(files["split"]) == split)
    return files.slice(mine[0], len(mine)) if len(mine) else files.slice(0, 0)


def _described(shape: Mapping[str, Any], counts: Mapping[str, int]) -> Workload:
    flow = {"workflow": {"train": False}}
    try:
        return decode(with_defaults(with_defaults(flow, counts), shape)).workload
    except ConfigError as error:
        raise _damaged("the description of the data set", error) from error


def digest_of(chunks: Iterable[bytes | memoryview]) -> str:
    """Return the 128-bit xxh3 digest of a stream, as 32 hexadecimal digits."""
    state = xxhash.xxh3_128()
    for chunk in chunks:
        state.update(chunk)
    return state.hexdigest()


def file_digests(
    storage: Storage, path: str, footer_bytes: int, beat: Callable[[int], None] = lambda _bytes: None
) -> tuple[str, str]:
    """Return the digests of a file and of its last ``footer_bytes`` bytes, read in pieces; ``beat`` hears of each."""
    file = storage.open_input(path)
    try:
        tail = bytearray(min(footer_bytes, file.size))
        file.pread(file.size - len(tail), memoryview(tail))
        return digest_of(_pieces(file, beat)), digest_of([bytes(tail)])
    finally:
        file.close()


def _pieces(file: Any, beat: Callable[[int], None]) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_CHUNK))
    at = 0
    while got := file.pread(at, buffer):
        yield buffer[:got]
        at += got
        beat(got)


def table_of(entries: Iterable[FileEntry]) -> pa.Table:
    """Return the table of ``entries``, ordered by split, number and path."""
    rows = sorted(entries, key=lambda entry: (entry.split, entry.index, entry.path))
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=_SCHEMA)


def save(storage: Storage, workload: Workload, entries: Iterable[FileEntry]) -> None:
    """Write the table of the files and then the manifest that names it."""
    table = table_of(entries)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    body = sink.getvalue()
    with storage.open_output(TABLE) as out:
        out.write(memoryview(body))
    splits = {split.value: of for split in SPLIT_KEYS if (of := _of(table, split.value)).num_rows}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "generator": f"dlio_benchmark {__version__}",
        "content": CONTENT_VERSION,
        "shape": shape_of(workload),
        "splits": {
            split: {
                "files": int(np.count_nonzero(np.diff(np.asarray(of["index"]), prepend=-1))),
                "rows": int(np.asarray(of["rows"]).sum()),
                "bytes": int(np.asarray(of["bytes"]).sum()),
            }
            for split, of in splits.items()
        },
        "files": {"path": TABLE, "rows": table.num_rows, "digest": digest_of([memoryview(body)])},
    }
    with storage.open_output(MANIFEST) as out:
        out.write(json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False).encode())


def load(storage: Storage) -> Manifest | None:
    """Return the manifest of a data set, or None if there is none.

    Raises:
        DataError: if the manifest or its table is damaged, or of a version that is not known here.
    """
    if storage.size(MANIFEST) is None:
        return None
    try:
        parsed = json.loads(_whole(storage, MANIFEST))
        if parsed["format"] != FORMAT or parsed["version"] != VERSION:
            msg = f"{MANIFEST}: format {parsed['format']!r} version {parsed['version']!r} is not known here"
            raise DataError(msg)
        return Manifest(parsed["shape"], parsed["content"], parsed["generator"], _table(storage, parsed["files"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DlioError):
            raise
        raise _damaged(MANIFEST, error) from error


def _table(storage: Storage, named: Mapping[str, Any]) -> pa.Table:
    body = _whole(storage, TABLE)
    if digest_of([body]) != named["digest"]:
        raise _damaged(TABLE, ValueError(f"it is not the table of files that {MANIFEST} names"))
    table = pq.ParquetFile(pa.BufferReader(body)).read()
    if table.schema != _SCHEMA:
        raise _damaged(TABLE, ValueError(f"its columns are {', '.join(table.schema.names)}"))
    return table


def _whole(storage: Storage, path: str) -> bytes:
    file = storage.open_input(path)
    try:
        body = bytearray(file.size)
        file.pread(0, memoryview(body))
        return bytes(body)
    finally:
        file.close()


class Journal:
    """The files that a rank has completed so far, one line each; readable after a crash at any moment.

    Several threads may add files at once.
    """

    def __init__(self, storage: LocalStorage, rank: int, stamp: str) -> None:
        self._file = storage.open_growing(f"{JOURNAL}/{os.getpid()}-{rank}{_LINES}")
        self._stamp = stamp
        self._lock = threading.Lock()

    def add(self, entry: FileEntry) -> None:
        """Record a file that has its final name."""
        line = json.dumps({"stamp": self._stamp, **asdict(entry)}, ensure_ascii=False)
        with self._lock:
            self._file.add(f"\n{line}\n".encode())

    def close(self) -> None:
        """Close the journal."""
        self._file.close()


def begun(storage: Storage) -> Workload | None:
    """Return the configuration of the generation that is unfinished in the folder, or None if there is none.

    Raises:
        DataError: if what was noted of it is damaged.
    """
    if storage.size(_PLAN) is None:
        return None
    try:
        noted = json.loads(_whole(storage, _PLAN))
        return _described(noted["shape"], noted["files"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(_PLAN, error) from error


def begin(storage: Storage, workload: Workload) -> None:
    """Note which data set is being generated."""
    counts = dict(zip(SPLIT_KEYS.values(), _counts(workload), strict=True))
    noted = {"content": CONTENT_VERSION, "shape": shape_of(workload), "files": counts}
    with storage.open_output(_PLAN) as out:
        out.write(json.dumps(noted, ensure_ascii=False, allow_nan=False).encode())


def reopen(
    storage: LocalStorage, manifest: Manifest, workload: Workload, beat: Callable[[int], None] = lambda _files: None
) -> None:
    """Turn a complete data set into an unfinished one: what the manifest proves goes into a journal."""
    begin(storage, workload)
    journal = Journal(storage, 0, stamp_of(workload))
    try:
        for entry in manifest.entries():
            journal.add(entry)
            beat(1)
    finally:
        journal.close()
    storage.delete(MANIFEST)


def journalled(storage: Storage, stamp: str, beat: Callable[[int], None] = lambda _lines: None) -> dict[str, FileEntry]:
    """Return the files, by path, that earlier attempts with the same ``stamp`` completed."""
    found: dict[str, FileEntry] = {}
    for path in storage.list(JOURNAL):
        if not path.endswith(_LINES):
            continue
        for line in _whole(storage, path).splitlines():
            beat(1)
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):  # torn by the end of its writer
                parsed = json.loads(line)
                if parsed.pop("stamp") == stamp:
                    found[parsed["path"]] = FileEntry(**parsed)
    return found


def stamp_of(workload: Workload) -> str:
    """Return a short text that two workloads share exactly if they make the same files."""
    shape = {"content": CONTENT_VERSION, **shape_of(workload)}
    return digest_of([json.dumps([shape, _counts(workload)], sort_keys=True).encode()])


def _counts(workload: Workload) -> tuple[int, int]:
    """Return the files that exist of each split."""
    dataset = workload.dataset
    return dataset.num_files_generated or dataset.num_files_train, dataset.num_files_eval


def _damaged(name: str, error: Exception) -> DataError:
    found = f"{type(error).__name__}: {error}"
    return DataError(f"{name}: damaged ({found}); remedy: remove the data set's folder and generate it again")
