"""What this process is working on, for callers that cannot be handed it: the only global state.

The engine takes all of this as arguments.  DLIO's own interfaces are constructed without any, by plugins and tools, and
find it here.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dlio_benchmark.comm import Comm, connect
from dlio_benchmark.config.model import Workload

T = TypeVar("T")


@dataclass(slots=True)
class Session:
    """The workload and the group of this process, and one instance of each interface onto them.

    ``joined`` is the group that was joined here, and not handed over; here it must be left, too.
    """

    workload: Workload = field(default_factory=Workload)
    comm: Comm | None = None
    joined: Comm | None = None
    faces: dict[object, Any] = field(default_factory=dict)


_session = Session()


def begin(workload: Workload, comm: Comm) -> None:
    """Make ``workload`` and ``comm`` what the interfaces made from now on are views of."""
    _session.workload, _session.comm = workload, comm
    _session.faces.clear()


def current_workload() -> Workload:
    """Return the workload of this process: that of `begin`, else the declared defaults."""
    return _session.workload


def current_comm() -> Comm:
    """Return the group of this process, which is joined on the first call and left when the process ends well."""
    if _session.comm is None:
        _session.comm = _session.joined = connect(os.environ)
        atexit.register(_leave_at_the_end)
    return _session.comm


def leave() -> None:
    """Leave the group that `current_comm` joined, together with all ranks; nothing happens without one."""
    joined, _session.joined = _session.joined, None
    if joined is not None:
        joined.close()


def _leave_at_the_end() -> None:
    """Leave the group, unless an error ends this process; that the group is still open then tells the other ranks."""
    if getattr(sys, "last_value", None) is None:
        leave()


def known_comm() -> Comm | None:
    """Return the group of this process if it was joined already."""
    return _session.comm


def face(kind: Callable[[], T]) -> T:
    """Return this process's instance of an interface, made on the first call."""
    if kind not in _session.faces:
        _session.faces[kind] = kind()
    made: T = _session.faces[kind]
    return made


def forget(kind: Callable[[], object]) -> None:
    """Drop this process's instance of an interface; the next `face` makes another."""
    _session.faces.pop(kind, None)
