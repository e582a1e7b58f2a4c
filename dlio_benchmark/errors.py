"""Everything that this package raises on purpose, and the exit code of each kind.

The codes follow sysexits where it has a word for the case, so that a batch system can tell a bad
configuration from a bad disk.  A code is never 0 and never a multiple of 256: launchers report both
as success.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit status of a command, by kind of ending."""

    OK = 0
    USAGE = 2
    DATA_INVALID = 65
    DATA_MISSING = 66
    NOT_MET = 69
    INTERNAL = 70
    STALLED = 71
    CANNOT_CREATE = 73
    IO = 74
    LOCKED = 75
    CONFIG = 78
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with an input: ``where`` it stands and ``what`` is wrong with it."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def listed(headline: str, issues: Iterable[Issue | str]) -> str:
    """Return ``headline`` followed by one indented line per issue."""
    return "\n".join([headline, *(f"  - {issue}" for issue in issues)])


def shown(value: object) -> str:
    """Return ``value`` as a user wrote it, on one line and cut to a readable length."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return f"a value of type {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100


class DlioError(Exception):
    """Base of every error raised on purpose.

    Attributes:
        code: the exit status that it ends the command with.
        agreed: whether every rank knows of it, so that all can end in step.
    """

    code: Exit = Exit.INTERNAL
    agreed: bool = False


class UsageError(DlioError):
    """The command line cannot be understood."""

    code = Exit.USAGE


class ConfigError(DlioError, ValueError):
    """The configuration is not valid; ``issues`` holds every problem found in it."""

    code = Exit.CONFIG

    def __init__(self, issues: Sequence[Issue], headline: str = "the workload configuration is not valid") -> None:
        super().__init__(listed(headline, issues))
        self.issues = tuple(issues)


class DataError(DlioError, ValueError):
    """A file of the data set is damaged, or is not what the run expects."""

    code = Exit.DATA_INVALID


class ParquetFileError(DataError):
    """A Parquet file cannot be read; says the file and, where known, row group, column and byte offset."""


class SchemaMismatchError(DataError):
    """A file's columns differ from the configured ones; the message lists all that are missing or differ."""


class DataSetMismatchError(DataError):
    """The data set was made from another configuration than the one that wants to read it."""


class DataMissingError(DlioError, FileNotFoundError):
    """Files that the plan names do not exist."""

    code = Exit.DATA_MISSING


class UnreadableError(DlioError, PermissionError):
    """This process may not read what it has to; says whose it is, with which mode, and as whom the process runs."""

    code = Exit.DATA_MISSING


class InvalidResultError(DlioError):
    """The run ended, but its result does not carry its proof and must not be published."""

    code = Exit.NOT_MET


class PeerFailedError(DlioError):
    """Another rank failed; it reports its error itself, this rank only ends with the same code."""

    agreed = True

    def __init__(self, rank: int, code: Exit, text: str) -> None:
        super().__init__(f"rank {rank} failed: {text}")
        self.rank, self.code = rank, code


class StalledError(DlioError):
    """Some ranks did not reach an operation before its deadline."""

    code = Exit.STALLED


class CollectiveMismatchError(DlioError):
    """The ranks are in different operations; every one of them gets this error."""


class RankLostError(DlioError):
    """Another rank failed, was interrupted or ended without a word."""


class WorkerLostError(DlioError):
    """A worker process of a loader ended before its work was done; says which one, and how."""


class CannotCreateError(DlioError, OSError):
    """Something cannot be written: no space, no permission, a read-only file system."""

    code = Exit.CANNOT_CREATE


class StorageError(DlioError, OSError):
    """The storage failed while reading or writing."""

    code = Exit.IO


class LockHeldError(DlioError):
    """Another process is generating into the same folder."""

    code = Exit.LOCKED


class InterruptedRunError(DlioError):
    """A signal asked the run to end."""

    code = Exit.INTERRUPTED
