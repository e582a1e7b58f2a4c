"""Small functions and names that plugins and tools import from DLIO."""

from __future__ import annotations

import argparse
import datetime
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dlio_benchmark.utils.mpi import DLIOMPI, NoGroupError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

DFTRACER_ENABLE = False
OUTPUT_LEVEL = 35
LOG_TS_FORMAT = "%Y-%m-%dT%H:%M:%S.%f"


def utcnow(format: str = LOG_TS_FORMAT) -> str:  # noqa: A002 - DLIO's name
    """Return the local time, which is what DLIO means by the name, in the form of its log lines."""
    return datetime.datetime.now(datetime.UTC).astimezone().strftime(format)


def add_padding(n: int, num_digits: int | None = None) -> str:
    """Return ``n`` with zeros on the left up to ``num_digits``."""
    return str(n).zfill(num_digits or 0)


def str2bool(v: str | bool) -> bool:
    """Return the truth value that a word of a command line means.

    Raises:
        argparse.ArgumentTypeError: if it means none.
    """
    word = str(v).lower()
    if word in ("yes", "true", "t", "y", "1"):
        return True
    if word in ("no", "false", "f", "n", "0"):
        return False
    msg = f"must be yes or no, got {v!r}"
    raise argparse.ArgumentTypeError(msg)


def gen_random_tensor(  # noqa: PLR0917 - DLIO's order of arguments
    shape: int | Sequence[int],
    dtype: DTypeLike,
    rng: np.random.Generator | None = None,
    method: str | None = None,  # noqa: ARG001 - there is one method here
    writeable: bool = True,
    seed: int | None = None,
) -> NDArray[Any]:
    """Return an array of random values: [0, 1) for floats, all values of the type for integers and booleans.

    Args:
        shape: of the array.
        dtype: of the array.
        rng: where the values come from; if absent, a new generator of ``seed``.
        method: accepted for callers of DLIO.
        writeable: whether the array may be changed.
        seed: makes the values repeatable.
    """
    kind, dice = np.dtype(dtype), rng or np.random.default_rng(seed)
    if kind.kind == "f":
        out = dice.random(shape, np.float64 if kind.itemsize == 8 else np.float32).astype(kind, copy=False)
    elif kind.kind == "b":
        out = dice.integers(0, 2, shape).astype(kind)
    else:
        limits = np.iinfo(kind)
        out = dice.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    out.flags.writeable = writeable
    return out


class Profile:
    """A tracer that traces nothing, for code that is written for one: context manager, decorators and `iter`."""

    def __init__(self, cat: str = "", name: str = "", **_more: Any) -> None:
        self.cat, self.name = cat, name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let errors pass."""

    def log(self, function: F) -> F:
        """Return ``function``."""
        return function

    log_init = log
    log_static = log

    def iter(self, items: Iterable[T], **_more: Any) -> Iterator[T]:
        """Yield the items."""
        yield from items

    def update(self, **_more: Any) -> Self:
        """Ignore what is known of the current region."""
        return self

    def flush(self) -> None:
        """Do nothing."""

    def reset(self) -> None:
        """Do nothing."""


class PerfTrace:
    """The life of a tracer that traces nothing."""

    @classmethod
    def initialize_log(cls, *_args: Any, **_more: Any) -> Self:
        """Return a tracer."""
        return cls()

    def finalize(self) -> None:
        """Do nothing."""


class DLIOLogger:
    """Access to the logger ``DLIO``."""

    @staticmethod
    def get_instance() -> logging.Logger:
        """Return the logger, which knows the level OUTPUT."""
        logging.addLevelName(OUTPUT_LEVEL, "OUTPUT")
        return logging.getLogger("DLIO")

    @staticmethod
    def reset() -> None:
        """Do nothing: the logger belongs to the process."""


__all__ = [
    "DFTRACER_ENABLE",
    "DLIOMPI",
    "LOG_TS_FORMAT",
    "OUTPUT_LEVEL",
    "DLIOLogger",
    "NoGroupError",
    "PerfTrace",
    "Profile",
    "add_padding",
    "gen_random_tensor",
    "str2bool",
    "utcnow",
]
