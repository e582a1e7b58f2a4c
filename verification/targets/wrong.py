"""Wrong targets, made from a right one: files rewritten after generation, runs that do or say something else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from verification.targets.protocol import OUT, Description, Ended, Target, Tree, files

Rewrite = Callable[[Path], None]
Tell = Callable[[Ended], Ended]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A target that does as another one, except where it was told otherwise."""

    right: Target
    rewrite: Rewrite = lambda _path: None
    ask: Callable[[Tree], Tree] = lambda tree: tree
    tell: Tell = lambda ended: ended
    known: Callable[[Description], Description] = lambda description: description
    spoil: Callable[[Path], None] = lambda _out: None
    during: Callable[[Tree, Path], AbstractContextManager[None]] = lambda _tree, _folder: nullcontext()
    restored_from: int | None = None
    _kept: dict[Path, bytes] = field(default_factory=dict)

    def describe(self) -> Description:
        """Return the description of the right one, told otherwise."""
        return self.known(self.right.describe())

    def generate(self, tree: Tree, folder: Path) -> Ended:
        """Generate, then rewrite every file."""
        ended = self.right.generate(tree, folder)
        for path in files(folder):
            self.rewrite(path)
        self._kept.update({path: path.read_bytes() for path in files(folder)})
        return ended

    def train(self, tree: Tree, folder: Path, *, ranks: int = 1) -> Ended:
        """Train on what was asked, with odd files put right again, and tell something else about it."""
        if self.restored_from is not None:
            for path in files(folder)[self.restored_from :]:
                path.write_bytes(self._kept[path])
        with self.during(tree, folder):
            ended = self.tell(self.right.train(self.ask(tree), folder, ranks=ranks))
        self.spoil(folder / OUT)
        return ended


def _stored(path: Path) -> tuple[pa.Table, str, int]:
    with pq.ParquetFile(path) as file:
        first = file.metadata.row_group(0)
        return file.read(), first.column(0).compression, first.num_rows


def _with(codec: str | None = None, size: Callable[[int], int] = lambda rows: rows) -> Rewrite:
    def rewrite(path: Path) -> None:
        table, found, rows = _stored(path)
        word = (codec or found).replace("UNCOMPRESSED", "none")
        pq.write_table(table, path, compression=word, row_group_size=max(1, size(rows)))

    return rewrite


def _first_column_only(path: Path) -> None:
    with pq.ParquetFile(path) as file:
        table, group = file.read(), file.metadata.row_group(0)
        leaf, codec = group.column(0).path_in_schema, group.column(0).compression
        pq.write_table(table, path, compression={leaf: codec}, row_group_size=group.num_rows)


def _table(change: Callable[[pa.Table, int], pa.Table]) -> Rewrite:
    def rewrite(path: Path) -> None:
        table, codec, rows = _stored(path)
        word = codec.replace("UNCOMPRESSED", "none")
        pq.write_table(change(table, rows), path, compression=word, row_group_size=rows)

    return rewrite


def _cast(name: str, kind: pa.DataType) -> Callable[[pa.Table, int], pa.Table]:
    def change(table: pa.Table, _rows: int) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, table[name].cast(kind))

    return change


REWRITES: Mapping[str, Rewrite] = {
    "target-that-generates-nothing": Path.unlink,
    "writes-snappy-for-lz4": _with("snappy"),
    "ignores-the-codec": _with("none"),
    "codec-on-first-column-only": _first_column_only,
    "ignores-the-row-group-size": _with(size=lambda _rows: 1 << 20),
    "row-groups-follow-generation-batches": _with(size=lambda rows: rows * 2 // 3),
    "row-group-one-row-short": _with(size=lambda rows: rows - 1),
    "writes-float64-as-float32": _table(_cast("double", pa.list_(pa.float32(), 2))),
    "writes-bool-as-int8": _table(_cast("flag", pa.int8())),
    "writes-constant-columns": _table(lambda table, _rows: table.take(pa.array([0] * len(table)))),
    "repeats-rows-in-every-row-group": _table(
        lambda table, rows: pa.concat_tables([table.slice(0, rows)] * (len(table) // rows))
    ),
}


def _all_columns(tree: Tree) -> Tree:
    section = tree["dataset"]["parquet"]
    columns = [{**column, "read": True} for column in section["columns"]]
    return {**tree, "dataset": {**tree["dataset"], "parquet": {**section, "columns": columns}}}


def _idle(*ranks: int) -> Callable[[Path], None]:
    def spoil(out: Path) -> None:
        for path in out.glob("*_output.json"):
            if not ranks or int(path.name.partition("_")[0]) in ranks:
                path.write_text(json.dumps({"1": {"load": {"block1": []}}}), encoding="utf-8")

    return spoil


def wrong(name: str, right: Target) -> Target:
    """Return the wrong target of that name, which uses ``right`` for everything that it does well."""
    if name in REWRITES:
        return Wrong(right, REWRITES[name])
    return OTHERS[name](right)


OTHERS: Mapping[str, Callable[[Target], Target]] = {
    "reads-all-columns-then-selects": lambda right: Wrong(right, ask=_all_columns),
    "counts-unread-bytes": lambda right: Wrong(right, tell=lambda told: replace(told, bytes_read=told.bytes_read * 6)),
    "skips-the-schema-check": lambda right: Wrong(right, restored_from=0),
    "checks-only-the-first-file": lambda right: Wrong(right, restored_from=1),
    "vague-schema-error": lambda right: Wrong(right, tell=lambda told: replace(told, output="the schema differs")),
    "names-only-the-first-missing-column": lambda right: Wrong(
        right, tell=lambda told: replace(told, output=told.output.replace("gamma", "..."))
    ),
    "rank-1-does-nothing": lambda right: Wrong(right, spoil=_idle(1)),
    "reports-success-with-no-samples": lambda right: Wrong(right, spoil=_idle()),
}
