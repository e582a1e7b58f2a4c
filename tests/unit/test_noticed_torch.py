"""Small wrongs of the loader over PyTorch: what it has in flight, what it sends, and what it knows of its workers."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dlio_benchmark.batch import Batch, Block
from dlio_benchmark.clock import FakeClock
from dlio_benchmark.data_loader.base import Source
from dlio_benchmark.data_loader.tasks import SHARE_BYTES
from dlio_benchmark.errors import Exit, StorageError, WorkerLostError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.reader.null import NullFile, NullReader

torch = pytest.importorskip("torch", reason="the extra pytorch is not installed")
from dlio_benchmark.data_loader.torch import TorchLoader, _begin, _Watch, tensors  # noqa: E402 - after the check

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # fewer processors than workers
]

SOURCE = Source(NullReader(40, 10), FakeClock())


def made(workers: int, **options: Any) -> Any:
    """Return PyTorch's part of a loader, none of whose workers has begun."""
    return TorchLoader([SOURCE] * max(1, workers), workers, row_bytes=1.0, **options)._loader


# -- how it is set up --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("workers", "prefetch", "shares", "in_flight"),
    [(1, 2, 9, 2), (2, 9, 6, 3), (2, 9, 7, 3), (2, 9, 5, 2), (3, 9, 2, 1), (1, 3, 0, 1), (4, 0, 99, 1)],
)
def test_tasks_in_flight_are_bounded_by_number_and_by_bytes(
    workers: int, prefetch: int, shares: int, in_flight: int
) -> None:
    loader = made(workers, prefetch=prefetch, prefetch_bytes=shares * SHARE_BYTES)
    assert loader.prefetch_factor == in_flight


def test_256_mebibytes_and_two_tasks_of_a_worker_may_be_in_flight() -> None:
    assert made(1).prefetch_factor == 2
    assert made(1, prefetch=99).prefetch_factor == 256 * 2**20 // SHARE_BYTES


def test_workers_live_as_long_as_the_loader_and_start_as_asked() -> None:
    loader = made(2, context="fork")
    assert loader.persistent_workers
    assert loader.num_workers == 2
    assert loader.batch_size is None
    assert loader.multiprocessing_context.get_start_method() == "fork"
    assert made(1).multiprocessing_context.get_start_method() == "spawn"


@pytest.mark.parametrize(("context", "is_parent"), [("spawn", True), ("fork", True), ("forkserver", False)])
def test_a_worker_knows_its_parent_unless_that_is_a_fork_server(context: str, is_parent: bool) -> None:
    assert made(1, context=context).worker_init_fn.args == (os.getpid() if is_parent else None,)


# -- what it sends -----------------------------------------------------------------------------------------------------
COLUMNS = {"n": np.arange(9.0), "t": pa.array(list("abcdefghi"))}


def test_a_worker_sends_its_runs_as_bytes_of_one_shared_piece_of_memory() -> None:
    tally = Tally(rows=7)
    sent = made(1).collate_fn(([(Block(9, COLUMNS), 0, 5), (Block(9, COLUMNS), 7, 9)], tally))
    assert sent.tally == tally
    assert sent.memory.is_shared()
    assert sent.memory.dtype == torch.uint8
    assert sent.memory.nbytes < 2000
    found = [
        (block.columns["n"].tolist(), block.columns["t"].to_pylist(), start, stop) for block, start, stop in sent.runs()
    ]
    assert found == [([0.0, 1, 2, 3, 4], list("abcde"), 0, 5), ([7.0, 8], list("hi"), 0, 2)]


def test_an_error_is_sent_as_it_is() -> None:
    error = StorageError("f: gone")
    for workers in (0, 1):
        assert made(workers).collate_fn(error) is error


def test_without_workers_runs_are_given_as_they_are() -> None:
    done = ([(Block(3), 0, 3)], Tally(rows=3))
    assert made(0).collate_fn(done) is done


def test_columns_that_no_tensor_holds_are_left_as_they_are() -> None:
    times = np.arange(3).astype("datetime64[s]")
    columns = {kind: np.ones(3, kind) for kind in ("bool", "int8", "uint8", "float32")} | {"times": times}
    found = tensors(Batch(((Block(3, columns), 0, 3),)))
    assert {name: isinstance(values, torch.Tensor) for name, values in found.items()} == {
        **dict.fromkeys(("bool", "int8", "uint8", "float32"), True),
        "times": False,
    }


# -- passes ------------------------------------------------------------------------------------------------------------
@dataclass
class Counting:
    """A reader that notes what is opened."""

    decode: str = "none"
    opened: list[str] = field(default_factory=list)

    def open(self, path: str) -> NullFile:
        self.opened.append(path)
        return NullReader(40, 10).open(path)


def test_a_pass_opens_its_files_itself_even_if_the_last_one_was_left_early() -> None:
    reader = Counting()
    loader = TorchLoader([Source(reader, FakeClock())], 0, row_bytes=float(SHARE_BYTES // 10))
    plan = EpochPlan(np.array([40]), 10)
    left = loader.batches(plan, str, Tally())
    next(left)
    assert reader.opened == ["0"]
    del left
    tally = Tally()
    assert sum(map(len, loader.batches(plan, str, tally))) == 40
    assert reader.opened == ["0", "0"]
    assert (tally.files, tally.rows, tally.blocks) == (1, 40, 4)
    loader.close()


# -- workers -----------------------------------------------------------------------------------------------------------
def in_child(work: Callable[[], int]) -> int:
    """Return the exit code of a fork that does nothing but ``work``."""
    pid = os.fork()
    if not pid:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_worker_does_not_answer_to_an_interruption() -> None:
    def work() -> int:
        _begin(os.getppid(), 0)
        os.kill(os.getpid(), signal.SIGINT)
        return 7

    assert in_child(work) == 7


def test_a_worker_whose_parent_is_gone_ends_at_once() -> None:
    def work() -> int:
        _begin(os.getpid(), 0)
        return 7

    assert in_child(work) == Exit.INTERNAL


@dataclass(eq=False)
class Process:
    """A process that has not ended, or has; a set gives those of high numbers first."""

    pid: int
    exitcode: int | None = None

    def __hash__(self) -> int:
        return 8 - self.pid


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return the children of this process, to be changed by the test; what answers to their end is put back."""
    processes: list[Any] = []
    monkeypatch.setattr(multiprocessing, "active_children", lambda: list(processes))
    former = signal.getsignal(signal.SIGCHLD)
    yield processes
    signal.signal(signal.SIGCHLD, former)


def begin(watch: _Watch, running: list[Any], processes: Sequence[Any]) -> None:
    with watch.starting():
        running += processes


def test_workers_are_numbered_in_the_order_of_their_start(running: list[Any]) -> None:
    other, watch = Process(1), _Watch()
    running.append(other)
    workers = [Process(pid) for pid in range(2, 8)]
    begin(watch, running, workers)
    assert [process.pid for process in watch._workers] == [2, 3, 4, 5, 6, 7]
    workers[4].exitcode = 3
    with pytest.raises(WorkerLostError, match=r"worker 4 \(pid 6\) ended with code 3; what it said stands above"):
        watch._check()
    assert watch._workers == []


def test_a_worker_that_ends_without_an_error_is_lost_too(running: list[Any]) -> None:
    watch = _Watch()
    begin(watch, running, [Process(2, exitcode=0)])
    with pytest.raises(WorkerLostError, match=r"worker 0 \(pid 2\) ended with code 0; what it said"):
        watch._check()


def test_the_memory_of_the_largest_worker_that_has_ended_is_told_in_mebibytes(
    running: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kibibytes = {resource.RUSAGE_CHILDREN: 3000 * 1024, resource.RUSAGE_SELF: 1}
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=kibibytes[who]))
    watch = _Watch()
    begin(watch, running, [Process(2, exitcode=-signal.SIGKILL)])
    with pytest.raises(WorkerLostError, match=r"SIGKILL\), probably out of memory; .* had 3000 MiB of resident memory"):
        watch._check()


def test_a_worker_that_ends_is_noticed_at_once_and_others_hear_of_ends_as_before(running: list[Any]) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGCHLD, lambda signum, _frame: heard.append(signum))
    former = signal.getsignal(signal.SIGCHLD)
    watch, (worker,) = _Watch(), [Process(2)]
    begin(watch, running, [worker])
    assert signal.getsignal(signal.SIGCHLD) is not former
    signal.raise_signal(signal.SIGCHLD)
    assert heard == [signal.SIGCHLD]
    worker.exitcode = -signal.SIGBUS
    said = r"worker 0 \(pid 2\) was ended by signal 7 \(SIGBUS\), probably no room in /dev/shm; "
    with pytest.raises(WorkerLostError, match=said):
        signal.raise_signal(signal.SIGCHLD)
    assert signal.getsignal(signal.SIGCHLD) is former
    for _ in range(2):
        with pytest.raises(WorkerLostError, match=said), watch.waiting():
            pytest.fail("a lost worker is reported before anything is waited for")


def test_a_later_pass_that_starts_no_worker_changes_nothing(running: list[Any]) -> None:
    former = signal.getsignal(signal.SIGCHLD)
    watch, worker = _Watch(), Process(2)
    begin(watch, running, [worker])
    hook = signal.getsignal(signal.SIGCHLD)
    begin(watch, running, [])
    assert len(watch._workers) == 1
    assert signal.getsignal(signal.SIGCHLD) is hook
    watch.leave()
    assert signal.getsignal(signal.SIGCHLD) is former
    watch.leave()
    worker.exitcode = 0
    with watch.waiting():
        pass


def test_closing_a_loader_puts_back_what_answers_to_the_end_of_children(running: list[Any]) -> None:
    former = signal.getsignal(signal.SIGCHLD)
    loader = TorchLoader([SOURCE], 0, row_bytes=1.0)
    begin(loader._watch, running, [Process(2)])
    loader.close()
    loader.close()
    assert signal.getsignal(signal.SIGCHLD) is former
    assert loader._loader is None


def test_an_end_that_pytorch_reports_is_named_and_its_other_errors_are_not_changed(running: list[Any]) -> None:
    watch, worker = _Watch(), Process(2)
    begin(watch, running, [worker])
    with pytest.raises(RuntimeError, match="something else"), watch.waiting():
        raise RuntimeError("something else")
    with pytest.raises(WorkerLostError, match=r"signal 11 \(SIGSEGV\); the largest"), watch.waiting():
        worker.exitcode = -signal.SIGSEGV
        raise RuntimeError("DataLoader worker (pid 2) exited unexpectedly")


def test_in_another_thread_ends_are_noticed_without_a_signal(running: list[Any]) -> None:
    former = signal.getsignal(signal.SIGCHLD)
    watch, worker = _Watch(), Process(2)
    seen: list[BaseException | None] = []

    def work() -> None:
        try:
            begin(watch, running, [worker])
            worker.exitcode = 1
            with watch.waiting():
                pass
        except BaseException as error:
            seen.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(error) for error in seen] == [WorkerLostError]
    assert signal.getsignal(signal.SIGCHLD) is former
