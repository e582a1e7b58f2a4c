"""The ratio table hangs together: what it names exists, and its arithmetic is that of its words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import Result, chosen, write
from benchmarks.contenders import CONTENDERS
from benchmarks.datasets import datasets
from benchmarks.lines import QUICK, Line, cpu_rate, lines, peak, rate
from benchmarks.measure import Contender, Sample


@pytest.mark.parametrize("quick", [True, False])
def test_every_line_names_contenders_and_data_sets_that_exist(quick: bool) -> None:
    known = datasets(quick=quick)
    for line in lines():
        contenders = [line.ours, *line.rivals]
        assert {one.function for one in contenders} <= set(CONTENDERS), line.number
        assert {one.data for one in contenders} <= set(known), line.number
        assert len({one.name for one in contenders}) == len(contenders), line.number


def test_lines_have_numbers_of_their_own_and_cover_the_whole_table() -> None:
    numbers = [line.number for line in lines()]
    assert len(set(numbers)) == len(numbers)
    assert {int(number.rstrip("abcdef")) for number in numbers} == set(range(1, 13))
    assert set(numbers) >= QUICK


def test_lines_are_chosen_by_number_or_by_letter() -> None:
    assert [line.number for line in chosen("5,10b", quick=False)] == ["5a", "5b", "10b"]
    assert {line.number for line in chosen("", quick=True)} == QUICK


def test_a_ratio_is_ours_over_the_best_rival_and_the_bound_has_a_side() -> None:
    ours = Sample(units=100, wall_s=1, cpu_s=2, peak_bytes=30)
    rivals = [Sample(100, 4, 1, 0), Sample(100, 2, 4, 0)]
    line = Line("1", "speed", Contender("read_here"), (Contender("a"), Contender("b")), 1.5)
    assert line.ratio(ours, rivals) == 2.0
    assert line.holds(2.0) and not line.holds(1.4)
    memory = Line("2", "memory", Contender("read_here"), (), 3, least=False, value=peak, scale=10)
    assert memory.ratio(ours, []) == 3.0
    assert memory.holds(3.0) and not memory.holds(3.1)
    assert (rate(ours), cpu_rate(ours)) == (100, 50)


def test_results_are_written_as_json(tmp_path: Path) -> None:
    sample = Sample(100, 1, 2, 30)
    line = Line("1", "speed", Contender("read_here"), (Contender("raw_chunks"),), 0.9)
    result = Result(line, [1.0, 2.0, 3.0], {"here": [sample] * 3, "raw": [sample] * 3})
    assert result.holds and " 2 " in result.text() and "by CPU 1" in result.text()
    write([result], str(tmp_path), 3)
    (told,) = json.loads((tmp_path / "ratios.json").read_text())["lines"]
    assert (told["median"], told["holds"], len(told["samples"]["raw"])) == (2.0, True, 3)
