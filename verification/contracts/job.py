"""What a whole job promises: each configured value has an effect that can be seen from outside."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlio_benchmark.comm import Comm, Solo
from dlio_benchmark.job import Job
from dlio_benchmark.report.log import Log
from verification import oracle
from verification.evidence import Recorder

Tree = Mapping[str, Any]
FILES, ROWS, GROUP = 3, 40, 10
COLUMNS: Sequence[Mapping[str, Any]] = (
    {"name": "a", "dtype": "float32", "size": 16},
    {"name": "flag", "dtype": "bool"},
    {"name": "b", "dtype": "float64"},
)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a job left behind: the data set and the results."""

    data: Path
    out: Path

    @property
    def files(self) -> list[Path]:
        """The training files."""
        return sorted((self.data / "train").rglob("*.parquet"))

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """What the result says of each epoch."""
        found: list[dict[str, Any]] = self.summary["dlio"]["epochs"]
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        found: dict[str, Any] = json.loads((self.out / "summary.json").read_text(encoding="utf-8"))
        return found


Run = Callable[[Tree, Path], Ran]


def tree_of(folder: Path, *, parquet: Tree | None = None, **dataset: Any) -> dict[str, Any]:
    """Return a small workload that generates and trains below ``folder``."""
    section = {"columns": [dict(column) for column in COLUMNS], "row_group_size": GROUP} | dict(parquet or {})
    return {
        "framework": "pytorch",
        "model": {"name": "small"},
        "workflow": {"generate_data": True, "train": True},
        "dataset": {
            "format": "parquet",
            "data_folder": str(folder / "data"),
            "num_files_train": FILES,
            "num_samples_per_file": ROWS,
            "parquet": section,
        }
        | dataset,
        "reader": {"batch_size": 5},
        "train": {"epochs": 2, "computation_time": 0.0},
    }


def run_job(tree: Tree, folder: Path, comm: Comm | None = None) -> Ran:
    """Run the product's job in this process and return what it left."""
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    Job(copy.deepcopy(dict(tree)), comm or Solo(), str(out), Log(quiet=True), strict=True).run()
    return Ran(Path(tree["dataset"]["data_folder"]), out)


# -- each field of dataset.parquet changes what a run does ----------------------------------------------------------
def _columns(evidence: Recorder, ran: Ran, value: Any) -> None:
    names = [column["name"] for column in value]
    wanted = [column["name"] for column in value if column.get("read", True)]
    for path in ran.files:
        evidence.equal(list(oracle.footer(path).types), names, what="columns of a file")
    chunks = sum(oracle.footer(path).needed(wanted) for path in ran.files)
    for epoch in ran.epochs:
        evidence.hold(epoch["bytes_read"], what="bytes read of the columns", at_least=chunks, at_most=chunks, unit="B")


def _row_group_size(evidence: Recorder, ran: Ran, value: Any) -> None:
    wanted = tuple(min(value, ROWS - start) for start in range(0, ROWS, value))
    for path in ran.files:
        evidence.equal(oracle.footer(path).row_groups, wanted, what="rows of each row group")


def _read_mode(evidence: Recorder, ran: Ran, value: Any) -> None:
    groups = sum(len(oracle.footer(path).row_groups) for path in ran.files)
    for epoch in ran.epochs:
        if value == "row_group":
            evidence.hold(epoch["requests"], what="requests by row group", at_least=groups, unit="requests")
        else:
            evidence.hold(epoch["requests"], what="requests by block", at_most=groups // 2, unit="requests")


def _partition_by(evidence: Recorder, ran: Ran, value: Any) -> None:
    folders = {path.parent.name for path in ran.files}
    wanted = {"train"} if value is None else {f"{value}=true", f"{value}=false"}
    evidence.equal(folders, wanted, what="folders of the files")
    evidence.equal(sum(oracle.footer(path).rows for path in ran.files), FILES * ROWS, what="rows in all folders")


@dataclass(frozen=True, slots=True)
class Field:
    """A key of ``dataset.parquet``: two values of it, and what is seen of each in what a job leaves."""

    key: str
    values: tuple[Any, Any]
    seen: Callable[[Recorder, Ran, Any], None]


FIELDS = {
    "parquet_columns": Field("columns", (list(COLUMNS), [COLUMNS[0], {**COLUMNS[2], "read": False}]), _columns),
    "parquet_row_group_size": Field("row_group_size", (8, 15), _row_group_size),
    "parquet_read_mode": Field("read_mode", ("default", "row_group"), _read_mode),
    "parquet_partition_by": Field("partition_by", (None, "flag"), _partition_by),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of the field ``name``, and a workload that has it."""

    name: str
    value: Any
    tree: Tree


def the_field_has_its_effect(evidence: Recorder, run: Run, setting: Setting, folder: Path) -> None:
    """Hold that a job does what the value of a field of the Parquet section says."""
    FIELDS[setting.name].seen(evidence, run(setting.tree, folder), setting.value)


# -- the section arrives in the arguments ---------------------------------------------------------------------------
Load = Callable[[Any, Any], None]


def the_section_arrives(evidence: Recorder, load: Load, arguments: Any, config: Any, section: Tree) -> None:
    """Hold that loading ``config`` sets the flat fields to what the nested ``section`` says, as plain values."""
    load(arguments, config)
    wanted = [{"size": 1, "read": True, **column} for column in section["columns"]]
    evidence.equal(arguments.parquet_columns, wanted, what="parquet_columns")
    evidence.equal(arguments.parquet_row_group_size, section["row_group_size"], what="parquet_row_group_size")
    evidence.equal(str(arguments.parquet_read_mode), section["read_mode"], what="parquet_read_mode")
    evidence.equal(arguments.parquet_partition_by, section["partition_by"], what="parquet_partition_by")
    evidence.equal(type(arguments.parquet_columns), list, what="container of the columns")


# -- whole data sets ------------------------------------------------------------------------------------------------
def an_empty_section_gives_the_default_column(evidence: Recorder, run: Run, folder: Path) -> None:
    """Hold that a Parquet section without columns gives files of one column, which can be trained on."""
    tree = tree_of(folder, record_length_bytes=256, parquet={})
    tree["dataset"]["parquet"] = {}
    ran = run(tree, folder)
    evidence.equal(len(ran.files), FILES, what="files written")
    for path in ran.files:
        evidence.equal(list(oracle.footer(path).types), ["data"], what="columns of a file")
        lengths = {len(row["data"]) for row in oracle.rows(path)}
        evidence.equal(lengths, {256}, what="bytes of a sample")
    evidence.equal([epoch["rows"] for epoch in ran.epochs], [FILES * ROWS] * 2, what="rows trained on")
