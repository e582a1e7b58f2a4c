"""A reader that is not ours: pyarrow's row groups behind the three methods of the reader protocol."""

import io

import pyarrow.parquet as pq

from dlio_benchmark.batch import Block
from dlio_benchmark.reader.base import BlockRead, BlockShape
from dlio_benchmark.schema import compare


class Counted(io.RawIOBase):
    """An input file as pyarrow wants it; counts what is read."""

    def __init__(self, file):
        self.file, self.at, self.count = file, 0, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.file.size)[whence]
        return self.at

    def readinto(self, into):
        got = self.file.pread(self.at, memoryview(into))
        self.at, self.count = self.at + got, self.count + got
        return got


class ThinFile:
    """An open file; a block is a row group."""

    def __init__(self, path, source, file, names):
        self.path, self.footer_bytes, self._source, self._file, self._names = path, 0, source, file, names
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        self.shapes = [BlockShape(group.num_rows, 1, group.total_byte_size, group.total_byte_size) for group in groups]

    def read(self, index):
        before = self._source.count
        table = self._file.read_row_group(index, columns=self._names, use_threads=False).combine_chunks()
        columns = {name: table[name].chunk(0) for name in self._names or table.column_names}
        taken = self._source.count - before
        return BlockRead(Block(table.num_rows, columns), 1, taken, taken, len(columns), io_ns=0, decode_ns=0)

    def close(self):
        self._source.file.close()


class ThinReader:
    """Opens files of a storage with the wanted columns, after comparing their schema."""

    decode = "full"

    def __init__(self, storage, columns=None):
        self._storage, self._columns = storage, columns

    def open(self, path):
        source = Counted(self._storage.open_input(path))
        file = pq.ParquetFile(source, pre_buffer=False)
        if self._columns is not None:
            compare(self._columns, file.schema_arrow, path)
        return ThinFile(path, source, file, self._columns and [column.name for column in self._columns])
