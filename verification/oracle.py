"""Looks at files with other eyes than the product's: pyarrow's footer, duckdb, polars, raw bytes.

Values come back as plain Python rows, so that no library's notion of equality stands between them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[dict[str, Any]]
NO_CODEC = {"UNCOMPRESSED": "none"}


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file says of itself."""

    rows: int
    row_groups: tuple[int, ...]
    codecs: tuple[tuple[str, ...], ...]
    stored_bytes: tuple[dict[str, int], ...]
    types: dict[str, str]

    def needed(self, columns: Iterable[str]) -> int:
        """Return the stored bytes of all chunks of ``columns``, nested ones with all their leaves."""
        wanted = tuple(columns)
        return sum(
            size
            for group in self.stored_bytes
            for leaf, size in group.items()
            if any(leaf == name or leaf.startswith(f"{name}.") for name in wanted)
        )


def footer(path: Path) -> Footer:
    """Return the footer of ``path``: one entry per row group, and in it one per leaf column; codecs as DLIO's words."""
    with pq.ParquetFile(path) as file:
        metadata, schema = file.metadata, file.schema_arrow
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        chunks = [[group.column(j) for j in range(group.num_columns)] for group in groups]
        return Footer(
            rows=metadata.num_rows,
            row_groups=tuple(group.num_rows for group in groups),
            codecs=tuple(tuple(_codec(chunk.compression) for chunk in group) for group in chunks),
            stored_bytes=tuple({c.path_in_schema: c.total_compressed_size for c in group} for group in chunks),
            types={field.name: str(field.type) for field in schema},
        )


def _codec(word: str) -> str:
    return NO_CODEC.get(word, word.lower())


def codecs(paths: Iterable[Path]) -> Counter[str]:
    """Return how many column chunks of ``paths`` have which codec."""
    return Counter(codec for path in paths for group in footer(path).codecs for codec in group)


def rows(path: Path, columns: Sequence[str] | None = None) -> Rows:
    """Return the rows of a file as pyarrow reads them, in file order."""
    with pq.ParquetFile(path) as file:
        found: Rows = file.read(columns=list(columns) if columns is not None else None).to_pylist()
    return found


def rows_by_duckdb(path: Path) -> Rows:
    """Return the rows of a file as duckdb reads them, in file order."""
    import duckdb  # noqa: PLC0415 - part of the extra test

    with duckdb.connect(":memory:") as connection:
        connection.execute("SET threads = 1")
        cursor = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def rows_by_polars(path: Path) -> Rows:
    """Return the rows of a file as polars reads them, in file order."""
    import polars  # noqa: PLC0415 - part of the extra test

    found: Rows = polars.read_parquet(path, hive_partitioning=False).to_dicts()
    return found


def plain(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of an array as plain Python; those of nanoseconds as whole numbers, which lose nothing."""
    kind = array.type
    timed = pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind)
    found: list[Any] = (array.cast(pa.int64()) if timed and kind.unit == "ns" else array).to_pylist()
    return found


def equal(found: object, expected: object) -> bool:
    """Return whether two values are the same data: NaN equals NaN, 0.0 differs from -0.0, a list from no tuple."""
    if isinstance(found, float) and isinstance(expected, float):
        if math.isnan(found) or math.isnan(expected):
            return math.isnan(found) and math.isnan(expected)
        return found == expected and math.copysign(1, found) == math.copysign(1, expected)
    if isinstance(found, dict) and isinstance(expected, dict):
        return list(found) == list(expected) and all(equal(found[key], expected[key]) for key in found)
    if isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(map(equal, found, expected))
    return type(found) is type(expected) and found == expected


def first_difference(found: Sequence[object], expected: Sequence[object]) -> str:
    """Return where two sequences of rows differ first, or nothing if they are the same data."""
    for index, (one, other) in enumerate(zip(found, expected, strict=False)):
        if not equal(one, other):
            return f"row {index}: found {one!r}, expected {other!r}"
    return "" if len(found) == len(expected) else f"found {len(found)} rows, expected {len(expected)}"
