"""One field of a configuration is edited, and the run is settled against the data set of the unedited one.

Whether an edit shapes data is not asked of the code under test: the data set of the edited configuration is generated,
too, and compared byte by byte.  If it is another one, the run must be refused and the key named; if it is the same,
the run must be accepted.  Fewer files than there are may be read; more are refused.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

from findings import Files, Finding, Tree, files_below, make, tree

from dlio_benchmark.clock import RealClock
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import ColumnType, DatasetType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.fields import declared
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.data_generator.manifest import MANIFEST, TABLE
from dlio_benchmark.engine.dataset import split_files
from dlio_benchmark.engine.parts import reader_of
from dlio_benchmark.engine.run import settle
from dlio_benchmark.errors import ConfigError, DataMissingError, DataSetMismatchError, DlioError

_COUNTS = ("dataset.num_files_train", "dataset.num_files_eval")
_PLACES = ("dataset.data_folder", "storage.storage_root", "storage.storage_type", "dataset.format")
_FLOW = ("workflow.train", "workflow.generate_data")
_OLD = {
    "dataset.record_length": "dataset.record_length_bytes",
    "dataset.record_length_stdev": "dataset.record_length_bytes_stdev",
}


def bases() -> dict[str, Tree]:
    """Return configurations of all kinds: columns, partitions, a single column with and without a spread."""
    small: dict[str, Any] = {"num_files_train": 3, "num_files_eval": 2, "num_samples_per_file": 20}
    parts = tree(**small | {"num_samples_per_file": 500}, compression="zstd", compression_level=3)
    parts["dataset"]["parquet"] |= {"partition_by": "truth", "row_group_size": 200, "compressibility": 0.5}
    plain = tree(**small, record_length_bytes=100, compression="gzip", parquet={"row_group_size": 8})
    spread = tree(**small, record_length_bytes=400, record_length_bytes_stdev=40, parquet={"row_group_size": 50})
    shaped = tree(**small, record_dims=[3, 4], record_element_type="int16", num_files_generated=5)
    shaped["dataset"]["parquet"] = {"row_group_size": 7}
    return {"columns": tree(**small), "partitions": parts, "plain": plain, "spread": spread, "shaped": shaped}


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what ``many`` edits that give a valid configuration showed."""
    dice, found = random.Random(seed), Finding()
    keys = _keys()
    roots = {name: os.path.join(folder, name) for name in bases()}
    for name, base in bases().items():
        make(roots[name], base)
    whole = {name: _data(root) for name, root in roots.items()}
    while found.figures.get("edits", 0) < many:
        name = dice.choice(list(roots))
        base = bases()[name]
        path = dice.choice([key for key in keys if key.startswith("dataset.") or dice.random() < 0.4])
        value = _other(keys[path], _at(base, path), dice)
        sparse = dice.random() < 0.3
        _edit(base, path, value, sparse, (roots[name], whole[name], os.path.join(folder, "edited")), found)
    return found


def _keys() -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for path, field, _ in declared(Workload):
        if path not in _PLACES + _FLOW:
            hints[path] = field.type
    return {path: _hint(path) for path in hints} | dict.fromkeys(_OLD, float)


def _hint(path: str) -> Any:
    section: Any = Workload
    *above, name = path.split(".")
    for one in above:
        section = typing.get_type_hints(section)[one]
    return typing.get_type_hints(section)[name]


def _at(base: Mapping[str, Any], path: str) -> Any:
    value: Any = base
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _other(hint: Any, now: Any, dice: random.Random) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
        if dice.random() < 0.1:
            return None
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if item is Column:
            return _other_columns(now or [], dice)
        return [_other(item, None, dice) for _ in range(dice.randint(0, 2))]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return dice.choice([member.value for member in hint])
    number = now if isinstance(now, int | float) and not isinstance(now, bool) else 1
    drawn = {
        bool: dice.random() < 0.5,
        int: dice.choice((0, 1, 2, 3, 4, 5, 7, 20, 100, number + 1, number - 1, number * 2, number)),
        float: dice.choice((0, 0.1, 0.25, 0.5, 1, 40, 100, 101, 121, 400, number * 1.5, number)),
        str: dice.choice(("a", "img", "part", "uint8", "int16", "float32", "truth", "number", "missing")),
        Duration: dice.choice((0, 0.001, {"mean": 0.1, "stdev": 0.01})),
    }
    return drawn.get(hint, {"anything": 1})


def _other_columns(now: list[dict[str, Any]], dice: random.Random) -> list[dict[str, Any]]:
    columns = copy.deepcopy(now) or [{"name": "data", "dtype": "uint8", "size": 100}]
    at = dice.randrange(len(columns))
    kind = dice.choice(("name", "dtype", "size", "read", "add", "drop", "order", "spell"))
    changes: dict[str, Any] = {
        "name": "other",
        "dtype": dice.choice([member.value for member in ColumnType]),
        "size": dice.choice((1, 2, 5, 7, 9)),
        "read": dice.random() < 0.5,
    }
    if kind in changes:
        columns[at][kind] = changes[kind]
    elif kind == "add":
        columns.insert(at, {"name": "added", "dtype": "int8"})
    elif kind == "drop":
        columns.pop(at)
    elif kind == "order":
        columns.reverse()
    else:  # the same columns, written out in full
        defaults = {field.name: field.default for field in fields(Column) if field.name in ("size", "read")}
        columns = [{**defaults, **column} for column in columns]
    return columns


def _put(base: Tree, path: str, value: Any) -> Tree:
    out = copy.deepcopy(base)
    *sections, name = path.split(".")
    at = out
    for section in sections:
        at = at.setdefault(section, {})
    at[name] = value
    return out


def _run_of(base: Tree, path: str, value: Any, sparse: bool, root: str) -> Tree:
    """Return the configuration of the run: all of it, or no more than the edited key."""
    counts = {name: base["dataset"][name] for name in ("num_files_train", "num_files_eval")}
    start: Tree = {"dataset": counts, "framework": "pytorch"} if sparse else copy.deepcopy(base)
    start["workflow"] = {"train": True, "generate_data": False, "evaluation": True}
    start = _put(start, "dataset.data_folder", root)
    if path in _OLD:
        start["dataset"].pop(_OLD[path].rpartition(".")[2], None)
    return _put(start, path, value)


def _edit(base: Tree, path: str, value: Any, sparse: bool, at: tuple[str, Files, str], found: Finding) -> None:
    root, whole, scratch = at
    plain = _OLD.get(path, path)
    work = _run_of(base, path, value, sparse, root)
    try:
        decode(_put(_run_of(base, path, value, False, root), path, value), strict=True)
        edited = decode(_put(base, plain, value), strict=True).workload
    except ConfigError:
        found.count("edits that are not valid alone, left out")
        return
    found.count("edits")
    where = f"{path} = {value!r}{' alone' if sparse else ''}"
    refused = _refused(work, plain in _COUNTS)
    if refused is not None and not isinstance(refused, DlioError):
        found.wrong(f"{where}: {refused!r}")
        return
    shapes = _shapes(edited, base, plain, whole, scratch)
    found.count("edits that shape data", shapes)
    named = refused is not None and plain in str(refused)
    if shapes and not (named and isinstance(refused, DataSetMismatchError | DataMissingError)):
        found.wrong(f"{where} makes other data: {refused or 'accepted'}")
    if not shapes and refused is not None:
        found.wrong(f"{where} makes the same data, but is refused: {refused}")


def _refused(work: Tree, look: bool) -> BaseException | None:
    """Return the error that ends the run before it reads data, or None."""
    try:
        settled = settle(work, Solo(), strict=True)
        if look:
            reader = reader_of(settled.workload, settled.storage, RealClock())
            for split in (DatasetType.TRAIN, DatasetType.VALID):
                split_files(
                    settled.workload, split, settled.manifest, storage=settled.storage, comm=Solo(), reader=reader
                )
    except Exception as error:
        return error
    return None


def _shapes(edited: Workload, base: Tree, path: str, whole: Files, scratch: str) -> bool:
    before, dataset = decode(base, strict=True).workload.dataset, edited.dataset
    if path in _COUNTS:
        there = {_COUNTS[0]: before.num_files_generated or before.num_files_train, _COUNTS[1]: before.num_files_eval}
        return _at_section(dataset, path) > int(there[path])
    if path == "dataset.num_files_generated" and dataset.num_files_generated is None:
        return False
    shutil.rmtree(scratch, ignore_errors=True)
    make(scratch, edited)
    return _data(scratch) != whole


def _at_section(dataset: Any, path: str) -> int:
    value: int = getattr(dataset, path.rpartition(".")[2])
    return value


def _data(root: str) -> Files:
    return {path: body for path, body in files_below(root).items() if path not in (MANIFEST, TABLE)}
