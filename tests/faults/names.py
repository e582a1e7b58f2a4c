"""Hostile names: paths, prefixes, folders, columns and partition values that try to leave the root of a data set.

Around the root lies a tree of canaries.  Whatever is written must lie below the root, also after all links are
followed, and must be read again under the same name; everything else must be refused with an error raised on purpose.
"""

from __future__ import annotations

import os
import posixpath
import random
import shutil
from collections.abc import Callable, Mapping
from urllib.parse import quote

import pyarrow.parquet as pq
from findings import Finding, make, tree

from dlio_benchmark.common.enumerations import ColumnType, DatasetType
from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.errors import DlioError
from dlio_benchmark.parquet.decode_path import partition_values
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.storage.local import LocalStorage

FRAGMENTS = (
    *("..", "../", "/..", "/", "//", ".", "./", "\\", "..\\", "%2e%2e", "%2f", "%00", "%", "%25", "~", "~root"),
    *("\0", "\n", "\r", "\t", " ", "\x1b[2J", "\x7f", "\u202e", "\u2028", "\ufeff", "\ud800", "\udcff"),
    *("é", "e\u0301", "\u212b", "Å", "ﬁ", "ß", "İ", "..\u2215", "\uff0e\uff0e\uff0f", "\U0001f980", "-rf"),
    *("CON", "a:b", "a=b", "=", "a&b", "a#b", "$HOME", "${x}", "`id`", "$(id)", ";id", "|id", "'", '"', "*", "?"),
    *("[a]", "{a,b}", "null", "None", "0", "01", "1.0", "__HIVE_DEFAULT_PARTITION__", "img", "train", "valid"),
    *(".dlio_lock", "dlio_manifest.json", "a" * 300, "é" * 130, "x"),
)


def hostile(dice: random.Random, outside: str) -> str:
    """Return a name that somebody might use to get out."""
    kind = dice.random()
    if kind < 0.05:
        return dice.choice((outside, f"{outside}/canary", f"../{os.path.basename(outside)}/canary", "link/x", "link"))
    if kind < 0.2:
        return "".join(
            chr(dice.choice((dice.randrange(128), dice.randrange(0x3000)))) for _ in range(dice.randint(1, 12))
        )
    return "".join(dice.choice(FRAGMENTS) for _ in range(dice.randint(1, 5)))


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what ``many`` hostile names and values showed."""
    dice, found = random.Random(seed), Finding()
    outside, root = os.path.join(folder, "outside"), os.path.join(folder, "root")
    os.makedirs(outside)
    os.makedirs(root)
    with open(os.path.join(outside, "canary"), "w", encoding="ascii") as file:
        file.write("sings")
    before = _tree(folder, root)
    os.chdir(outside)
    for number in range(many):
        name = hostile(dice, outside)
        kind = "generated" if number % 50 == 0 else dice.choice(("path", "value", "value", "column"))
        try:
            KINDS[kind](name, root, outside, found)
        except DlioError:
            found.count(f"refused ({kind})")
        except Exception as error:
            found.wrong(f"{kind} {name!r}: {error!r} is no error raised on purpose")
        else:
            found.count(f"round trips ({kind})")
        found.count("names")
        if number % 200 == 0:
            _look_outside(folder, root, before, name, found)
            shutil.rmtree(root)
            os.makedirs(root)
            os.symlink(outside, os.path.join(root, "link"))
    _look_outside(folder, root, before, "the last names", found)
    os.chdir("/")
    return found


def _tree(folder: str, root: str) -> dict[str, bytes]:
    """Return everything below ``folder`` but not below ``root``; folders are empty."""
    found = {}
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if os.path.join(here, name) != root]
        found.update({os.path.join(here, name): b"" for name in folders})
        for name in names:
            with open(os.path.join(here, name), "rb") as file:
                found[os.path.join(here, name)] = file.read()
    return found


def _look_outside(folder: str, root: str, before: Mapping[str, bytes], name: str, found: Finding) -> None:
    after = _tree(folder, root)
    for path in sorted(before.keys() ^ after.keys()) + [path for path in before if after.get(path) != before[path]]:
        found.wrong(f"outside of the root {path} changed, at the latest by {name!r}")
    found.count("looks outside")


def _path(name: str, root: str, outside: str, found: Finding) -> None:
    storage = LocalStorage(root)
    with storage.open_output(name) as out:
        out.write(name.encode(errors="surrogatepass"))
    real = os.path.realpath(storage.locate(name))
    if not real.startswith(root + "/"):
        found.wrong(f"path {name!r} was written to {real}")
    file = storage.open_input(name)
    body = bytearray(file.size)
    file.pread(0, memoryview(body))
    file.close()
    if body.decode(errors="surrogatepass") != name:
        found.wrong(f"path {name!r} was read as {bytes(body)!r}")
    if posixpath.normpath(name) not in {posixpath.normpath(path) for path in storage.list(".")}:
        found.wrong(f"path {name!r} is not in the list of files")
    storage.delete(name)
    if storage.size(name) is not None:
        found.wrong(f"path {name!r} was not removed")


def _value(name: str, root: str, outside: str, found: Finding) -> None:
    """Look up a hostile value in the path of a file, written as Hive writes it, and as it is."""
    column = Column("key", ColumnType.STRING)
    folder = f"key={quote(name, safe='', errors='surrogatepass')}"
    if "/" in folder or folder in (".", ".."):
        found.wrong(f"value {name!r} makes the folder {folder!r}")
    got = partition_values(f"train/{folder}/part.parquet", [column])["key"]
    if got != name and "\ufffd" not in got:
        found.wrong(f"value {name!r} is read as {got!r}")
    if got != name and _is_text(name):
        found.wrong(f"value {name!r} does not survive the path")
    for kind in (ColumnType.INT32, ColumnType.BOOL):
        try:
            partition_values(f"train/{folder}/part.parquet", [Column("key", kind)])
        except DlioError:
            found.count(f"values that are no {kind}")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _column(name: str, root: str, outside: str, found: Finding) -> None:
    """Make the folders of the partitions by a column of a hostile name, if the configuration allows it."""
    work = tree(num_files_train=1, num_files_eval=0, num_subfolders_train=0, num_samples_per_file=20)
    work["dataset"]["parquet"] = {"columns": [{"name": name, "dtype": "bool"}, {"name": "rest", "dtype": "int8"}]}
    work["dataset"]["parquet"]["partition_by"] = name
    dataset = decode(work, strict=True).workload.dataset
    files = ParquetFiles(dataset.parquet.columns)
    for part in files.parts(PlannedFile(DatasetType.TRAIN, 0, "train/img.parquet", 20), name):
        LocalStorage(root).locate(part.path)
        if posixpath.normpath(part.path) != part.path or part.path.count("/") != 2:
            found.wrong(f"column {name!r} makes the path {part.path!r}")
        if partition_values(part.path, [Column(name, ColumnType.BOOL)])[name] not in (True, False):
            found.wrong(f"column {name!r} is not found in {part.path!r}")


def _generated(name: str, root: str, outside: str, found: Finding) -> None:
    """Generate a data set with a hostile prefix, column and folder, each refused or written and read back."""
    for key in ("file_prefix", "column", "data_folder"):
        work = tree(num_files_train=2, num_files_eval=0, num_subfolders_train=0, num_samples_per_file=10)
        columns = [{"name": name if key == "column" else "part", "dtype": "int8"}, {"name": "rest", "dtype": "int8"}]
        work["dataset"]["parquet"] = {"columns": columns, "partition_by": columns[0]["name"]}
        if key != "column":
            work["dataset"][key] = name
        top = os.path.join(root, "data")
        shutil.rmtree(top, ignore_errors=True)
        try:
            dataset = decode(work, strict=True).workload.dataset
            storage = LocalStorage(os.path.join(top, dataset.data_folder if key == "data_folder" else ""))
            if not os.path.realpath(storage.root).startswith(root):
                found.count("absolute data folders, which stand alone")
                continue
            make(storage.root, work)
        except DlioError:
            found.count(f"refused ({key})")
            continue
        found.count(f"generated ({key})")
        _read_back(storage, key, name, found)


def _read_back(storage: LocalStorage, key: str, name: str, found: Finding) -> None:
    files = [path for path in storage.list("train") if path.endswith(".parquet")]
    if key == "file_prefix" and not all(posixpath.basename(path).startswith(name) for path in files):
        found.wrong(f"prefix {name!r} makes {files}")
    rows = sum(pq.ParquetFile(storage.locate(path)).metadata.num_rows for path in files)
    if rows != 20 or not files:
        found.wrong(f"{key} {name!r}: {rows} rows were generated")


KINDS: Mapping[str, Callable[[str, str, str, Finding], None]] = {
    "path": _path,
    "value": _value,
    "column": _column,
    "generated": _generated,
}
