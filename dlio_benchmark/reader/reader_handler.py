"""DLIO's base class of readers, for readers that others write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.utils.config import ConfigArguments


class FormatReader(ABC):
    """Reads the samples of a data set one by one.

    A subclass is constructed with (dataset_type, thread_index, epoch) and implements at least `open` and `get_sample`.
    What `open` returns is kept in ``open_file_map`` until the file is closed.

    Attributes:
        file_map: per thread, the (sample, path, sample in the file) to read, as `ConfigArguments.build_sample_map_iter`
            makes it.
        global_index_map: sample to (path, sample in the file), as `ConfigArguments.get_global_map_index` makes it.
    """

    def __init__(self, dataset_type: DatasetType, thread_index: int) -> None:
        self._args = ConfigArguments.get_instance()
        self.dataset_type = dataset_type
        self.thread_index = thread_index
        training = dataset_type is DatasetType.TRAIN
        self.batch_size: int = self._args.batch_size if training else self._args.batch_size_eval
        self.open_file_map: dict[str, Any] = {}
        self.file_map: Mapping[int, Sequence[tuple[int, str, int]]] = {}
        self.global_index_map: Mapping[int, tuple[str, int]] = {}

    @abstractmethod
    def open(self, filename: str) -> Any:
        """Open a file and return what `get_sample` needs of it."""

    @abstractmethod
    def get_sample(self, filename: str, sample_index: int) -> Any:
        """Return a sample of an open file."""

    def close(self, filename: str) -> None:
        """Release a file; nothing happens if it is not open."""
        self.open_file_map.pop(filename, None)

    def next(self) -> Iterator[list[Any]]:
        """Yield batches of exactly ``batch_size`` samples of this thread's share; a shorter rest is left out."""
        entries = self.file_map.get(max(0, self.thread_index), ())
        batch: list[Any] = []
        for position, (_, path, index) in enumerate(entries):
            batch.append(self._sample(path, index))
            if position + 1 == len(entries) or entries[position + 1][1] != path:
                self.close(path)
            if len(batch) == self.batch_size:
                yield batch
                batch = []

    def read_index(self, global_sample_idx: int, step: int) -> Any:  # noqa: ARG002 - DLIO's arguments
        """Return the sample with a number of the whole split."""
        path, index = self.global_index_map[global_sample_idx]
        return self._sample(path, index)

    def _sample(self, path: str, index: int) -> Any:
        if path not in self.open_file_map:
            self.open_file_map[path] = self.open(path)
        return self.get_sample(path, index)

    def finalize(self) -> None:
        """Close every file that is open."""
        for path in list(self.open_file_map):
            self.close(path)

    def is_index_based(self) -> bool:
        """Return whether `read_index` may be used."""
        return True

    def is_iterator_based(self) -> bool:
        """Return whether `next` may be used."""
        return True
