"""The fake clock moves only when told to; the real one can be asked to sleep sharply."""

from __future__ import annotations

import ast
import ctypes
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlio_benchmark.clock import FakeClock, RealClock, sleep_sharply

_PR_GET_TIMERSLACK = 30


def test_the_fake_clock_sleeps_without_waiting() -> None:
    clock = FakeClock(5)
    clock.sleep(1.5)
    clock.advance(7)
    assert clock.now_ns() == 5 + 1_500_000_000 + 7


@pytest.mark.parametrize("seconds", [0.0, 1e-5, 0.0004, 0.006])
def test_the_real_clock_never_sleeps_less_than_asked(seconds: float) -> None:
    clock = RealClock()
    begin_ns = clock.now_ns()
    clock.sleep(seconds)
    assert clock.now_ns() - begin_ns >= round(seconds * 1e9)


@pytest.mark.skipif(sys.platform != "linux", reason="timer slack is a setting of Linux")
def test_a_thread_and_those_that_it_starts_sleep_sharply_once_asked_to() -> None:
    def slack_ns() -> int:
        return int(ctypes.CDLL(None).prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0))

    found: list[int] = []

    def work() -> None:
        sleep_sharply()
        found.append(slack_ns())
        child = threading.Thread(target=lambda: found.append(slack_ns()))
        child.start()
        child.join()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [1_000, 1_000]


SOURCES = sorted((Path(__file__).parents[2] / "dlio_benchmark").rglob("*.py"))
OF_THE_WALL = ("time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime", "time.clock_gettime")
# Why a file may know the clock of the wall.
ALLOWED = {
    "clock.py": "sets a span of the clock of steps behind a moment, for people",
    "utils/statscounter.py": "an interface of DLIO's, whose callers set its starts by that clock",
    "mlpstorage/results.py": "names folders by the time, and looks for a free one",
}
RECKONING = ("timedelta", "total_seconds", "timestamp", "fromisoformat", "strptime")
LAST = {*RECKONING, *(name.rpartition(".")[2] for name in OF_THE_WALL)}


def wall_clocks(source: str) -> Iterator[str]:
    """Yield what measures time by a clock that people and NTP set, or reckons with its readings."""
    for node in ast.walk(ast.parse(source)):
        last = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        text = ast.unparse(node) if last in LAST else ""
        if text in OF_THE_WALL or last in RECKONING:
            yield text
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"time.{name.name}" for name in node.names if f"time.{name.name}" in OF_THE_WALL)
        if isinstance(node, ast.BinOp) and "now" in source and "now(" in ast.unparse(node):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_time_is_measured_by_a_clock_that_may_be_set(path: Path) -> None:
    found = list(wall_clocks(path.read_text(encoding="utf-8")))
    assert bool(found) is (str(path.relative_to(SOURCES[0].parent)) in ALLOWED), found


@pytest.mark.parametrize(
    "source",
    [
        "import time\nbegin = time.time()\n",
        "from time import time_ns\n",
        "spent = datetime.now() - begin\n",
        "spent = (end - begin).total_seconds()\n",
    ],
)
def test_a_clock_of_the_wall_is_found(source: str) -> None:
    assert list(wall_clocks(source)) != []
