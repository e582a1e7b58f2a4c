"""DLIO's base class of generators, for generators that others write."""

from __future__ import annotations

from abc import ABC, abstractmethod

from dlio_benchmark.utils.config import ConfigArguments


class DataGenerator(ABC):
    """Writes a data set as the configuration says."""

    def __init__(self) -> None:
        """Take the configuration of this process; `derive_configurations` completes it, `generate` will validate it."""
        self._args = ConfigArguments.get_instance()
        self._args.derive_configurations()

    @abstractmethod
    def generate(self) -> None:
        """Write this rank's files."""
