"""How a process of a group ends: never in silence, never alone, always with a code that says why.

A rank that dies by an exception, leaves early or is interrupted would leave the others waiting in a collective for
ever.  A `Guard` stands around the work of a process: whatever ends it, the guard says which rank, on which
host, in which stage, and then ends the whole group.  The group itself (see `Group`) is lent to the guard by
`dlio_benchmark.comm.connect`; without one the guard only ends its own process.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType, TracebackType
from typing import Any, Protocol, TypeVar

from dlio_benchmark.errors import DlioError, Exit, InterruptedRunError, PeerFailedError
from dlio_benchmark.plan.world import World

T = TypeVar("T")

FAILED_IN = "failed in stage:"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_S = 4.0
_ORPHAN_S = 1.0
# A launcher drops what it has not read yet when a process aborts; it gets this long to pass on the cause.
_HEARD_S = 0.3
# For a record on a file system that hangs and for the others to follow; then for the abort, which may hang, too.
_END_S = 6.0
_ABORT_S = 3.0
_AT_ONCE_S = 0.7
_PR_SET_PDEATHSIG = 1
_CLOCK_MONOTONIC = 1
_SIGEV_THREAD = 2


class Pulse:
    """What a process says it is doing; the work assigns ``stage`` and ``done``, other threads read them.

    Any new value counts as progress, and who works through many things or bytes moves ``done`` with every one of them:
    by `over` or `beat`, or as the plain attribute that it is for every step.  ``stage`` is for what is rarer, and is
    posted at once.  ``operations`` and ``waiting`` belong to the communicator: the collectives entered so
    far, and the one that it waits in.  ``papers`` are the log
    of the run and the folder of its results, where there are any: others may have to write there how it ended.
    """

    __slots__ = ("_lock", "_stage", "done", "operations", "papers", "post", "waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stage = "start"
        self.done = 0
        self.operations = 0
        self.waiting = ""
        self.papers = ("", "")
        self.post: Callable[[], None] | None = None

    @property
    def stage(self) -> str:
        """The part of the run that this process is in."""
        return self._stage

    @stage.setter
    def stage(self, stage: str) -> None:
        self._stage = stage
        self.done = 0
        if self.post is not None:
            self.post()

    def beat(self, many: int = 1) -> None:
        """Count things or bytes as done; any thread may call it."""
        with self._lock:
            self.done += many

    def over(self, things: Iterable[T]) -> Iterator[T]:
        """Yield ``things``; each counts as done when the next one is asked for."""
        for thing in things:
            yield thing
            self.beat()

    def __str__(self) -> str:
        return f"{self.stage}, {self.done} done" if self.done else self.stage


@dataclass(frozen=True, slots=True)
class Failure:
    """How a process ended: what a `failed` record needs."""

    rank: int
    size: int
    host: str
    pid: int
    stage: str
    code: int
    error: str
    message: str
    trace: str

    def __str__(self) -> str:
        who = f"rank {self.rank} of {self.size}" if self.size > 1 else "the process"
        lines = [f"{who} on host {self.host} (pid {self.pid}) {FAILED_IN} {self.stage}"]
        lines += self.trace.splitlines() or [f"{self.error}: {self.message}"]
        return "\n  ".join(lines)


class Group(Protocol):
    """The processes that end together."""

    def claim(self) -> bool:
        """Return whether this is the first process of the host to report an end; it speaks for the others."""

    def settle(self, code: int, *, first: bool) -> None:
        """Tell the others that this process ends with ``code``, and give those that follow a moment to end, too."""

    def abort(self, code: int) -> None:
        """End every process of the group with ``code``."""


def die_with_parent(signum: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Let the kernel send ``signum`` to this process when the thread that started it ends.

    Call it first thing in a worker, and start workers from a thread that lives as long as they shall.  ``parent`` is
    the process expected to be alive; when it is already gone the process ends at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(Exit.INTERNAL)


class _SignalEvent(ctypes.Structure):
    """``struct sigevent`` of 64-bit Linux."""

    _fields_ = [
        ("value", ctypes.c_ssize_t),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("padding", ctypes.c_byte * 32),
    ]


class _TimerSpec(ctypes.Structure):
    """``struct itimerspec``: interval and first expiry, seconds and nanoseconds each."""

    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "first_s", "first_ns")]


def end_after(seconds: float, code: int) -> Callable[[], None]:
    """End this process with ``code`` once ``seconds`` have passed, whoever holds the interpreter lock then.

    Returns a function that calls it off.

    MPI_Finalize and MPI_Abort are called with the lock held, so no Python thread could end a process that
    hangs in them.  The C library calls ``_exit(code)`` itself; where it cannot, faulthandler ends with code 1.
    """
    libc = ctypes.CDLL(None)
    if sys.platform != "linux" or not hasattr(libc, "timer_create"):
        faulthandler.dump_traceback_later(seconds, exit=True)
        return faulthandler.cancel_dump_traceback_later
    leave = ctypes.cast(libc._exit, ctypes.c_void_p)
    event = _SignalEvent(value=int(code), notify=_SIGEV_THREAD, function=leave.value)
    timer = ctypes.c_void_p()
    spec = _TimerSpec(0, 0, int(seconds), max(1, int(seconds % 1 * 1e9)))
    if libc.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        faulthandler.dump_traceback_later(seconds, exit=True)
        return faulthandler.cancel_dump_traceback_later
    libc.timer_settime(timer, 0, ctypes.byref(spec), None)
    return lambda: libc.timer_delete(timer)


def exit_code(error: BaseException) -> int:
    """Return the status to end with because of ``error``; never 0 and never a multiple of 256."""
    if isinstance(error, SystemExit):
        return (error.code if isinstance(error.code, int) else 1) & 0xFF or int(Exit.INTERNAL)
    if isinstance(error, KeyboardInterrupt):
        return int(Exit.INTERRUPTED)
    return int(error.code) if isinstance(error, DlioError) else int(Exit.INTERNAL)


def _interruption(signum: int) -> InterruptedRunError:
    error = InterruptedRunError(f"interrupted by {signal.Signals(signum).name}")
    error.code = Exit.INTERRUPTED if signum == signal.SIGINT else Exit.TERMINATED
    return error


class Guard:
    """Ends the group, with a word, when the block that it stands around ends in any way but well.

    Installed (``with guard:``) it takes over ``sys.excepthook``, ``threading.excepthook``, SIGINT, SIGTERM, SIGHUP
    unless nohup had it ignored, and, under a launcher, the signal for the launcher's death.  The first signal raises
    `InterruptedRunError` in the main thread.  When that is stuck, a second one or the end of half of its patience has
    the guard's own thread report and end; whatever is stuck then, the process ends when its patience does.

    Args:
        debug: show the traceback of errors raised on purpose, too.
        record: is called with the failure before the group ends.
        patience_s: how long the process may go on after a signal.
    """

    def __init__(
        self,
        *,
        debug: bool = False,
        record: Callable[[Failure], None] | None = None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self.pulse = Pulse()
        self.world = World()
        self.host = socket.gethostname()
        self.group: Group | None = None
        self.verdict: DlioError | None = None
        self.ending = False
        self._interrupted = False
        self._debug = debug
        self._record = record
        self._patience_s = patience_s
        self._lock = threading.RLock()
        self._launcher = os.getppid()
        self._undo: list[Callable[[], Any]] = []

    def __enter__(self) -> Guard:
        hook, thread_hook = sys.excepthook, threading.excepthook
        os.register_at_fork(after_in_child=self._forget)
        self._undo = [partial(setattr, sys, "excepthook", hook), partial(setattr, threading, "excepthook", thread_hook)]
        sys.excepthook = lambda _kind, error, _trace: self.fail(error)
        threading.excepthook = self._thread_failed
        if threading.current_thread() is threading.main_thread():
            self._take_signals()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self.group is not None:
                error = DlioError("the process left its group without closing it")
            if error is not None and not (isinstance(error, SystemExit) and self.group is None):
                self.fail(error)
                raise SystemExit(exit_code(error))
        finally:
            self._let_go()

    def _let_go(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _forget(self) -> None:
        """Give a forked child its own ends back: its signals and errors are no business of the group."""
        self.group = None
        self._let_go()

    def fail(self, error: BaseException) -> None:
        """Report ``error`` and end the group; without a group only report it."""
        with self._lock:
            if self.ending:
                return
            self.ending = True
            group, failure = self.group, self.failure(error)
            follows = isinstance(error, PeerFailedError) or self.verdict not in (None, error)
            cancel = end_after(_END_S, failure.code)
            first = not follows and (group is None or group.claim())
            if first:
                self.say(str(failure))
            if self._record is not None:
                self._record(failure)
            if group is not None:
                group.settle(failure.code, first=first)
                with contextlib.suppress(OSError):
                    sys.stdout.flush()
                if first:
                    time.sleep(_HEARD_S)
                cancel()
                cancel = end_after(_ABORT_S, failure.code)
                group.abort(failure.code)
            self.ending = group is not None
            cancel()

    def failure(self, error: BaseException) -> Failure:
        """Return what there is to say about an end by ``error``."""
        quiet = isinstance(error, DlioError | SystemExit | KeyboardInterrupt) and not self._debug
        message = f"exit({error.code}) before the group was closed" if isinstance(error, SystemExit) else str(error)
        return Failure(
            self.world.rank,
            self.world.size,
            self.host,
            os.getpid(),
            str(self.pulse),
            exit_code(error),
            type(error).__name__,
            message,
            "" if quiet else "".join(traceback.format_exception(error)),
        )

    def say(self, text: str) -> None:
        """Write one block to standard error, as a whole; who listened may be gone already."""
        with contextlib.suppress(OSError):
            sys.stderr.flush()
            os.write(2, f"dlio_benchmark: {text}\n".encode(errors="replace"))

    def _thread_failed(self, args: Any) -> None:
        if args.exc_type is SystemExit:
            return
        error = args.exc_value or args.exc_type()
        error.add_note(f"in thread {args.thread.name if args.thread else 'unknown'}")
        self.fail(error)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(exit_code(error))

    def _take_signals(self) -> None:
        heard, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(heard, True)
        former_fd = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        threading.Thread(target=self._hear, args=(heard,), name="dlio-signals", daemon=True).start()
        self._undo += [lambda: os.close(told), lambda: signal.set_wakeup_fd(former_fd)]
        for signum in _SIGNALS:
            if signum == signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
                continue  # under nohup a run outlives its terminal
            self._undo.append(partial(signal.signal, signum, signal.signal(signum, self._signalled)))

    def _hear(self, heard: int) -> None:
        """Bound the time that is left after a signal, even when the main thread never comes back to take it."""
        poll = select.poll()
        poll.register(heard, select.POLLIN)
        error: InterruptedRunError | None = None
        until = 0.0
        while True:
            ready = poll.poll(None if error is None else max(0.0, 1000 * (until - time.monotonic())))
            number = os.read(heard, 1) if ready else b""
            if ready and not number:
                break
            if number and number[0] not in _SIGNALS:
                continue
            if error is not None:
                end_after(_AT_ONCE_S, error.code)
                self.fail(error)
                os._exit(error.code)
            error = _interruption(number[0])
            patience_s = self._patience_s if os.getppid() == self._launcher else _ORPHAN_S
            end_after(patience_s, error.code)
            until = time.monotonic() + patience_s / 2
        os.close(heard)

    def _signalled(self, signum: int, _frame: FrameType | None) -> None:
        if not self._interrupted and not self.ending:
            self._interrupted = True
            raise _interruption(signum)
