"""Wrong writers: each spoils one thing and writes everything else as the product's writer does."""

from __future__ import annotations

import io
import posixpath
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from dlio_benchmark.common.enumerations import ColumnType, Compression
from dlio_benchmark.config.model import Workload
from dlio_benchmark.data_generator.parquet_generator import ParquetWriter
from dlio_benchmark.engine.generate import Writer
from dlio_benchmark.plan.generation import FileWritten, PlannedFile
from dlio_benchmark.plan.world import World
from dlio_benchmark.storage.base import OutputFile, Outputs
from dlio_benchmark.storage.memory import MemoryStorage


def product_writer(workload: Workload, world: World) -> Writer:  # noqa: ARG001 - what is written depends on no rank
    """Return the product's own writer."""
    return ParquetWriter(workload, 0, lambda _bytes: None)


def product_writer_with(threads: int) -> MakeWriter:
    """Return the product's own writer with so many threads for the pages of a file."""
    return lambda workload, _world: ParquetWriter(workload, threads, lambda _bytes: None)


class WrongWriter:
    """A writer that passes everything on; wrong ones change the workload, or what is written."""

    def __init__(self, workload: Workload, world: World) -> None:
        self.world = world
        self.workload = self.altered(workload)
        self.inner = product_writer(self.workload, world)

    def altered(self, workload: Workload) -> Workload:
        """Return the workload that is followed instead."""
        return workload

    def parts(self, file: PlannedFile) -> list[PlannedFile]:
        """Return the files that a logical file consists of."""
        return self.inner.parts(file)

    def write(self, file: PlannedFile, storage: Outputs) -> FileWritten:
        """Write a file."""
        return self.inner.write(file, storage)


def _with(workload: Workload, *, parquet: Mapping[str, Any] | None = None, **dataset: Any) -> Workload:
    section = replace(workload.dataset.parquet, **(parquet or {}))
    return replace(workload, dataset=replace(workload.dataset, parquet=section, **dataset))


# -- followed another configuration ---------------------------------------------------------------------------------
class _Follows(WrongWriter):
    follow: Callable[[WrongWriter, Workload], Workload]

    def altered(self, workload: Workload) -> Workload:
        return type(self).follow(self, workload)


def _following(name: str, follow: Callable[[WrongWriter, Workload], Workload]) -> type[_Follows]:
    return type(name, (_Follows,), {"follow": staticmethod(follow), "__module__": __name__})


def _no_codec(_: WrongWriter, workload: Workload) -> Workload:
    return _with(workload, compression=Compression.NONE, compression_level=None)


def _snappy_for_lz4(_: WrongWriter, workload: Workload) -> Workload:
    lz4 = workload.dataset.compression is Compression.LZ4
    return _with(workload, compression=Compression.SNAPPY) if lz4 else workload


def _one_group(_: WrongWriter, workload: Workload) -> Workload:
    return _with(workload, parquet={"row_group_size": max(1, workload.dataset.num_samples_per_file)})


def _group_per_batch(_: WrongWriter, workload: Workload) -> Workload:
    size = workload.dataset.parquet.row_group_size
    return _with(workload, parquet={"row_group_size": size - size // 3 if size > 2 else size + 1})


def _group_one_short(_: WrongWriter, workload: Workload) -> Workload:
    size = workload.dataset.parquet.row_group_size
    return _with(workload, parquet={"row_group_size": size - 1 if size > 1 else size + 1})


def _retyped(found: ColumnType, written: ColumnType) -> Callable[[WrongWriter, Workload], Workload]:
    def follow(_: WrongWriter, workload: Workload) -> Workload:
        columns = workload.dataset.parquet.columns
        changed = tuple(replace(c, dtype=written) if c.dtype is found else c for c in columns)
        return _with(workload, parquet={"columns": changed})

    return follow


def _any_seed(_: WrongWriter, workload: Workload) -> Workload:
    return _with(workload, seed=secrets.randbits(31))


def _seed_of_rank(writer: WrongWriter, workload: Workload) -> Workload:
    return _with(workload, seed=workload.dataset.seed + writer.world.rank)


# -- spoiled what was written ---------------------------------------------------------------------------------------
class _Rewrites(WrongWriter):
    """Writes each file, reads it back, and writes it again spoiled."""

    respoil: Callable[[WrongWriter, pa.Table], bytes]

    def write(self, file: PlannedFile, storage: Outputs) -> FileWritten:
        aside = MemoryStorage()
        written = self.inner.write(file, aside)
        body = type(self).respoil(self, pq.read_table(io.BytesIO(aside.files[file.path])))
        with storage.open_output(file.path) as out:
            out.write(body)
        tail = body[-8 - int.from_bytes(body[-8:-4], "little") :]
        return replace(
            written,
            bytes=len(body),
            footer_bytes=len(tail) - 8,
            digest=xxhash.xxh3_128(body).hexdigest(),
            footer_digest=xxhash.xxh3_128(tail).hexdigest(),
        )


def _rewriting(name: str, spoil: Callable[[WrongWriter, pa.Table], bytes]) -> type[_Rewrites]:
    return type(name, (_Rewrites,), {"respoil": staticmethod(spoil), "__module__": __name__})


def _stored(writer: WrongWriter, table: pa.Table, codec: Any = None, *, checksums: bool = True) -> bytes:
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression=codec or writer.workload.dataset.compression.value,
        row_group_size=writer.workload.dataset.parquet.row_group_size,
        use_dictionary=False,
        write_page_checksum=checksums,
    )
    return sink.getvalue()


def _first_column_only(writer: WrongWriter, table: pa.Table) -> bytes:
    codec = writer.workload.dataset.compression.value
    first = pq.ParquetFile(io.BytesIO(_stored(writer, table))).metadata.row_group(0).column(0).path_in_schema
    leaves = pq.ParquetFile(io.BytesIO(_stored(writer, table, "none"))).schema
    names = [leaves.column(number).path for number in range(len(leaves.names))]
    return _stored(writer, table, {name: codec if name == first else "none" for name in names})


def _constant(writer: WrongWriter, table: pa.Table) -> bytes:
    same = pa.array([0] * table.num_rows, pa.int64())
    return _stored(writer, table.take(same))


def _same_in_every_group(writer: WrongWriter, table: pa.Table) -> bytes:
    size = writer.workload.dataset.parquet.row_group_size
    rows = pa.array([row % size for row in range(table.num_rows)], pa.int64())
    return _stored(writer, table.take(rows))


def _without_checksums(writer: WrongWriter, table: pa.Table) -> bytes:
    return _stored(writer, table, checksums=False)


# -- files and names ------------------------------------------------------------------------------------------------
class SameDataOnTwoRanks(WrongWriter):
    """Writes the rows of the first file into every file."""

    def write(self, file: PlannedFile, storage: Outputs) -> FileWritten:
        return self.inner.write(replace(file, index=0), storage)


class _Visible:
    """An output file whose content can be seen under its final name from the start."""

    def __init__(self, path: str, storage: Outputs, *, after: int) -> None:
        self._path, self._storage, self._after = path, storage, after
        self._chunks: list[bytes] = []
        self._writes = 0

    def write(self, chunk: bytes | memoryview) -> int:
        self._chunks.append(bytes(chunk))
        self._writes += 1
        if self._writes >= self._after:
            self._publish()
        return len(chunk)

    def _publish(self) -> None:
        with self._storage.open_output(self._path) as out:
            out.write(b"".join(self._chunks))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._publish()


class _Showing:
    """A storage that publishes files after a number of writes."""

    def __init__(self, storage: Outputs, after: int) -> None:
        self._storage, self._after = storage, after

    def open_output(self, path: str) -> OutputFile:
        return _Visible(path, self._storage, after=self._after)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class WritesUnderTheFinalName(WrongWriter):
    """Lets an unfinished file be seen from its first byte."""

    after = 1

    def write(self, file: PlannedFile, storage: Outputs) -> FileWritten:
        showing: Any = _Showing(storage, self.after)
        return self.inner.write(file, showing)


class RenamesBeforeTheFooter(WritesUnderTheFinalName):
    """Publishes a file when its first pages are written."""

    after = 2


class PartitionNotEscaped(WrongWriter):
    """Uses a partition's value as a path."""

    def parts(self, file: PlannedFile) -> list[PlannedFile]:
        return [replace(part, path=unquote(part.path)) for part in self.inner.parts(file)]


class PartitionLosesRows(WrongWriter):
    """Lets the files of a partition overwrite each other."""

    def parts(self, file: PlannedFile) -> list[PlannedFile]:
        found = self.inner.parts(file)
        if self.workload.dataset.parquet.partition_by is None:
            return found
        folders = [posixpath.dirname(part.path) for part in found]
        return [replace(part, path=f"{folder}/x.parquet") for part, folder in zip(found, folders, strict=True)]


MakeWriter = Callable[[Workload, World], Writer]

WRITERS: Mapping[str, MakeWriter] = {
    "ignores-the-codec": _following("IgnoresTheCodec", _no_codec),
    "writes-snappy-for-lz4": _following("WritesSnappyForLz4", _snappy_for_lz4),
    "codec-on-first-column-only": _rewriting("CodecOnFirstColumnOnly", _first_column_only),
    "ignores-the-row-group-size": _following("IgnoresTheRowGroupSize", _one_group),
    "row-groups-follow-generation-batches": _following("RowGroupsFollowBatches", _group_per_batch),
    "row-group-one-row-short": _following("RowGroupOneRowShort", _group_one_short),
    "writes-float64-as-float32": _following("Float64AsFloat32", _retyped(ColumnType.FLOAT64, ColumnType.FLOAT32)),
    "writes-bool-as-int8": _following("BoolAsInt8", _retyped(ColumnType.BOOL, ColumnType.INT8)),
    "writes-constant-columns": _rewriting("ConstantColumns", _constant),
    "repeats-rows-in-every-row-group": _rewriting("RepeatsRows", _same_in_every_group),
    "seed-ignored": _following("SeedIgnored", _any_seed),
    "same-data-on-two-ranks": SameDataOnTwoRanks,
    "data-depends-on-ranks": _following("DataDependsOnRanks", _seed_of_rank),
    "no-page-checksums": _rewriting("NoPageChecksums", _without_checksums),
    "writes-under-the-final-name": WritesUnderTheFinalName,
    "renames-before-the-footer": RenamesBeforeTheFooter,
    "partition-value-not-escaped": PartitionNotEscaped,
    "partition-loses-rows": PartitionLosesRows,
}


def _seed_of_threads(threads: int) -> MakeWriter:
    return lambda workload, world: product_writer_with(threads)(
        _with(workload, seed=workload.dataset.seed + threads), world
    )


THREADED: Mapping[str, Callable[[int], MakeWriter]] = {"data-depends-on-threads": _seed_of_threads}
"""Wrong writers by the number of their threads."""
