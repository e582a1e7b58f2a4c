"""DLIO's base class of data loaders, for loaders that others write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from dlio_benchmark.common.enumerations import DataLoaderType, DatasetType, FormatType
from dlio_benchmark.utils.config import ConfigArguments


class BaseDataLoader(ABC):
    """Makes the batches of an epoch: `read` prepares, `next` yields, `finalize` ends."""

    def __init__(
        self,
        format_type: FormatType,
        dataset_type: DatasetType,
        epoch_number: int,
        data_loader_type: DataLoaderType,
    ) -> None:
        self._args = ConfigArguments.get_instance()
        self.format_type = format_type
        self.dataset_type = dataset_type
        self.epoch_number = epoch_number
        self.data_loader_type = data_loader_type
        training = dataset_type is DatasetType.TRAIN
        self.num_samples: int = self._args.total_samples_train if training else self._args.total_samples_eval
        self.batch_size: int = self._args.batch_size if training else self._args.batch_size_eval

    @abstractmethod
    def read(self) -> None:
        """Prepare the epoch; called before `next`."""

    @abstractmethod
    def next(self) -> Iterator[Any]:
        """Yield the batches of the epoch."""

    @abstractmethod
    def finalize(self) -> None:
        """Release what the epoch needed."""
