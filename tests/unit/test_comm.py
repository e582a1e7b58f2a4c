"""Groups of one, of threads, and how a process finds out which it is in."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.comm import Comm, Launch, Simulated, Solo, connect, launch_of
from dlio_benchmark.errors import CollectiveMismatchError, ConfigError, StalledError
from dlio_benchmark.guard import Guard
from dlio_benchmark.plan.world import World

sizes = st.integers(1, 12)


def test_a_group_of_one_agrees_with_itself() -> None:
    comm: Comm = Solo()
    comm.barrier()
    assert comm.world == World(0, 1)
    assert comm.gather("a", "letters") == ["a"]
    assert comm.share("b", "letter") == "b"
    assert len(comm.hosts()) == 1
    comm.close()


@given(size=sizes)
def test_every_rank_gathers_all_values_in_rank_order(size: int) -> None:
    gathered = Simulated.run(size, lambda comm: comm.gather(comm.world.rank * 10, "tens"))
    assert gathered == [[rank * 10 for rank in range(size)]] * size


@given(size=sizes)
def test_every_rank_shares_the_value_of_the_first(size: int) -> None:
    assert Simulated.run(size, lambda comm: comm.share(f"from {comm.world.rank}", "word")) == ["from 0"] * size


def test_no_rank_passes_a_barrier_before_the_last_has_come() -> None:
    size, come, seen = 16, [], []

    def work(comm: Simulated) -> None:
        for step in range(20):
            come.append(step)
            comm.barrier("step")
            seen.append(come.count(step) == size)
            comm.barrier("seen")

    Simulated.run(size, work)
    assert seen == [True] * 20 * size


def test_sixty_four_ranks_walk_in_step() -> None:
    def work(comm: Simulated) -> int:
        for step in range(20):
            comm.barrier(f"step {step}")
        return sum(comm.gather(comm.world.rank, "ranks"))

    assert Simulated.run(64, work) == [2016] * 64


different: Mapping[str, tuple[Callable[[Comm], object], Callable[[Comm], object]]] = {
    "barrier and gather": (lambda comm: comm.barrier("x"), lambda comm: comm.gather(1, "x")),
    "gather and share": (lambda comm: comm.gather(1, "x"), lambda comm: comm.share(1, "x")),
    "two names": (lambda comm: comm.barrier("step 1"), lambda comm: comm.barrier("step 2")),
    "barrier and close": (lambda comm: comm.barrier("x"), lambda comm: comm.close()),
    "one leaves": (lambda comm: comm.barrier("x"), lambda comm: None),
}


@pytest.mark.parametrize("case", different)
@given(size=st.integers(2, 8), odd=st.integers(0, 7))
def test_ranks_in_different_operations_are_all_told_who_is_where(case: str, size: int, odd: int) -> None:
    usual, other = different[case]
    errors: dict[int, CollectiveMismatchError] = {}

    def work(comm: Simulated) -> None:
        comm.barrier("start")
        rank = comm.world.rank
        try:
            (other if rank == odd % size else usual)(comm)
        except CollectiveMismatchError as error:
            errors[rank] = error

    Simulated.run(size, work)
    told = set(range(size)) - ({odd % size} if case == "one leaves" else set())
    assert errors.keys() == told
    assert all(f"rank {odd % size}: " in str(error) for error in errors.values())
    assert all("operation 2" in str(error) for error in errors.values() if case != "one leaves")


def test_the_error_of_the_work_comes_before_those_of_the_ranks_left_waiting() -> None:
    def work(comm: Simulated) -> None:
        if comm.world.rank == 2:
            raise KeyError("planted")
        comm.barrier("x")

    with pytest.raises(KeyError, match="planted"):
        Simulated.run(3, work)


def test_a_rank_that_does_not_come_is_named_at_the_deadline() -> None:
    release = threading.Event()

    def work(comm: Simulated) -> None:
        try:
            if comm.world.rank == 1:
                release.wait(60)
            else:
                comm.barrier("x")
        finally:
            release.set()

    with pytest.raises(StalledError, match="rank 1 did not reach barrier 'x'"):
        Simulated.run(2, work, deadline_s=0.05)


def test_a_simulated_group_has_the_hosts_it_was_given() -> None:
    hosts = ["a", "a", "b"]
    assert Simulated.run(3, lambda comm: comm.hosts(), hosts=hosts) == [hosts] * 3


ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "64", "SLURM_NPROCS": "64"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "1"}
STEP = {"SLURM_PROCID": "3", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8"}

launched: Mapping[str, tuple[dict[str, str], Launch | None]] = {
    "a shell": ({"HOME": "/"}, None),
    "hydra": ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALNRANKS": "2"}, Launch("Hydra", 1, 2)),
    "another PMI": ({"PMI_RANK": "1", "PMI_SIZE": "2"}, Launch("PMI", 1, 2)),
    "open mpi": (OPEN_MPI, Launch("Open MPI", 1, 4)),
    "open mpi in a step of one daemon per node": ({**ALLOCATION, **STEP, **OPEN_MPI}, Launch("Open MPI", 1, 4)),
    "srun": ({**ALLOCATION, **STEP}, Launch("Slurm", 3, 8)),
    "srun with PMIx": ({**ALLOCATION, **STEP, "PMIX_RANK": "3"}, Launch("Slurm", 3, 8)),
    "PMIx alone": ({"PMIX_RANK": "3"}, Launch("PMIx", 3, None)),
    "a shell in an allocation": (ALLOCATION, None),
    "a batch script": ({**ALLOCATION, "SLURM_PROCID": "0"}, None),
    "an interactive step": ({**ALLOCATION, "SLURM_PROCID": "0", "SLURM_STEP_ID": str(0xFFFFFFFA)}, None),
}


@pytest.mark.parametrize("case", launched)
def test_a_launched_process_is_told_from_one_that_was_not(case: str) -> None:
    environ, launch = launched[case]
    assert launch_of(environ) == launch


@pytest.mark.parametrize("environ", [{}, ALLOCATION, {"PMI_RANK": "0", "PMI_SIZE": "1"}], ids=str)
def test_a_process_alone_needs_no_mpi(environ: Mapping[str, str]) -> None:
    guard = Guard()
    comm = connect(environ, guard=guard)
    assert isinstance(comm, Solo)
    assert comm.pulse is guard.pulse


def test_a_size_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="PMI_SIZE: must be a number, got 'two'"):
        connect({"PMI_RANK": "0", "PMI_SIZE": "two"})


def test_importing_the_group_does_not_import_mpi(run_python: Callable[[str], str]) -> None:
    code = "import sys, dlio_benchmark.comm, dlio_benchmark.launch; print([m for m in sys.modules if 'mpi4py' in m])"
    assert run_python(code) == "[]"


def test_a_launched_process_without_mpi4py_is_told_what_to_install(run_python: Callable[[str], str]) -> None:
    code = """
import sys
sys.modules["mpi4py"] = None
from dlio_benchmark.comm import connect
from dlio_benchmark.errors import ConfigError
try:
    connect({"PMI_RANK": "0", "PMI_SIZE": "2"})
except ConfigError as error:
    print(int(error.code), error)
"""
    said = run_python(code)
    assert said.startswith("78 ")
    assert "pip install 'dlio_benchmark[mpi]'" in said


@pytest.fixture
def run_python() -> Callable[[str], str]:
    """Return a function that runs code in a fresh interpreter and returns what it prints."""
    import subprocess

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("launcher", [[], ["/bin/sh", "-c", '"$@"; exit $?', "launcher"]], ids=["alone", "launched"])
def test_a_process_alone_ends_with_the_front_end_that_started_it(
    run_python: Callable[[str], str], launcher: list[str]
) -> None:
    """The front end dies by a signal, and its child, which it started through a pipe that we read, follows it."""
    engine = "import os; from dlio_benchmark.comm import connect; connect(os.environ); "
    engine += "print('ready', os.getpid(), flush=True); "
    engine += "__import__('signal').pause()"
    front_end = f"""
import os, subprocess, sys
from dlio_benchmark.launch import Launched
words = [*{launcher!r}, sys.executable, "-c", {engine!r}]
job = Launched(words, 1, os.environ, mark="x", stdout=subprocess.PIPE, stderr=None)
print(job.process.stdout.readline().decode().strip(), flush=True)
os.kill(os.getpid(), 9)
"""
    code = f"""
import os, select, subprocess, sys
front_end = subprocess.Popen([sys.executable, "-c", {front_end!r}], stdout=subprocess.PIPE, text=True)
pid = int(front_end.stdout.readline().split()[1])
front_end.wait()
front_end.stdout.close()
try:
    gone = select.select([os.pidfd_open(pid)], [], [], 30)[0]
except ProcessLookupError:
    gone = True
print(bool(gone))
"""
    assert run_python(code) == "True"
