"""The group over MPI: collectives that are checked, polled, and never wait for ever.

Every operation starts with the same small reduction of (number, kind, name) over all ranks, in place of a plain
barrier and as cheap as one.  Only when all agree does an operation go on to exchange its values, so a mismatch is
seen by every rank before any value is taken for another.  Nothing blocks inside MPI: requests are tested, at first
without pause, then with growing naps, which leaves the interpreter to the `Watch` that ends what cannot be completed.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
import time
import zlib
from array import array
from collections.abc import Sequence
from typing import Any, TypeVar

import mpi4py

mpi4py.rc.initialize = False
from mpi4py import MPI  # noqa: E402 - is set up not to start MPI on import

from dlio_benchmark.board import Board, Row, State, remove_segments, segments  # noqa: E402
from dlio_benchmark.comm import Launch, differing  # noqa: E402
from dlio_benchmark.errors import ConfigError, DlioError, Exit, Issue, StalledError  # noqa: E402
from dlio_benchmark.guard import Guard, die_with_parent, end_after  # noqa: E402
from dlio_benchmark.lifeline import Lifeline, Witness  # noqa: E402
from dlio_benchmark.plan.world import World  # noqa: E402
from dlio_benchmark.watch import Watch  # noqa: E402

T = TypeVar("T")

_SPIN_NS = 200_000
_LONGEST_NAP_S = 0.001
_FINALIZE_S = 10.0
_LAST_WORDS_S = 0.2
_FOLLOW_S = 3.0
_LEAD_S = 1.5
_DESCRIPTION_BYTES = 256
_OPEN_MPI = "Open MPI"


def join(
    launch: Launch,
    guard: Guard,
    *,
    deadline_s: float,
    stall_s: float,
    place: str = "",
    board: int | None = None,
    starter: int | None = None,
) -> Mpi:
    """Return the group of all ranks that the launcher started; it is lent to ``guard``.

    See `Mpi` for ``place``, ``board`` and ``starter``.

    Raises:
        ConfigError: if the MPI library is not the launcher's, or sees another number of ranks.
    """
    library = MPI.Get_library_version().split("\n")[0].split(",")[0].strip("\0 ")
    foreign = {_OPEN_MPI: not library.startswith(_OPEN_MPI), "Hydra": library.startswith(_OPEN_MPI)}
    if foreign.get(launch.launcher, False):
        raise _wrong(f"the ranks were started by {launch.launcher}, but mpi4py is bound to {library}")
    owned = not MPI.Is_initialized()
    if owned:
        _start(deadline_s)
    size = MPI.COMM_WORLD.Get_size()
    if launch.size is not None and launch.size != size:
        if owned:
            MPI.Finalize()
        raise _wrong(f"{launch.launcher} started {launch.size} ranks, but {library} sees {size}")
    die_with_parent(signal.SIGTERM)
    return Mpi(
        MPI.COMM_WORLD,
        guard,
        deadline_s=deadline_s,
        stall_s=stall_s,
        owned=owned,
        place=place,
        board=board,
        starter=starter,
    )


def _start(deadline_s: float) -> None:
    """Start MPI, which waits for all ranks and cannot be polled: past the deadline say where, and end."""
    if not deadline_s:
        MPI.Init_thread(MPI.THREAD_MULTIPLE)
        return
    faulthandler.dump_traceback_later(deadline_s)
    cancel = end_after(deadline_s + _LAST_WORDS_S, Exit.STALLED)
    MPI.Init_thread(MPI.THREAD_MULTIPLE)
    cancel()
    faulthandler.cancel_dump_traceback_later()


def _wrong(what: str) -> ConfigError:
    remedy = f"start the ranks with the mpirun that belongs to {sys.executable}"
    return ConfigError([Issue("MPI", f"{what}; {remedy}")], "launcher and MPI library do not belong together")


class Mpi:
    """The ranks of an MPI communicator; one thread of each uses it.

    Args:
        world: is duplicated, so that its other users and this group do not meet.
        owned: MPI was started for this group and is finalized with it.
        place: names what shares memory and process numbers with this rank; by default the host.
        board: the opened board of who launched the job, if that is known.
        starter: the process of who launched the job, with which the group ends.
    """

    def __init__(
        self,
        world: Any,
        guard: Guard,
        *,
        deadline_s: float,
        stall_s: float,
        owned: bool = False,
        place: str = "",
        board: int | None = None,
        starter: int | None = None,
    ) -> None:
        self._starter = starter
        self.world = guard.world = World(world.Get_rank(), world.Get_size())
        self.pulse = guard.pulse
        self._guard = guard
        self._owned = owned
        self._deadline_ns = round(deadline_s * 1e9)
        self._watch: Watch | None = None
        self._mine, self._most = array("q", [0, 0, 0]), array("q", [0, 0, 0])
        self._abandoned: list[Any] = []
        self._lifeline = Lifeline()
        self._witness: Witness | None = None
        self._comm, request = world.Idup()
        self._wait(request, "start")
        self._watch = self._watched(place or _place(), board, deadline_s=deadline_s, stall_s=stall_s)
        guard.group = self
        atexit.register(self._left_open)
        self._watch.start()
        self.barrier("board")

    def _watched(self, place: str, board: int | None, *, deadline_s: float, stall_s: float) -> Watch:
        """Return the watch over this rank, on a board that it shares with the other ranks of its place."""
        fd = Board.make(self.world.size) if board is None else board
        mine = (self._guard.host, place, (os.getpid(), self._lifeline.fd), Board.path_of(fd))
        ranks = self.gather(mine, "board")
        self._hosts = [host for host, *_ in ranks]
        places: dict[str, dict[int, tuple[int, int]]] = {}
        for rank, (_, where, ends, _) in enumerate(ranks):
            places.setdefault(where, {})[rank] = ends
        here = places[place]
        neighbours = {rank: pid for rank, (pid, _) in here.items()}
        leader = min(neighbours)
        if leader == self.world.rank:
            self._witness = Witness(self.world.size, fd, here)
        else:
            os.close(fd)
            fd = os.open(ranks[leader][3], os.O_RDWR | os.O_CLOEXEC)
        self._board = Board(self.world.size, fd)
        relay = None
        if len(places) > 1:
            comm, request = self._comm.Idup()
            self._wait(request, "start")
            if leader == self.world.rank:
                relay = Relay(comm, leader, sorted(neighbours), [min(pids) for pids in places.values()])
        return Watch(
            self._board,
            self._guard,
            neighbours=neighbours,
            deadline_s=deadline_s,
            stall_s=stall_s,
            relay=relay,
            starter=self._starter,
        )

    def barrier(self, what: str = "barrier") -> None:
        """Return when every rank has called it."""
        self._agree("barrier", what)

    def gather(self, value: T, what: str) -> list[T]:
        """Return the values of all ranks, in rank order, on every rank; they travel pickled."""
        packed = MPI.pickle.dumps(value)
        self._agree("gather", what, len(packed))
        sizes = array("q", bytes(8 * self.world.size))
        self._do(self._comm.Iallgather, [array("q", [len(packed)]), MPI.INT64_T], [sizes, MPI.INT64_T])
        received = bytearray(sum(sizes))
        starts = [sum(sizes[:rank]) for rank in range(self.world.size)]
        self._do(self._comm.Iallgatherv, [packed, MPI.BYTE], [received, (list(sizes), starts), MPI.BYTE])
        view = memoryview(received)
        return [MPI.pickle.loads(view[start : start + size]) for start, size in zip(starts, sizes, strict=True)]

    def share(self, value: T, what: str) -> T:
        """Return the value of rank 0 on every rank; it travels pickled."""
        packed = bytearray(MPI.pickle.dumps(value)) if self.world.rank == 0 else bytearray()
        size = self._agree("share", what, len(packed))
        if self.world.rank:
            packed = bytearray(size)
        self._do(self._comm.Ibcast, [packed, MPI.BYTE])
        shared: T = MPI.pickle.loads(packed)
        return shared

    def hosts(self) -> list[str]:
        """Return the host name of every rank, in rank order."""
        return list(self._hosts)

    def close(self) -> None:
        """Leave the group together with all others, and end MPI if it was started for this group."""
        if self._watch is None:
            return
        self._watch.post(State.CLOSING)
        self._agree("close", "the group")
        self._watch.stop()
        self._watch = None
        self._guard.group = None
        atexit.unregister(self._left_open)
        self._board.close()
        if self._witness is not None:
            self._witness.dismiss()
        self._lifeline.close()
        if self._owned:
            cancel = end_after(_FINALIZE_S, 0)
            MPI.Finalize()
            cancel()

    def claim(self) -> bool:
        """Return whether this is the first rank to report an end, as far as this host can know."""
        spoken = any(row.state is State.FAILED for row in self._board.rows().values())
        return not spoken and self._board.claim()

    def settle(self, code: int, *, first: bool) -> None:
        """Post that this rank has ended, and wait for the others on this host to have ended, too, or for the abort."""
        watch = self._watch
        if watch is None:
            return
        watch.post(State.FAILED, code)
        until = time.monotonic() + (_LEAD_S if first else _FOLLOW_S)
        while time.monotonic() < until and not (first and watch.settled()):
            time.sleep(0.02)

    def abort(self, code: int) -> None:
        """End every process of the group with ``code``, and leave no shared memory behind."""
        remove_segments(segments())
        MPI.COMM_WORLD.Abort(code)

    def _left_open(self) -> None:
        self._guard.fail(DlioError("the process ended before its group was closed"))

    def _agree(self, kind: str, what: str, size: int = 0) -> int:
        """Return the largest ``size`` of all ranks, when all have come with the same kind and name."""
        pulse = self.pulse
        if self._guard.verdict is not None:
            raise self._guard.verdict
        pulse.operations += 1
        tag = pulse.operations << 32 | zlib.crc32(f"{kind} {what}".encode())
        mine, most = self._mine, self._most
        mine[0], mine[1], mine[2] = tag, -tag, size
        request = self._comm.Iallreduce([mine, MPI.INT64_T], [most, MPI.INT64_T], MPI.MAX)
        if not request.Test():
            self._wait(request, f"{kind} {what!r}")
        if most[0] != -most[1]:
            raise differing(self._descriptions(f"{kind} {what!r}, operation {pulse.operations}"))
        return most[2]

    def _descriptions(self, mine: str) -> list[str]:
        packed = mine.encode(errors="replace")[:_DESCRIPTION_BYTES].ljust(_DESCRIPTION_BYTES, b"\0")
        received = bytearray(_DESCRIPTION_BYTES * self.world.size)
        self._do(self._comm.Iallgather, [packed, MPI.BYTE], [received, MPI.BYTE])
        parts = (received[rank * _DESCRIPTION_BYTES :][:_DESCRIPTION_BYTES] for rank in range(self.world.size))
        return [part.rstrip(b"\0").decode(errors="replace") for part in parts]

    def _do(self, operation: Any, *buffers: Any) -> None:
        self._wait(operation(*buffers), operation.__name__, buffers)

    def _wait(self, request: Any, what: str, buffers: Sequence[Any] = ()) -> None:
        begun = time.perf_counter_ns()
        while time.perf_counter_ns() - begun < _SPIN_NS:
            if request.Test():
                return
            os.sched_yield()
        self.pulse.waiting = what
        if self._watch is not None:
            self._watch.renew()
        nap_s = 2e-5
        while not request.Test():
            verdict = self._guard.verdict or self._unwatched(begun, what)
            if verdict is not None:
                self._abandoned.append((request, buffers))
                raise verdict
            time.sleep(nap_s)
            nap_s = min(nap_s * 1.25, _LONGEST_NAP_S)
        self.pulse.waiting = ""

    def _unwatched(self, begun: int, what: str) -> StalledError | None:
        """Return the error for a group that does not come together, before there is a board to say who is missing."""
        waited_ns = time.perf_counter_ns() - begun
        if self._watch is not None or not self._deadline_ns or waited_ns < self._deadline_ns:
            return None
        return StalledError(f"some ranks did not reach {what!r} within {waited_ns / 1e9:.1f} s of the start")


class Relay:
    """Swaps the rows of this host with those of the others, from the `Watch` of the first rank of each host."""

    def __init__(self, comm: Any, rank: int, own: Sequence[int], leaders: Sequence[int]) -> None:
        self._comm = comm
        self._own = own
        self._others = [leader for leader in leaders if leader != rank]
        self._pause_ns = round(max(0.5, len(leaders) / 16) * 1e9)
        self._sent_ns = 0
        self._pending: dict[int, Any] = {}

    def __call__(self, board: Board) -> None:
        """Send the rows of this host if it is time, and post those that have come."""
        now_ns = time.monotonic_ns()
        if now_ns - self._sent_ns >= self._pause_ns:
            self._sent_ns = now_ns
            rows = board.rows()
            self._send([(rank, rows[rank].shifted(-now_ns)) for rank in self._own if rank in rows])
        while (message := self._comm.iprobe()) and message:
            for rank, row in self._comm.recv():
                board.put(rank, row.shifted(now_ns))

    def _send(self, rows: list[tuple[int, Row]]) -> None:
        for other in self._others:
            if other not in self._pending or self._pending[other].Test():
                self._pending[other] = self._comm.isend(rows, other)


def _place() -> str:
    """Return a name of the host and of what process numbers mean in it."""
    return f"{os.uname().nodename} {os.readlink('/proc/self/ns/pid')}"
