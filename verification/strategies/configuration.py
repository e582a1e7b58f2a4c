"""Parts of a workload's configuration as YAML has them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from verification.strategies.files import MODES
from verification.strategies.schemas import name_lists

DTYPES = ("float32", "float64", "string", "binary", "bool", "list", "int32", "int64", "uint8")
PARTITIONING = ("string", "bool", "int32", "int64", "uint8")


@st.composite
def columns_sections(draw: st.DrawFn, *, max_columns: int = 4) -> list[dict[str, Any]]:
    """Return ``parquet.columns`` as YAML has it: name, dtype and, where it applies, size."""
    section: list[dict[str, Any]] = []
    for name in draw(name_lists(max_size=max_columns, odd=False)):
        column: dict[str, Any] = {"name": name, "dtype": draw(st.sampled_from(DTYPES))}
        if draw(st.booleans()):
            column["size"] = draw(st.integers(1, 64))
        section.append(column)
    return section


@st.composite
def parquet_sections(draw: st.DrawFn) -> dict[str, Any]:
    """Return a valid ``dataset.parquet`` section; every key may be absent."""
    columns = draw(columns_sections())
    scalars = [one["name"] for one in columns if one["dtype"] in PARTITIONING and one.get("size", 1) == 1]
    full = {
        "columns": columns,
        "row_group_size": draw(st.integers(1, 4096)),
        "read_mode": draw(st.sampled_from(MODES)),
        "partition_by": draw(st.sampled_from([None, *(scalars if len(columns) > 1 else [])])),
    }
    kept = draw(st.sets(st.sampled_from(sorted(full))))
    if full["partition_by"] is not None and "partition_by" in kept:
        kept.add("columns")
    return {key: value for key, value in full.items() if key in kept}
