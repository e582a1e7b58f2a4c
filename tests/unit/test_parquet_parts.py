"""Files in parts, by the values of a column: each row once, under paths that hive engines read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from test_parquet_files import TRAIN, expected, planned, read, write

from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.errors import ConfigError
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.synth import partition_codes

PARTITIONED = (
    Column("a/b c", ColumnType.INT32),
    Column("flag", ColumnType.BOOL),
    Column("label", ColumnType.STRING),
    Column("x", ColumnType.FLOAT32, 7),
    Column("bits", ColumnType.BOOL, 5),
    Column("y", ColumnType.INT8),
)


@pytest.mark.parametrize("name", ["a/b c", "flag", "label"])
@pytest.mark.parametrize("rows", [0, 1, 7, 500])
def test_parts_hold_each_row_of_their_file_once_in_order(name: str, rows: int) -> None:
    files = ParquetFiles(PARTITIONED, row_group_size=20, rows_at_once=9)
    whole = expected(PARTITIONED, rows, index=5)
    codes = partition_codes(10, TRAIN, 5, next(c for c in PARTITIONED if c.name == name), rows)
    parts = files.parts(planned(rows, "train/3/x.parquet", 5), name)
    assert sum(part.rows for part in parts) == rows
    assert len({part.path for part in parts}) == len(parts)
    for part in parts:
        written, octets = write(files, part)
        assert part.partition is not None
        chosen = np.flatnonzero(codes == part.partition[1])
        assert written.rows == part.rows == len(chosen) > 0
        assert written.row_groups == -(-len(chosen) // 20)
        assert read(octets).equals(whole.drop_columns([name]).take(pa.array(chosen)).cast(read(octets).schema))


def test_hive_engines_read_the_partition_column_from_the_folders(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    files = ParquetFiles(PARTITIONED)
    for name, kind in (("a/b c", pa.int32()), ("label", pa.string()), ("flag", pa.bool_())):
        parts = files.parts(planned(100, f"{name[0]}/x.parquet"), name)
        for part in parts:
            files.write(part, storage)
        hive = ds.partitioning(pa.schema([(name, kind)]), flavor="hive")
        table = ds.dataset(str(tmp_path / name[0]), partitioning=hive).to_table()
        texts = files.partition_values(name)
        found = sorted(str(value).lower() for value in table[name].to_pylist())
        codes = partition_codes(10, TRAIN, 0, next(c for c in PARTITIONED if c.name == name), 100)
        assert found == sorted(texts[code] for code in codes)
        assert len(list((tmp_path / name[0]).iterdir())) == len(parts)


def test_a_path_of_a_part_stands_below_the_folder_of_its_file() -> None:
    parts = ParquetFiles(PARTITIONED).parts(planned(500, "train/3/x.parquet"), "a/b c")
    assert [part.path for part in parts] == [f"train/3/a%2Fb%20c={value}/x.parquet" for value in range(8)]


def test_partitions_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="there is no column 'nope'; the columns are 'a/b c', 'flag'"):
        ParquetFiles(PARTITIONED).parts(planned(5), "nope")
    with pytest.raises(ConfigError, match="column 'x' is float32 of size 7"):
        ParquetFiles(PARTITIONED).partition_values("x")
    with pytest.raises(ConfigError, match="'only' is the only column"):
        ParquetFiles((Column("only", ColumnType.INT32),)).parts(planned(5), "only")
