"""Mutants are small, are made in functions that are alive, and are judged by the tests that execute them."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from verification.mutation import live
from verification.mutation.__main__ import OPTIONS
from verification.mutation.changes import Mutant, mutants, mutated
from verification.mutation.forks import in_fork
from verification.mutation.judge import Budget, fate_of
from verification.mutation.lines import Told

SOURCE = '''
LIMIT = 3

def inner(f):
    return lambda *args, **options: f(*args, **options)

@inner
def over(n: int, by=LIMIT) -> bool:
    """Return whether n is over the limit."""
    if n < 0:
        raise ValueError(f"{n + 1} is negative")
    return (
        n > by
    )

def calls(log):
    log.append(1)
    return sorted([2, 1], reverse=True)
'''


@pytest.fixture
def sample(tmp_path: Path) -> ModuleType:
    path = tmp_path / "dlio_benchmark" / "sample.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("sample_of_mutation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def all_of(root: Path) -> dict[str, Mutant]:
    return {f"{mutant.line} {mutant.change}": mutant for mutant in mutants("dlio_benchmark/sample.py", root)}


def test_changes_leave_out_annotations_words_and_errors(sample: ModuleType, tmp_path: Path) -> None:
    assert set(all_of(tmp_path)) == {
        *("2 3 -> 4", "5 return None", "5 without **=", "10 Lt -> LtE", "10 0 -> 1", "12 return None", "13 Gt -> GtE"),
        *("17 call dropped", "17 1 -> 2", "18 return None", "18 without reverse=", "18 2 -> 3", "18 1 -> 2"),
        "18 True -> False",
    }


def test_a_change_knows_its_statement_and_whether_it_is_in_a_function(sample: ModuleType, tmp_path: Path) -> None:
    found = all_of(tmp_path)
    assert (found["2 3 -> 4"].inside, found["13 Gt -> GtE"].inside) == (False, True)
    assert (found["13 Gt -> GtE"].first, found["13 Gt -> GtE"].last) == (12, 14)
    assert (found["10 Lt -> LtE"].first, found["10 Lt -> LtE"].last) == (10, 10)


def test_functions_that_are_alive_get_other_code_whatever_wraps_them(sample: ModuleType, tmp_path: Path) -> None:
    living = live.functions_below(str(tmp_path))
    path = str(tmp_path / "dlio_benchmark" / "sample.py")
    found = all_of(tmp_path)
    assert (sample.over(3), sample.over(4)) == (False, True)
    assert live.replace(mutated(found["13 Gt -> GtE"], SOURCE), path, living)
    assert (sample.over(3), sample.over(2)) == (True, False)
    assert live.replace(mutated(found["18 without reverse="], SOURCE), path, living)
    assert (sample.over(3), sample.calls([])) == (False, [1, 2])
    assert not live.replace(mutated(found["2 3 -> 4"], SOURCE), path, live.functions_below(str(tmp_path / "nothing")))
    assert ast.unparse(mutated(found["2 3 -> 4"], SOURCE)).startswith("LIMIT = 4")


def test_looking_for_functions_asks_no_other_object_what_it_is(tmp_path: Path) -> None:
    asked: list[object] = []

    def answer(one: object) -> type:
        asked.append(one)
        return object

    shy = type("Shy", (), {"__class__": property(answer)})()
    live.functions_below(str(tmp_path))
    assert not asked, shy


TOLD = Told({"slow": 9.0, "fast": 0.1, "middle": 1.0}, {"m.py": {12: ["slow", "fast"], 13: ["middle", "red"]}}, {})


def test_the_tests_of_a_mutant_are_those_that_execute_its_statement_fastest_first() -> None:
    one = Mutant("m.py", 0, 13, "", first=12, last=14, inside=True)
    assert TOLD.of(one) == ["fast", "middle", "slow"]
    assert TOLD.of(Mutant("m.py", 0, 13, "", first=13, last=13)) == ["middle"]
    assert TOLD.of_module("other.py") == []
    assert Budget(all_s=2, one_s=5).chosen(["fast", "middle", "slow"], TOLD) == ["fast", "middle"]
    assert Budget(all_s=2, one_s=5).chosen(["slow"], TOLD) == ["slow"]


def test_what_imports_execute_is_known() -> None:
    told = Told({}, {}, {"m.py": frozenset({3})})
    assert told.at_import(Mutant("m.py", 0, 3, "", first=2, last=3))
    assert not told.at_import(Mutant("m.py", 0, 3, "", first=4, last=5))


def sleep_for_ever() -> int:
    while True:
        time.sleep(1)


FATES = {
    "survived": lambda: 0,
    "killed": lambda: 1,
    "killed by an error": lambda: 1 // 0,
    "killed by its end": lambda: os._exit(9),
}


@pytest.mark.parametrize("fate", FATES)
def test_a_fork_ends_in_a_fate(fate: str) -> None:
    assert fate_of(in_fork(FATES[fate], 60)) == fate.partition(" ")[0]


def test_a_fork_that_does_not_end_is_ended() -> None:
    assert fate_of(in_fork(sleep_for_ever, 0.05)) == "timeout"


def test_a_run_keeps_the_tests_in_the_process_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked:
        def pytest_cmdline_main(self, config: pytest.Config) -> int:
            return config.option.numprocesses or 0

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    folder = str(Path(__file__).parent)
    assert in_fork(lambda: int(pytest.main([*OPTIONS, folder], plugins=[Asked()])), 60) == 0


def test_what_a_fork_says_last_is_kept(tmp_path: Path) -> None:
    def work() -> int:
        sys.stdout = os.fdopen(os.dup(1), "w")
        print("why it failed", end="")
        return 3

    assert in_fork(work, 60, str(tmp_path / "log")) == 3
    assert (tmp_path / "log").read_text() == "why it failed"
