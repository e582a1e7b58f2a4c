"""A guarded process says how it ended, ends with the right code, and takes its group with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.errors import DataMissingError, DlioError, Exit, PeerFailedError, StorageError
from dlio_benchmark.guard import Failure, Guard, exit_code

HEAD = """
import os, re, signal, subprocess, sys, threading, time
from dlio_benchmark.errors import InterruptedRunError, StorageError
from dlio_benchmark.guard import Guard, die_with_parent, end_after

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup

def hold_the_lock():
    re.match(r"(a+)+$", "a" * 60 + "b")
"""


class Recording:
    """A group that notes what is done to it instead of ending anything."""

    def __init__(self, *, first: bool = True) -> None:
        self.first = first
        self.told: list[object] = []

    def claim(self) -> bool:
        self.told.append("claim")
        return self.first

    def settle(self, code: int, *, first: bool) -> None:
        self.told.append(("settle", code, first))

    def abort(self, code: int) -> None:
        self.told.append(("abort", code))


def start(code: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + code], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    )


def finish(code: str) -> tuple[int, str, str]:
    with start(code) as process:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out, err


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_timer_ends_a_process_that_holds_the_interpreter_lock() -> None:
    assert finish("end_after(0.2, 7)\nhold_the_lock()")[0] == 7


def test_a_timer_that_was_called_off_does_nothing() -> None:
    assert finish("end_after(0.1, 7)()\nend_after(0.4, 3)\nhold_the_lock()")[0] == 3


def test_an_error_raised_on_purpose_is_shown_without_traceback() -> None:
    code, _, err = finish(
        "with Guard() as guard:\n    guard.pulse.stage = 'generate'\n    raise StorageError('a.parquet: no')"
    )
    assert code == Exit.IO
    assert "failed in stage: generate\n  StorageError: a.parquet: no" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("code", ["with Guard(debug=True):\n    raise StorageError('no')", "with Guard():\n    1 / 0"])
def test_a_bug_is_shown_with_its_traceback(code: str) -> None:
    status, _, err = finish(code)
    assert status in (Exit.IO, Exit.INTERNAL)
    assert "Traceback" in err


def test_an_error_in_a_thread_ends_the_process() -> None:
    code = """
with Guard():
    threading.Thread(target=lambda: 1 / 0, name="reader-7").start()
    threading.Event().wait()
"""
    status, _, err = finish(code)
    assert status == Exit.INTERNAL
    assert "ZeroDivisionError" in err
    assert "in thread reader-7" in err


def test_without_a_group_an_exit_is_an_exit() -> None:
    assert finish("with Guard():\n    sys.exit(0)") == (0, "", "")
    assert finish("with Guard():\n    sys.exit(3)") == (3, "", "")


@pytest.mark.parametrize(
    ("signum", "code"),
    [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED), (signal.SIGHUP, Exit.TERMINATED)],
)
def test_a_signal_unwinds_the_main_thread(signum: signal.Signals, code: Exit) -> None:
    program = f"""
with Guard():
    try:
        os.kill(os.getpid(), {int(signum)})
        threading.Event().wait()
    finally:
        print("put down")
"""
    status, out, err = finish(program)
    assert (status, out) == (code, "put down\n")
    assert f"interrupted by {signum.name}" in err


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    code = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with Guard():
    os.kill(os.getpid(), signal.SIGHUP)
    print("on")
"""
    assert finish(code) == (0, "on\n", "")


STUBBORN = """
with Guard(patience_s={patience_s}):
    try:
        print("ready", flush=True)
        threading.Event().wait()
    except InterruptedRunError:
        print("caught", flush=True)
    threading.Event().wait()
"""


def test_a_process_that_goes_on_after_a_signal_is_ended() -> None:
    with start(STUBBORN.format(patience_s=0.2)) as process:
        first_line(process)
        process.terminate()
        assert process.wait(60) == Exit.TERMINATED


def test_a_second_signal_ends_at_once() -> None:
    with start(STUBBORN.format(patience_s=1000)) as process:
        first_line(process)
        process.terminate()
        assert first_line(process) == "caught"
        process.terminate()
        assert process.wait(60) == Exit.TERMINATED


STUCK = """
def record(failure):
    print("recorded", failure.error, flush=True)
    {record}

with Guard(record=record, patience_s={patience_s}):
    try:
        print("ready", flush=True)
        threading.Event().wait()
    finally:
        print("caught", flush=True)
        threading.Event().wait()  # as if it had to close a file of a storage that does not answer
"""


@pytest.mark.parametrize(("patience_s", "signals"), [(1.0, 1), (1000, 2)])
def test_a_process_that_is_stuck_after_a_signal_says_and_records_it_before_it_ends(
    patience_s: float, signals: int
) -> None:
    with start(STUCK.format(patience_s=patience_s, record="")) as process:
        first_line(process)
        for _ in range(signals):
            process.terminate()
            assert signals == 1 or first_line(process) in ("caught", "recorded InterruptedRunError")
        out, err = process.communicate(timeout=60)
    assert process.returncode == Exit.TERMINATED
    assert "interrupted by SIGTERM" in err
    assert signals == 2 or out == "caught\nrecorded InterruptedRunError\n"


def test_a_record_that_cannot_be_written_for_ever_does_not_keep_an_interrupted_process() -> None:
    with start(STUCK.format(patience_s=0.6, record="threading.Event().wait()")) as process:
        first_line(process)
        process.terminate()
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (Exit.TERMINATED, "caught\nrecorded InterruptedRunError\n")


def test_a_record_that_cannot_be_written_for_ever_does_not_keep_a_failed_process() -> None:
    program = """
from dlio_benchmark import guard
guard._END_S = 0.5
with Guard(record=lambda failure: threading.Event().wait()):
    raise StorageError("no")
"""
    status, _, err = finish(program)
    assert status == Exit.IO
    assert "StorageError: no" in err


def test_the_signals_of_a_forked_child_are_its_own() -> None:
    program = """
with Guard(patience_s=0.1):
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(9)
    _, status = os.waitpid(child, 0)
    end_after(0.5, 0)
    print(os.WTERMSIG(status), flush=True)
    threading.Event().wait()
"""
    assert finish(program) == (0, f"{int(signal.SIGTERM)}\n", "")


def test_a_worker_ends_with_its_parent() -> None:
    worker = "import os; from dlio_benchmark.guard import die_with_parent; die_with_parent(parent=os.getppid()); "
    worker += "print('ready', flush=True); __import__('threading').Event().wait()"
    with start(f"subprocess.Popen([sys.executable, '-c', {worker!r}]); threading.Event().wait()") as process:
        assert first_line(process) == "ready"
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == ""


def test_a_worker_whose_parent_is_gone_ends_at_once() -> None:
    assert finish("die_with_parent(parent=1 if os.getppid() != 1 else 2)\nprint('alive')")[:2] == (Exit.INTERNAL, "")


def guarded(guard: Guard, error: BaseException | None) -> int | None:
    """Return the status that the block ended the process with."""
    try:
        with guard:
            if error is not None:
                raise error
    except SystemExit as ended:
        return int(ended.code or 0)
    return None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageError("no"), Exit.IO),
        (KeyError("bug"), Exit.INTERNAL),
        (SystemExit(3), 3),
        (SystemExit(0), Exit.INTERNAL),
        (SystemExit(256), Exit.INTERNAL),
        (None, Exit.INTERNAL),
    ],
    ids=repr,
)
def test_leaving_an_open_group_ends_the_group(error: BaseException | None, code: int) -> None:
    guard, group = Guard(), Recording()
    guard.group = group
    assert guarded(guard, error) == code
    assert group.told == ["claim", ("settle", code, True), ("abort", code)]


def test_a_rank_that_follows_another_does_not_speak(capfd: pytest.CaptureFixture[str]) -> None:
    guard, group = Guard(), Recording()
    guard.group = group
    assert guarded(guard, PeerFailedError(1, Exit.DATA_MISSING, "gone")) == Exit.DATA_MISSING
    assert group.told == [("settle", Exit.DATA_MISSING, False), ("abort", Exit.DATA_MISSING)]
    assert capfd.readouterr().err == ""


def test_only_the_first_rank_of_a_host_speaks(capfd: pytest.CaptureFixture[str]) -> None:
    for first in (True, False):
        guard = Guard()
        guard.group = Recording(first=first)
        guarded(guard, StorageError("no"))
    assert capfd.readouterr().err.count("StorageError: no") == 1


def test_the_failure_is_recorded_before_the_group_ends() -> None:
    recorded: list[Failure] = []
    guard = Guard(record=recorded.append)
    guard.pulse.stage = "train"
    guard.pulse.done = 5
    guarded(guard, DataMissingError("a.parquet"))
    (failure,) = recorded
    assert (failure.stage, failure.code, failure.error) == ("train, 5 done", Exit.DATA_MISSING, "DataMissingError")
    assert (failure.message, failure.pid) == ("a.parquet", os.getpid())


def test_a_block_that_ends_well_leaves_everything_as_it_was() -> None:
    before = (sys.excepthook, threading.excepthook, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert guarded(Guard(), None) is None
    after = (sys.excepthook, threading.excepthook, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert after == before


@given(code=st.integers(-(2**40), 2**40) | st.none() | st.text())
def test_no_end_looks_like_success(code: int | str | None) -> None:
    assert 0 < exit_code(SystemExit(code)) < 256


def test_every_error_on_purpose_ends_with_its_own_code() -> None:
    kinds: list[type[DlioError]] = [DlioError, *DlioError.__subclasses__()]
    errors = [kind.__new__(kind) for kind in kinds]
    assert all(exit_code(error) == error.code != 0 for error in errors)


def test_a_new_stage_begins_to_count_anew_and_is_posted() -> None:
    guard, posted = Guard(), []
    guard.pulse.post = lambda: posted.append(str(guard.pulse))
    guard.pulse.done = 7
    guard.pulse.stage = "epoch 1"
    guard.pulse.done = 3
    assert (posted, str(guard.pulse)) == (["epoch 1"], "epoch 1, 3 done")
