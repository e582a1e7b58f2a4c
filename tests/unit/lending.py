"""A storage that knows which of its files are open."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

from property_reading import stored

from dlio_benchmark.storage.base import InputFile


class Lending:
    """Files in memory, by path or one of them alone; ``open`` says how many were not given back."""

    def __init__(self, bodies: bytes | Mapping[str, bytes]) -> None:
        self._inner = stored(bodies)
        self._lock = Lock()
        self.open = 0

    def count(self, change: int) -> None:
        """Count a file that was opened or closed, in any thread."""
        with self._lock:
            self.open += change

    def open_input(self, path: str) -> InputFile:
        """Open a file."""
        self.count(1)
        return _Lent(self._inner.open_input(path), self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Lent:
    def __init__(self, inner: InputFile, storage: Lending) -> None:
        self._inner, self._storage, self.size = inner, storage, inner.size

    def pread(self, offset: int, *into: memoryview) -> int:
        return self._inner.pread(offset, *into)

    def close(self) -> None:
        self._storage.count(-1)
        self._inner.close()
