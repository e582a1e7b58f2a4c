"""The thin reader against the contract of readers and against generated tables: all that a foreign project writes."""

from hypothesis import given, settings
from thin_reader import ThinReader

from dlio_benchmark.storage.memory import MemoryStorage
from verification import oracle
from verification.contracts.reader import ReaderContract, table_of
from verification.strategies import layouts, modelled_tables, schemas


class TestContract(ReaderContract):
    def make(self, storage, columns, mode):
        return ThinReader(storage, columns)


@settings(deadline=None)
@given(drawn=modelled_tables(schema=schemas(nested=False, odd_names=False)), layout=layouts())
def test_any_table_is_read_as_it_was_written(drawn, layout):
    storage = MemoryStorage()
    storage.files["f.parquet"] = layout.written(drawn.table)
    found = table_of(ThinReader(storage).open("f.parquet"))
    for name in found.column_names:
        assert oracle.equal(oracle.plain(found[name]), drawn.columns[name])
