"""Exit statuses of the front end, and how an error or an ended engine becomes one of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from dlio_benchmark.errors import DlioError, Exit


class Status(IntEnum):
    """What a command of the front end ended with."""

    SUCCESS = 0
    GENERAL = 1
    ARGUMENTS = 2
    NOT_FOUND = 3
    PERMISSION = 4
    CONFIGURATION = 5
    FAILURE = 6
    TIMEOUT = 7
    INTERRUPTED = 8


_STATUS_OF_EXIT: Mapping[int, Status] = {
    Exit.OK: Status.SUCCESS,
    Exit.USAGE: Status.ARGUMENTS,
    Exit.CONFIG: Status.CONFIGURATION,
    Exit.DATA_MISSING: Status.NOT_FOUND,
    Exit.CANNOT_CREATE: Status.PERMISSION,
    Exit.STALLED: Status.TIMEOUT,
    Exit.INTERRUPTED: Status.INTERRUPTED,
    Exit.TERMINATED: Status.INTERRUPTED,
}


def status_of_exit(code: int) -> Status:
    """Return the front end's status for the exit code of an engine or of an error."""
    return _STATUS_OF_EXIT.get(code, Status.FAILURE)


class VerdictError(DlioError):
    """The command asks for a closed submission, and the rules do not allow what it would run."""


class LaunchError(DlioError):
    """The engine cannot be launched as asked."""

    code = Exit.NOT_MET


class EngineFailedError(DlioError):
    """The engine ended without success; ``child_code`` is its exit code."""

    def __init__(self, message: str, child_code: int) -> None:
        super().__init__(message)
        self.child_code = child_code


def status_of_error(error: DlioError) -> Status:
    """Return the status that ``error`` ends the command with."""
    if isinstance(error, VerdictError):
        return Status.GENERAL
    if isinstance(error, EngineFailedError):
        return status_of_exit(error.child_code) if error.child_code else Status.FAILURE
    return status_of_exit(error.code)
