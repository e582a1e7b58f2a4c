"""Wrong readers that compare the schema of a file badly, or tell badly what they found."""

from __future__ import annotations

from dlio_benchmark.errors import SchemaMismatchError
from dlio_benchmark.reader.base import OpenFile
from dlio_benchmark.reader.parquet_reader import ParquetRows
from verification.saboteurs.wrong_reader import WrongReader


class SkipsTheSchemaCheck(WrongReader):
    """Lets a missing or different column pass, and gives those that are there."""

    def open(self, path: str) -> OpenFile:
        try:
            return self.inner.open(path)
        except SchemaMismatchError:
            return ParquetRows(self.storage, None, self.mode).open(path)


class ChecksOnlyTheFirstFile(SkipsTheSchemaCheck):
    """Compares the schema of the first file only."""

    opened = False

    def open(self, path: str) -> OpenFile:
        if self.opened:
            return super().open(path)
        self.opened = True
        return self.inner.open(path)


class VagueSchemaError(WrongReader):
    """Says that the schema differs, not in which column of which file."""

    def open(self, path: str) -> OpenFile:
        try:
            return self.inner.open(path)
        except SchemaMismatchError:
            raise SchemaMismatchError("the schema of a file differs") from None


class NamesOnlyTheFirst(WrongReader):
    """Names one of several missing columns."""

    def open(self, path: str) -> OpenFile:
        try:
            return self.inner.open(path)
        except SchemaMismatchError as error:
            raise SchemaMismatchError("\n".join(str(error).splitlines()[:2])) from None
