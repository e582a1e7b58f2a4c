"""The files that a run reads: those of a manifest, or foreign ones that are found and counted.

A data set with a manifest is believed in what the manifest proves (configuration, rows, sizes); presence and size are
looked at, of every file or, with ``dataset.skip_listing``, of every n-th.  A data set without one is foreign: its files
are listed and the rows of each are taken from its footer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from dlio_benchmark.comm import Comm
from dlio_benchmark.common.enumerations import DatasetType, FormatType
from dlio_benchmark.config.model import Dataset, Workload
from dlio_benchmark.config.shape import CONTENT_VERSION, SPLIT_KEYS, differences
from dlio_benchmark.data_generator.manifest import MANIFEST, Manifest
from dlio_benchmark.engine.agree import at_length, everywhere, on_root
from dlio_benchmark.engine.generate import layouts
from dlio_benchmark.errors import DataMissingError, DataSetMismatchError, listed
from dlio_benchmark.plan.layout import Layout
from dlio_benchmark.plan.order import Ids
from dlio_benchmark.plan.world import World
from dlio_benchmark.reader.base import Reader
from dlio_benchmark.storage.base import Storage

_FOOTER_THREADS = 8
_SHOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class SplitFiles:
    """Files of one split: rows of each, and the path of a file by its number."""

    split: DatasetType
    rows: Ids
    paths: Callable[[int], str]
    proven: bool
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


def check_shape(manifest: Manifest, workload: Workload, root: str) -> None:
    """Refuse a data set that was made from another configuration.

    Raises:
        DataSetMismatchError: naming every key that differs, with both values.
    """
    issues: list[object] = list(differences(manifest.workload, workload))
    generated, have = workload.dataset.num_files_generated, manifest.count(DatasetType.TRAIN)
    if generated is not None and generated != have:
        issues.append(f"dataset.num_files_generated: the data set has {have}, the configuration wants {generated}")
    if manifest.content != CONTENT_VERSION:
        issues.append(f"generator: the data set has content version {manifest.content}, this is {CONTENT_VERSION}")
    if issues:
        remedy = "remedy: configure the run as the data set was generated, or generate it again in another folder"
        raise DataSetMismatchError(
            listed(f"{root}: the data set is not the one that is configured", [*map(str, issues), remedy])
        )


def split_files(
    workload: Workload, split: DatasetType, manifest: Manifest | None, *, storage: Storage, comm: Comm, reader: Reader
) -> SplitFiles:
    """Return the files of a split that this run reads, the same on every rank.

    Raises:
        DataMissingError: if there are fewer than configured, or some are absent or shorter than the manifest says.
    """
    dataset = workload.dataset
    wanted = dataset.num_files_train if split is DatasetType.TRAIN else dataset.num_files_eval
    layout = layouts(dataset)[0 if split is DatasetType.TRAIN else 1]
    if dataset.format is FormatType.SYNTHETIC:
        return SplitFiles(split, np.full(wanted, dataset.num_samples_per_file), layout.path, proven=True)
    if manifest is not None:
        return _manifest_files(manifest, layout, wanted, dataset=dataset, storage=storage, comm=comm)
    return _foreign_files(layout, wanted, dataset=dataset, storage=storage, comm=comm, reader=reader)


def _too_few(split: DatasetType, found: int, wanted: int) -> DataMissingError:
    msg = (
        f"Not enough dataset is found: {found} files for {split}, {SPLIT_KEYS[split]} wants {wanted}; "
        "Please run the code with ++workload.workflow.generate_data=True"
    )
    return DataMissingError(msg)


def _manifest_files(
    manifest: Manifest, layout: Layout, wanted: int, *, dataset: Dataset, storage: Storage, comm: Comm
) -> SplitFiles:
    table, found = manifest.of(layout.split), manifest.count(layout.split)
    if found < wanted:
        raise _too_few(layout.split, found, wanted)
    notes = () if found == wanted else (f"{layout.split}: {wanted} of {found} files are read",)
    table = table.slice(0, int(np.searchsorted(np.asarray(table["index"]), wanted))).combine_chunks()
    paths, sizes = table["path"], table["bytes"].to_numpy()
    step = dataset.listing_validation_interval if dataset.skip_listing else 1

    def look() -> list[str]:
        mine = comm.pulse.over(_looked_at(len(sizes), step, comm.world))
        return [p for n in mine if (p := _absent(storage, paths[n].as_py(), int(sizes[n]))) is not None]

    _refuse_missing(everywhere(comm, f"look for {layout.split} files", look), layout.split)
    return SplitFiles(layout.split, table["rows"].to_numpy(), lambda n: str(paths[n].as_py()), proven=True, notes=notes)


def _looked_at(files: int, step: int, world: World) -> list[int]:
    chosen = sorted({*range(0, files, step), files - 1} if step and files else set(range(min(files, 1))))
    return chosen[world.rank :: world.size]


def _absent(storage: Storage, path: str, size: int) -> str | None:
    found = storage.size(path)
    if found is None:
        return f"{path}: no such file"
    return None if found == size else f"{path}: {found} bytes, the manifest says {size}"


def _refuse_missing(found: Sequence[Sequence[str]], split: DatasetType) -> None:
    missing = [text for part in found for text in part]
    if not missing:
        return
    more = [f"and {len(missing) - _SHOWN} more"] if len(missing) > _SHOWN else []
    remedy = "remedy: generate again; complete files are kept"
    headline = f"{len(missing)} {split} files are not as {MANIFEST} says"
    raise DataMissingError(listed(headline, [*missing[:_SHOWN], *more, remedy]))


def _foreign_files(
    layout: Layout, wanted: int, *, dataset: Dataset, storage: Storage, comm: Comm, reader: Reader
) -> SplitFiles:
    ending = f".{layout.extension}"

    def find() -> list[str]:
        computed = [layout.path(n) for n in range(layout.files)]
        if computed and all(storage.size(path) is not None for path in comm.pulse.over(computed)):
            return computed
        names = [path for path in comm.pulse.over(storage.list(layout.split.value)) if path.endswith(ending)]
        return sorted(path for path in names if not path.rpartition("/")[2].startswith("."))

    paths = on_root(comm, f"list of {layout.split} files", find)
    if len(paths) < wanted:
        raise _too_few(layout.split, len(paths), wanted)
    notes = [f"{layout.split}: no {MANIFEST}; the files are foreign, their rows are taken from their footers"]
    if len(paths) > wanted:
        notes.append(f"{layout.split}: {wanted} of {len(paths)} files are read")
    paths = paths[:wanted]
    rows = _footer_rows(paths, comm, reader)
    other = np.flatnonzero(rows != dataset.num_samples_per_file)
    if other.size:
        first = int(other[0])
        notes.append(
            f"{other.size} files have other row counts than dataset.num_samples_per_file "
            f"({dataset.num_samples_per_file}); {paths[first]} has {rows[first]}"
        )
    return SplitFiles(layout.split, rows, lambda n: paths[n], proven=False, notes=tuple(notes))


def _footer_rows(paths: Sequence[str], comm: Comm, reader: Reader) -> Ids:
    def rows_of(path: str) -> int:
        file = reader.open(path)
        try:
            return sum(shape.rows for shape in file.shapes)
        finally:
            file.close()

    def mine() -> list[int]:
        with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
            return list(comm.pulse.over(pool.map(rows_of, paths[comm.world.rank :: comm.world.size])))

    rows = np.zeros(len(paths), dtype=np.int64)
    for rank, part in enumerate(at_length(comm, "footers of foreign files", mine)):
        rows[rank :: comm.world.size] = part
    return rows
