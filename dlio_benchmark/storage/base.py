"""What the benchmark needs of a storage, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self, runtime_checkable


class InputFile(Protocol):
    """An open file; `pread` may be called from several threads at once."""

    size: int

    def pread(self, offset: int, *into: memoryview) -> int:
        """Fill ``into``, one piece after the other, with the bytes from ``offset`` on, and return how many were read.

        They are fewer than asked only at the end of the file.

        Raises:
            StorageError: if the storage fails; the message names path and offset.
        """

    def close(self) -> None:
        """Release the file; calling it again does nothing."""


class OutputFile(Protocol):
    """A file being written; its name appears only when the context ends without an error."""

    def write(self, chunk: bytes | memoryview) -> int:
        """Append all of ``chunk`` and return its length.

        Raises:
            CannotCreateError: if there is no space or no permission; the message names the path.
            StorageError: if the storage fails.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Outputs(Protocol):
    """Where files are written: what a writer needs of a storage."""

    def open_output(self, path: str) -> OutputFile:
        """Open a file for writing; folders are made as needed, and an existing file is replaced at the end."""


@runtime_checkable
class Storage(Protocol):
    """Files by path relative to the root of the storage, with ``/`` between folders."""

    def open_input(self, path: str) -> InputFile:
        """Open a file for reading.

        Raises:
            DataMissingError: if there is no such file.
            StorageError: if it cannot be opened.
        """

    def open_output(self, path: str) -> OutputFile:
        """Open a file for writing; folders are made as needed, and an existing file is replaced at the end."""

    def list(self, folder: str) -> Iterator[str]:
        """Yield the paths of all files below ``folder``, in no particular order; nothing if it does not exist."""

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes, or None if there is none."""

    def delete(self, path: str) -> None:
        """Remove a file, or a folder with all below it; nothing happens if it does not exist."""
