"""Hypothesis strategies for Parquet: names, types, values, tables, layouts, what is asked for, and configurations.

They draw what breaks readers and writers: names with dots, NaN and infinities, the first and last day of the
calendar, nulls in every position, row groups that end one row early, row groups without rows.  Nothing here knows
the code under test; use them for any reader or writer:

    @given(drawn=modelled_tables(), layout=layouts())
    def test_round_trip(drawn, layout):
        assert my_reader(layout.written(drawn.table)) == drawn.columns
"""

from verification.strategies.configuration import DTYPES, columns_sections, parquet_sections
from verification.strategies.files import (
    CODECS,
    MODES,
    Access,
    Geometry,
    Layout,
    accesses,
    codecs,
    geometries,
    layouts,
    partition_values,
    row_group_sizes,
    selections,
    uneven_files,
    uneven_groups,
    without_codec,
)
from verification.strategies.schemas import (
    CHANGED,
    DLIO_TYPES,
    ODD_NAMES,
    SCALARS,
    UNCOMMON,
    UNREADABLE,
    UNWRITABLE,
    name_lists,
    names,
    repeated_names,
    schemas,
    types,
)
from verification.strategies.tables import Modelled, modelled_tables, numbered, row_counts, tables, values

__all__ = [
    "CHANGED",
    "CODECS",
    "DLIO_TYPES",
    "DTYPES",
    "MODES",
    "ODD_NAMES",
    "SCALARS",
    "UNCOMMON",
    "UNREADABLE",
    "UNWRITABLE",
    "Access",
    "Geometry",
    "Layout",
    "Modelled",
    "accesses",
    "codecs",
    "columns_sections",
    "geometries",
    "layouts",
    "modelled_tables",
    "name_lists",
    "names",
    "numbered",
    "parquet_sections",
    "partition_values",
    "repeated_names",
    "row_counts",
    "row_group_sizes",
    "schemas",
    "selections",
    "tables",
    "types",
    "uneven_files",
    "uneven_groups",
    "values",
    "without_codec",
]
