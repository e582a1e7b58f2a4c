"""How much data a training needs so that no client can hold it in memory: the datasize formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import ceil
from typing import Any

from dlio_benchmark.errors import ConfigError, Issue

MEMORY_FACTOR = 5
LEAST_STEPS = 500
FILES_PER_FOLDER = 10_000

_ELEMENT_BYTES: Mapping[str, int] = {
    **dict.fromkeys(("float64", "int64", "uint64"), 8),
    **dict.fromkeys(("float32", "int32", "uint32", "list"), 4),
    **dict.fromkeys(("float16", "int16", "uint16"), 2),
    **dict.fromkeys(("int8", "uint8", "bool", "binary", "string"), 1),
}


class Rule(Enum):
    """Which of the two requirements asks for more files."""

    MEMORY = "memory"
    STEPS = "steps"


@dataclass(frozen=True, slots=True)
class Shape:
    """What one file of a data set holds."""

    samples_per_file: int
    record_bytes: Fraction

    @property
    def file_bytes(self) -> Fraction:
        """Bytes of the samples of one file."""
        return self.samples_per_file * self.record_bytes


@dataclass(frozen=True, slots=True)
class Clients:
    """What will train: host memory over all clients, accelerators, and samples per step of each."""

    memory_bytes: int
    accelerators: int
    batch_size: int


@dataclass(frozen=True, slots=True)
class DataSize:
    """The least data set, and the rule that dictated it."""

    files_by_memory: int
    files_by_steps: int
    shape: Shape

    @property
    def files(self) -> int:
        """Least number of training files."""
        return max(self.files_by_memory, self.files_by_steps)

    @property
    def rule(self) -> Rule:
        """The requirement that asks for this number of files."""
        return Rule.MEMORY if self.files_by_memory > self.files_by_steps else Rule.STEPS

    @property
    def disk_bytes(self) -> int:
        """Bytes of all samples before encoding, rounded up."""
        return ceil(self.files * self.shape.file_bytes)

    @property
    def disk_gib(self) -> float:
        """The same in GiB."""
        return self.disk_bytes / 2**30


def memory_bytes(gib_per_client: float, clients: int) -> int:
    """Return the memory of all clients together."""
    return int(Fraction(str(gib_per_client)) * clients * 2**30)


def least_data(shape: Shape, clients: Clients) -> DataSize:
    """Return the data set that is five times the clients' memory and lasts 500 steps per epoch."""
    by_memory = MEMORY_FACTOR * clients.memory_bytes // shape.file_bytes
    by_steps = LEAST_STEPS * clients.accelerators * clients.batch_size // shape.samples_per_file
    return DataSize(by_memory, by_steps, shape)


def shape_of(dataset: Mapping[str, Any]) -> Shape:
    """Return the shape that a ``dataset`` section describes.

    Raises:
        ConfigError: naming every value that is not a positive number, or an unknown column type.
    """
    issues: list[Issue] = []
    samples = _positive("dataset.num_samples_per_file", dataset.get("num_samples_per_file", 1), issues)
    columns = (dataset.get("parquet") or {}).get("columns")
    if dataset.get("record_length_bytes") is None and columns:
        record = Fraction(row_bytes(columns, issues))
    else:
        record = _positive("dataset.record_length_bytes", dataset.get("record_length_bytes", 65536), issues)
    if issues:
        raise ConfigError(issues)
    return Shape(int(samples), record)


def row_bytes(columns: Sequence[Mapping[str, Any]], issues: list[Issue]) -> int:
    """Return the bytes of one row over all columns; what is wrong with a column is added to ``issues``."""
    total = 0
    for index, column in enumerate(columns):
        where = f"dataset.parquet.columns[{index}]"
        width = _ELEMENT_BYTES.get(str(column.get("dtype", "float32")))
        if width is None:
            allowed = ", ".join(sorted(_ELEMENT_BYTES))
            issues.append(Issue(f"{where}.dtype", f"unknown type '{column.get('dtype')}', expected one of {allowed}"))
        total += (width or 0) * int(_positive(f"{where}.size", column.get("size", 1), issues))
    return total


def _positive(where: str, value: Any, issues: list[Issue]) -> Fraction:
    """Return ``value`` exactly as written; a value that is not a positive number becomes an issue."""
    try:
        number = Fraction(str(value))
    except ValueError:
        number = Fraction(0)
    if number <= 0 or isinstance(value, bool):
        issues.append(Issue(where, f"must be a number above 0, got {value!r}"))
        return Fraction(1)
    return number


def advised_folders(files: int) -> int:
    """Return over how many sub-folders to spread so many files; 0 if one folder holds them well."""
    return max(2, files // FILES_PER_FOLDER) if files >= FILES_PER_FOLDER else 0
