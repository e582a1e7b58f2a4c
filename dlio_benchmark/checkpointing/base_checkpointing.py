"""DLIO's base class of checkpoint writers, for writers that others write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from dlio_benchmark import session
from dlio_benchmark.utils.config import ConfigArguments


class BaseCheckpointing(ABC):
    """Writes and reads checkpoints; there is one instance per process and class.

    Attributes:
        ext: extension of the files.
        checkpoint_size: size of a checkpoint of the whole job in GiB.
    """

    def __init__(self, ext: str) -> None:
        self._args = ConfigArguments.get_instance()
        self.ext = ext
        self.checkpoint_size = 0.0

    @classmethod
    def get_instance(cls) -> Self:
        """Return this process's instance."""
        return session.face(cls)

    @abstractmethod
    def set_madvise_mergeable(self, tensor: Any) -> bool:
        """Offer the memory of a tensor to same-page merging, and return whether it was taken."""

    @abstractmethod
    def get_tensor_core(self, length: int, datatype: str = "int8", randomize: bool = True) -> Any:
        """Return a tensor of ``length`` elements."""

    @abstractmethod
    def save_state(self, suffix: str, state: Mapping[str, Any], fsync: bool = False) -> None:
        """Write a part of a checkpoint."""

    @abstractmethod
    def load_state(self, suffix: str, state: Mapping[str, Any]) -> None:
        """Read a part of a checkpoint."""

    @abstractmethod
    def save_checkpoint(self, epoch: int, step_number: int) -> None:
        """Write a checkpoint."""

    @abstractmethod
    def load_checkpoint(self, epoch: int, step_number: int) -> None:
        """Read a checkpoint."""

    @abstractmethod
    def finalize(self) -> None:
        """Release everything."""
