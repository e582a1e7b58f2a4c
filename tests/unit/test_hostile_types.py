"""What a file says about the meaning of its columns is data: nothing in it is imported, unpickled or run."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.local import LocalStorage


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.path, "sang")


@pytest.mark.parametrize("name", ["arrow.py_extension_type", "arrow.json", "somebody.else"])
def test_extension_types_and_pandas_objects_run_nothing(tmp_path: Path, name: str) -> None:
    nest = tmp_path / "canary"
    pickled = pickle.dumps(Canary(nest), 0)
    field = pa.field(
        "a", pa.string(), metadata={b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": pickled}
    )
    schema = pa.schema([field], metadata={b"pandas": b'{"columns": [{"name": "a", "numpy_type": "object"}]}'})
    path = tmp_path / "x.parquet"
    with pq.ParquetWriter(path, pa.schema([pa.field("a", pa.string())])) as writer:
        writer.write_table(pa.table({"a": ["one", "two"]}))
        writer.add_key_value_metadata({"ARROW:schema": _encoded(schema), "pickled": pickled.decode()})
    with pytest.raises(ParquetFileError, match=r"^x\.parquet: .*extension type"):
        ParquetRows(LocalStorage(str(tmp_path)), None).open("x.parquet")
    assert not nest.exists()
    pickle.loads(pickled)
    assert nest.read_text() == "sang"  # the canary can sing


def _encoded(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize().to_pybytes()).decode()
