"""Steps that all ranks make together: either every rank goes on, or every rank ends with the same error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dlio_benchmark.comm import Comm
from dlio_benchmark.errors import DlioError, Exit, InterruptedRunError, PeerFailedError

T = TypeVar("T")
_Failure = tuple[int, str] | None


def on_root(comm: Comm, what: str, action: Callable[[], T]) -> T:
    """Run ``action`` on rank 0 and return its value on every rank.

    Raises:
        DlioError: the error of ``action`` on rank 0, and `PeerFailedError` with its code on the others.
    """
    value, error = _tried(action) if comm.world.rank == 0 else (None, None)
    told: tuple[T | None, _Failure] = comm.share((value, _told(error)), what)
    if error is not None:
        error.agreed = True
        raise error
    if told[1] is not None:
        raise PeerFailedError(0, Exit(told[1][0]), told[1][1])
    return told[0]  # type: ignore[return-value]


def at_length(comm: Comm, what: str, action: Callable[[], T]) -> list[T]:
    """Run ``action``, which may take hours, on every rank and return all values in rank order.

    Raises:
        DlioError: the error of ``action``, at once on the rank that it failed on.  The others are not awaited: the
            error is not agreed, so whoever stands around the work ends the group.
    """
    return comm.gather(action(), what)


def everywhere(comm: Comm, what: str, action: Callable[[], T]) -> list[T]:
    """Run ``action``, which is soon done, on every rank and return all values in rank order.

    Raises:
        DlioError: if it failed on some rank: its own error on the first of them, `PeerFailedError` on the others.
    """
    value, error = _tried(action)
    told: list[tuple[T | None, _Failure]] = comm.gather((value, _told(error)), what)
    failed = [(rank, failure) for rank, (_, failure) in enumerate(told) if failure is not None]
    if not failed:
        return [value for value, _ in told]  # type: ignore[misc]
    rank, (code, text) = failed[0]
    if error is not None and rank == comm.world.rank:
        error.agreed = True
        raise error
    raise PeerFailedError(rank, Exit(code), text)


def _tried(action: Callable[[], T]) -> tuple[T | None, DlioError | None]:
    try:
        return action(), None
    except InterruptedRunError:
        raise  # there is no time to agree
    except DlioError as error:
        return None, error


def _told(error: DlioError | None) -> _Failure:
    return None if error is None else (int(error.code), str(error))
