"""DLIO's face of the Parquet generator."""

from __future__ import annotations

from dlio_benchmark import session
from dlio_benchmark.data_generator.data_generator import DataGenerator
from dlio_benchmark.engine.generate import generate
from dlio_benchmark.engine.parts import WRITERS
from dlio_benchmark.engine.run import data_root
from dlio_benchmark.storage.local import LocalStorage


class _Silent:
    """Progress that nobody watches."""

    def advance(self, files: int, stored_bytes: int) -> None:
        """Take notice of nothing."""


def _unheard(_many: int) -> None:
    """Take notice of nothing."""


class ParquetGenerator(DataGenerator):
    """Writes the Parquet files of the configuration, and their manifest."""

    def generate(self) -> None:
        """Write the data set together with the other ranks, all of which call this.

        Raises:
            ConfigError: if the configuration is not valid.
            DataSetMismatchError: if the folder holds another data set.
            CannotCreateError: if there is no space or no permission.
        """
        workload = self._args.workload()
        folders = {
            "storage": {"storage_root": workload.storage.storage_root},
            "dataset": {"data_folder": workload.dataset.data_folder},
        }
        writer = WRITERS[workload.dataset.format](workload, self._args.write_threads, _unheard)
        storage = LocalStorage(data_root(folders))
        generate(workload, storage, session.current_comm(), writer=writer, progress=_Silent())
