"""Progress is counted always and told now and then: a line where there is no terminal, else a bar."""

from __future__ import annotations

import io
import re

from dlio_benchmark.report.progress import Meter


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_short_work_says_nothing_in_between() -> None:
    said: list[str] = []
    with Meter("work", 1000, say=said.append, stream=io.StringIO()) as meter:
        for _ in range(1000):
            meter.advance(1)
    assert said == []
    assert re.fullmatch(r"work: 1000/1000 files \(100 %\), .* files/s, about 0 s left", meter.text())


def test_a_rank_that_may_not_speak_counts_all_the_same() -> None:
    with Meter("work", 4, say=None, unit="steps", stream=Terminal()) as meter:
        meter.advance(1, 2**20)
        meter.advance(2, 2**20)
    assert meter.text().startswith("work: 3/4 steps (75 %), ")


def test_a_terminal_gets_a_bar_and_no_lines() -> None:
    said: list[str] = []
    with Meter("work", 10, say=said.append, stream=Terminal()) as meter:
        for _ in range(10):
            meter.advance(1)
    assert said == []
