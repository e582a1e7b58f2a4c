"""Ranks are started in the launcher's own dialect, and a job leaves nothing behind however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dlio_benchmark.board import Row, State
from dlio_benchmark.errors import ConfigError, Exit
from dlio_benchmark.launch import Dialect, Launcher, find_launcher, marked, run

HYDRA = Launcher("/x/mpirun", Dialect.HYDRA)
OPEN_MPI = Launcher("/x/mpirun", Dialect.OPEN_MPI)
ROOT = Path(__file__).parents[2]

FAKE = """#!{python}
import os, signal, subprocess, sys
if "--version" in sys.argv:
    print({version!r})
    sys.exit()
words = sys.argv[sys.argv.index("-n") + 2 :]
environ = {{**os.environ, "PMI_RANK": "0", "PMI_SIZE": "1"}}
sys.exit(subprocess.run([word for word in words if not word.startswith("--")], env=environ).returncode)
"""
VERSIONS = {"mpirun (Open MPI) 5.0.11": Dialect.OPEN_MPI, "HYDRA build details:\n Version: 5.0.2": Dialect.HYDRA}


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that puts a launcher with a version text beside an interpreter, and returns the latter."""

    def make(version: str) -> str:
        program = tmp_path / "mpirun"
        program.write_text(FAKE.format(python=sys.executable, version=version))
        program.chmod(0o755)
        return str(tmp_path / "python")

    return make


@pytest.mark.parametrize("version", VERSIONS)
def test_the_launcher_beside_the_interpreter_is_known_by_its_version(fake: Callable[[str], str], version: str) -> None:
    interpreter = fake(version)
    launcher = find_launcher(interpreter)
    assert launcher == Launcher(str(Path(interpreter).with_name("mpirun")), VERSIONS[version])


def test_the_launcher_on_the_path_comes_second(fake: Callable[[str], str], tmp_path: Path) -> None:
    fake("HYDRA")
    assert find_launcher(str(tmp_path / "bin" / "python"), str(tmp_path)).program == str(tmp_path / "mpirun")


def test_a_missing_launcher_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no mpirun or mpiexec.*pip install"):
        find_launcher(str(tmp_path / "python"), str(tmp_path))


def test_hydra_never_gets_words_of_open_mpi() -> None:
    assert HYDRA.command(4, ["prog", "-x"]) == ["/x/mpirun", "-n", "4", "prog", "-x"]
    assert HYDRA.environ() == {}


def test_open_mpi_may_run_more_ranks_than_cores_unbound() -> None:
    words = OPEN_MPI.command(4, ["prog"])
    assert words[:3] + words[-1:] == ["/x/mpirun", "-n", "4", "prog"]
    assert {"--oversubscribe", "--bind-to"} <= set(words)
    assert ("--allow-run-as-root" in words) == (os.geteuid() == 0) == bool(OPEN_MPI.environ())


def test_variables_are_passed_on_where_a_launcher_does_not_do_it_anyway() -> None:
    assert OPEN_MPI.command(2, ["prog"], passing=["A", "B"])[-5:] == ["-x", "A", "-x", "B", "prog"]
    assert HYDRA.command(2, ["prog"], passing=["A"]) == HYDRA.command(2, ["prog"])


@pytest.mark.parametrize("launcher", [HYDRA, OPEN_MPI], ids=lambda launcher: launcher.dialect.value)
def test_hosts_are_given_with_their_slots(launcher: Launcher) -> None:
    words = launcher.command(5, ["prog"], hosts=[("a", 3), ("b", 2)])
    assert words[words.index("-host") + 1] == "a:3,b:2"


@pytest.fixture
def launcher(fake: Callable[[str], str]) -> Launcher:
    """Return a launcher that runs one rank."""
    return find_launcher(fake("HYDRA"))


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_code_and_output_of_a_job_come_back(launcher: Launcher) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); print(repr(sys.stdin.read())); sys.exit(5)"
    done = run(1, python(code), timeout_s=60, launcher=launcher)
    assert (done.code, done.stdout, done.stderr) == (5, "out\n''\n", "err\n")
    assert (done.timed_out, done.left) == (False, ())


def test_a_job_at_its_timeout_is_ended_with_all_that_it_started(launcher: Launcher) -> None:
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print('on', flush=True); signal.pause()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stubborn!r}], start_new_session=True)"
    done = run(1, python(code), timeout_s=1.0, launcher=launcher, grace_s=0.5)
    assert done.timed_out
    assert done.code != 0
    assert done.left
    assert not any(map(runs, done.left))


def test_what_a_dead_launcher_leaves_is_found_and_ended(launcher: Launcher) -> None:
    code = "import os, signal; os.kill(os.getppid(), 9); signal.pause()"
    done = run(1, python(code), timeout_s=60, launcher=launcher, grace_s=0.2)
    assert done.code == 128 + 9
    assert len(done.left) == 1


def test_a_rank_may_launch_a_job_of_its_own(launcher: Launcher) -> None:
    environ = {**os.environ, "PMI_FD": "9", "PMIX_RANK": "3", "OMPI_COMM_WORLD_RANK": "3", "OMPI_MCA_btl": "self"}
    code = f"import os; print(*[name for name in {list(environ)!r} if name in os.environ])"
    passed_on = run(1, python(code), timeout_s=60, launcher=launcher, env=environ).stdout.split()
    assert environ.keys() - set(passed_on) == {"PMI_FD", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"}


POSTING = """
import os
from dlio_benchmark.board import BOARD, MARK, Board, Row
board = Board(2, Board.find(os.environ[BOARD], os.environ[MARK]))
for rank, packed in {packed!r}.items():
    board.put(rank, Row.unpack(packed))
"""


def posting(launcher: Launcher, rows: dict[int, Row]) -> tuple[int, str]:
    """Run a job that only posts ``rows``; returns its code and what was said on standard error."""
    packed = {rank: row.pack() for rank, row in rows.items()}
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run(2, python(POSTING.format(packed=packed)), timeout_s=60, launcher=launcher, env=environ)
    return done.code, done.stderr


def test_ranks_that_never_closed_are_no_success_and_are_named(launcher: Launcher) -> None:
    waiting = Row(pid=10, operations=3, posted_ns=1, waiting="barrier 'step'", stage="train", host="a")
    working = Row(pid=11, operations=2, posted_ns=1, stage="train", host="a")
    code, said = posting(launcher, {0: waiting, 1: working})
    assert code == Exit.INTERNAL
    assert "the job ended without a word" in said
    assert said.index("rank 1 on host a (pid 11): train") < said.index("rank 0 on host a (pid 10): train")


def test_ranks_that_closed_are_a_success(launcher: Launcher) -> None:
    rows = {rank: Row(pid=10 + rank, state=State.CLOSING, posted_ns=1) for rank in range(2)}
    assert posting(launcher, rows) == (0, "")


def test_the_code_is_that_of_the_rank_which_failed_first(launcher: Launcher) -> None:
    late = Row(pid=10, state=State.FAILED, code=70, moved_ns=9, posted_ns=9)
    early = Row(pid=11, state=State.FAILED, code=74, moved_ns=5, posted_ns=9)
    assert posting(launcher, {0: late, 1: early})[0] == 74


def test_only_processes_with_the_mark_are_counted() -> None:
    assert marked("0" * 32) == []
