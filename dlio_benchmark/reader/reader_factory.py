"""The readers by format, for callers that know DLIO's factory."""

from __future__ import annotations

from dlio_benchmark.common.enumerations import DatasetType, FormatType
from dlio_benchmark.reader.reader_handler import FormatReader
from dlio_benchmark.utils.registry import Registry

READERS = Registry(
    key="dataset.format",
    group="dlio_benchmark.readers",
    ours={FormatType.PARQUET.value: "dlio_benchmark.reader.parquet_reader:ParquetReader"},
    base=FormatReader,
)


class ReaderFactory:
    """Makes readers by format."""

    @staticmethod
    def get_reader(
        type: FormatType | str,  # noqa: A002 - DLIO's name
        dataset_type: DatasetType,
        thread_index: int,
        epoch_number: int,
    ) -> FormatReader:
        """Return a new reader of a format.

        Raises:
            ConfigError: if there is none for it.
        """
        made: FormatReader = READERS.load(type)(dataset_type, thread_index, epoch_number)
        return made
