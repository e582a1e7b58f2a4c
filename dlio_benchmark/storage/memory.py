"""Files in memory: the storage for tests, with the same promises as the real one."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from dlio_benchmark.errors import DataMissingError


class MemoryStorage:
    """Files by path; ``reads`` records each read as (path, offset, bytes asked for)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.reads: list[tuple[str, int, int]] = []

    def open_input(self, path: str) -> MemoryInput:
        """Open a file for reading."""
        if path not in self.files:
            msg = f"{path}: no such file"
            raise DataMissingError(msg)
        return MemoryInput(self, path)

    def open_output(self, path: str) -> MemoryOutput:
        """Open a file for writing; its name appears when the context ends without an error."""
        return MemoryOutput(self, path)

    def list(self, folder: str) -> Iterator[str]:
        """Yield the paths of all files below ``folder``."""
        top = folder.rstrip("/")
        yield from [path for path in self.files if top in ("", ".") or path.startswith(f"{top}/")]

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes, or None if there is none."""
        return len(self.files[path]) if path in self.files else None

    def delete(self, path: str) -> None:
        """Remove a file, or all below a folder."""
        for name in [name for name in self.files if name == path or name.startswith(f"{path.rstrip('/')}/")]:
            del self.files[name]


class MemoryInput:
    """An open file in memory."""

    def __init__(self, storage: MemoryStorage, path: str) -> None:
        self._reads, self._path = storage.reads, path
        self._bytes = memoryview(storage.files[path])
        self.size = len(self._bytes)

    def pread(self, offset: int, *into: memoryview) -> int:
        """Fill the pieces of ``into`` from ``offset`` on; the result is short only at the end of the file."""
        self._reads.append((self._path, offset, sum(map(len, into))))
        at = offset
        for piece in into:
            found = self._bytes[at : at + len(piece)]
            piece[: len(found)] = found
            at += len(found)
        return at - offset

    def close(self) -> None:
        """Release the file."""


class MemoryOutput:
    """A file in memory being written."""

    def __init__(self, storage: MemoryStorage, path: str) -> None:
        self._storage, self._path = storage, path
        self._chunks: list[bytes] = []

    def write(self, chunk: bytes | memoryview) -> int:
        """Append all of ``chunk`` and return its length in bytes."""
        self._chunks.append(bytes(chunk))
        return len(self._chunks[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._storage.files[self._path] = b"".join(self._chunks)
