"""What is held of any target: asked by workloads, judged by files, counters and codes."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from verification import oracle
from verification.evidence import Recorder
from verification.targets.protocol import BATCH, DATA, EPOCHS, FILES, ROWS, Ended, Target, files, steps, workload

Change = Callable[[Path], None]

ALL_TYPES: Sequence[Mapping[str, Any]] = (
    {"name": "single", "dtype": "float32", "size": 3},
    {"name": "double", "dtype": "float64", "size": 2},
    {"name": "text", "dtype": "string", "size": 12},
    {"name": "octets", "dtype": "binary", "size": 9},
    {"name": "flag", "dtype": "bool"},
    {"name": "values", "dtype": "list", "size": 5},
)
ELEMENTS = {"float32": "float", "float64": "double", "list": "float"}
NUMBERS = tuple({"name": name, "dtype": "float64"} for name in ("alpha", "beta", "gamma", "delta"))
WIDE = tuple({"name": f"c{n}", "dtype": "float32", "size": 64, "read": n == 3} for n in range(6))
MOST_EPOCHS = 3
ALLOWANCE_PER_FILE = 128 * 1024
MANIFEST = "dlio_manifest.json"


def ended_well(evidence: Recorder, ended: Ended, what: str) -> None:
    """Hold that a command succeeded."""
    assert ended.code == 0, f"{what} ended with {ended.code}: {ended.output[-2000:]}"
    evidence.hold(ended.code, what=f"exit code of {what}", at_least=0, at_most=0)


def generated(evidence: Recorder, target: Target, tree: Mapping[str, Any], folder: Path) -> list[Path]:
    """Generate and return the files, of which all must be there."""
    folder.mkdir(parents=True, exist_ok=True)
    ended_well(evidence, target.generate(tree, folder), "generation")
    found = files(folder)
    evidence.equal(len(found), tree["dataset"]["num_files_train"], what="files generated")
    return found


def trains_on_what_it_generates(evidence: Recorder, target: Target, folder: Path, *, ranks: int = 1) -> None:
    """Hold that a data set is generated, and that each rank makes its steps on it."""
    tree = workload(NUMBERS)
    generated(evidence, target, tree, folder)
    ended_well(evidence, target.train(tree, folder, ranks=ranks), "training")
    share = EPOCHS * FILES * ROWS // BATCH // ranks
    evidence.equal(steps(folder), dict.fromkeys(range(ranks), share), what="steps of the ranks")


def every_chunk_has_the_codec(evidence: Recorder, target: Target, codec: str, folder: Path) -> None:
    """Hold that each column chunk has the codec that was asked for."""
    found = oracle.codecs(generated(evidence, target, workload(ALL_TYPES, compression=codec), folder))
    evidence.hold(found.total() - found[codec], what="chunks of another codec", at_most=0, unit="chunks")


def row_groups_are_exact(evidence: Recorder, target: Target, rows: int, size: int, folder: Path) -> None:
    """Hold that row groups have the configured rows, and the last of a file the rest."""
    tree = workload(NUMBERS, parquet={"row_group_size": size}, num_samples_per_file=rows, num_files_train=2)
    wanted = tuple(min(size, rows - start) for start in range(0, rows, size))
    for path in generated(evidence, target, tree, folder):
        evidence.equal(oracle.footer(path).row_groups, wanted, what="rows of each row group")


def values_are_of_their_types(evidence: Recorder, target: Target, folder: Path) -> None:
    """Hold that the footers have the configured types, that values differ, and that no two row groups are alike."""
    for path in generated(evidence, target, workload(ALL_TYPES), folder):
        types = oracle.footer(path).types
        for column in ALL_TYPES:
            name, dtype = column["name"], column["dtype"]
            evidence.equal(_element(types[name]), ELEMENTS.get(dtype, dtype), what=f"type of {dtype}")
            evidence.cover("dtype", dtype)
        rows = oracle.rows_by_duckdb(path)
        evidence.hold(len(rows), what="rows of a file", at_least=ROWS, at_most=ROWS, unit="rows")
        for name in types:
            evidence.hold(len({repr(row[name]) for row in rows}), what="different values of a column", at_least=2)
        narrow = sum(
            struct.unpack("<I", struct.pack("<d", value)[:4])[0] == 0 for row in rows for value in row["double"]
        )
        evidence.hold(narrow, what="float64 values with an empty lower half", at_most=1, unit="values")
        groups = [repr(rows[start : start + 10]) for start in range(0, ROWS, 10)]
        evidence.equal(len(set(groups)), len(groups), what="different row groups")


def _element(kind: str) -> str:
    found = re.findall(r"(?:large_)?(float|double|string|binary|bool|int\d+)\b", kind)
    return str(found[0]) if found else kind


@dataclass(frozen=True, slots=True)
class Reading:
    """How a projected read is asked for."""

    mode: str
    codec: str


def an_epoch_reads_the_wanted_chunks(evidence: Recorder, target: Target, reading: Reading, folder: Path) -> None:
    """Hold the bytes of one more epoch, counted by the kernel, to the stored chunks of the wanted column.

    The difference of two runs leaves out what a process reads to start: libraries, configuration, footers.
    """
    asked = {"num_samples_per_file": 2000, "compression": reading.codec}
    parquet = {"read_mode": reading.mode, "row_group_size": 500}
    trees = [workload(WIDE, parquet=parquet, epochs=epochs, **asked) for epochs in (1, MOST_EPOCHS)]
    for tree in trees:
        tree["reader"]["batch_size"] = 100  # of which a row group has several; each costs a step
    found = generated(evidence, target, trees[0], folder)
    counts = []
    for tree in trees:
        ended = target.train(tree, folder)
        ended_well(evidence, ended, "training")
        counts.append(ended.bytes_read)
    needed = sum(oracle.footer(path).needed(["c3"]) for path in found)
    evidence.hold(
        (counts[1] - counts[0]) // (MOST_EPOCHS - 1),
        what="bytes read by the operating system",
        at_least=needed,
        at_most=needed + ALLOWANCE_PER_FILE * len(found),
        unit="B",
    )


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A way in which a file differs from the configuration, and the columns that an error must name."""

    change: Change
    named: tuple[str, ...]
    file: int


def a_mismatch_is_named(evidence: Recorder, target: Target, mismatch: Mismatch, folder: Path) -> None:
    """Hold that training on a data set with an odd file fails, and says which file and which columns."""
    tree = workload(NUMBERS)
    odd = generated(evidence, target, tree, folder)[mismatch.file]
    (folder / DATA / MANIFEST).unlink(missing_ok=True)  # what is judged is the look into the file
    mismatch.change(odd)
    ended = target.train(tree, folder)
    evidence.hold(ended.code, what="exit code on a mismatch", at_least=1)
    for name in (odd.name, *mismatch.named):
        evidence.equal(name in ended.output, True, what="named in the error")


def without(*names: str) -> Change:
    """Return the change that takes columns away, and leaves another in their place."""

    def change(path: Path) -> None:
        table = pq.read_table(path, partitioning=None)
        odd = table.drop_columns(list(names)).append_column("other", table[names[0]])
        pq.write_table(odd, path, row_group_size=10)

    return change


def retyped(name: str, kind: Any) -> Change:
    """Return the change that stores a column with another type."""

    def change(path: Path) -> None:
        table = pq.read_table(path, partitioning=None)
        number = table.column_names.index(name)
        pq.write_table(table.set_column(number, name, table[name].cast(kind)), path, row_group_size=10)

    return change
