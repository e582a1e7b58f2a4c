"""The generators by format, for callers that know DLIO's factory."""

from __future__ import annotations

from dlio_benchmark.common.enumerations import FormatType
from dlio_benchmark.data_generator.data_generator import DataGenerator
from dlio_benchmark.utils.registry import Registry

GENERATORS = Registry(
    key="dataset.format",
    group="dlio_benchmark.generators",
    ours={FormatType.PARQUET.value: "dlio_benchmark.data_generator.parquet_generator:ParquetGenerator"},
    base=DataGenerator,
)


class GeneratorFactory:
    """Makes generators by format."""

    @staticmethod
    def get_generator(type: FormatType | str) -> DataGenerator:  # noqa: A002 - DLIO's name
        """Return a new generator of a format.

        Raises:
            ConfigError: if there is none for it.
        """
        made: DataGenerator = GENERATORS.load(type)()
        return made
