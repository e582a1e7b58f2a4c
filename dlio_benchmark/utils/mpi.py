"""DLIO's face of the group of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from dlio_benchmark import session
from dlio_benchmark.comm import Comm
from dlio_benchmark.common.enumerations import MPIState
from dlio_benchmark.errors import DlioError
from dlio_benchmark.plan.world import World


class NoGroupError(DlioError, RuntimeError):
    """A process that is no rank was asked for the group of ranks."""


class DLIOMPI:
    """The group of ranks under DLIO's names; a worker that a rank started knows its rank and size only."""

    def __init__(self) -> None:
        comm = session.known_comm()
        self.mpi_state = MPIState.UNINITIALIZED if comm is None else MPIState.MPI_INITIALIZED
        self._world = World() if comm is None else comm.world

    @classmethod
    def get_instance(cls) -> Self:
        """Return this process's instance."""
        return session.face(cls)

    @classmethod
    def reset(cls) -> None:
        """Drop this process's instance; the group itself goes on."""
        session.forget(cls)

    def initialize(self) -> None:
        """Join the group, if this process is not in it yet."""
        if self.mpi_state is MPIState.UNINITIALIZED:
            self._world = session.current_comm().world
            self.mpi_state = MPIState.MPI_INITIALIZED

    def set_parent_values(self, parent_rank: int, parent_comm_size: int) -> None:
        """Make this the view of a worker that rank ``parent_rank`` started."""
        self._world = World(parent_rank, parent_comm_size)
        self.mpi_state = MPIState.CHILD_INITIALIZED

    def finalize(self) -> None:
        """Leave the group, if it was joined here, together with all ranks; without a call they do so at their end."""
        session.leave()

    def rank(self) -> int:
        """Return the number of this rank."""
        return self._world.rank

    def size(self) -> int:
        """Return the number of ranks."""
        return self._world.size

    def comm(self) -> Comm:
        """Return the group.

        Raises:
            NoGroupError: in a worker.
        """
        if self.mpi_state is MPIState.CHILD_INITIALIZED:
            msg = "a worker is not in the group of ranks; ask for rank() and size()"
            raise NoGroupError(msg)
        self.initialize()
        return session.current_comm()

    def _hosts(self) -> list[str]:
        return self.comm().hosts() if self.mpi_state is MPIState.MPI_INITIALIZED else [""]

    def _mine(self) -> str:
        hosts = self._hosts()
        return hosts[self.rank()] if len(hosts) > 1 else hosts[0]

    def local_rank(self) -> int:
        """Return the number of this rank among those of its host."""
        return self._hosts()[: self.rank()].count(self._mine())

    def npernode(self) -> int:
        """Return the number of ranks on this host."""
        return self._hosts().count(self._mine())

    def ranks_per_node(self) -> int:
        """Return the number of ranks on this host, at least 1, in every state."""
        return max(1, self.npernode())

    def nnodes(self) -> int:
        """Return the number of hosts."""
        return len(set(self._hosts()))

    def node(self) -> int:
        """Return the number of this host, counted in the order of ranks."""
        return list(dict.fromkeys(self._hosts())).index(self._mine())

    def reduce(self, num: Any) -> Any:
        """Return the sum over all ranks."""
        return sum(self._gathered(num, "reduce"))

    def allreduce_min(self, value: Any) -> Any:
        """Return the smallest value of all ranks."""
        return min(self._gathered(value, "allreduce_min"))

    def alltoall(self, values: Sequence[Any]) -> list[Any]:
        """Return what each rank has for this one; ``values[r]`` is what this rank has for rank r."""
        return [theirs[self.rank()] for theirs in self._gathered(list(values), "alltoall")]

    def _gathered(self, value: Any, what: str) -> list[Any]:
        return self.comm().gather(value, what) if self.mpi_state is MPIState.MPI_INITIALIZED else [value]
