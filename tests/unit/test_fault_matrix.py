"""The command itself, under a launcher, ends as it must when a fault strikes one of its ranks: the short form."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_experiments import FAULTS, found_by

from dlio_benchmark.launch import Dialect, Launcher

NAMED = "rank 1 of 2 on host h (pid 7) failed in stage: epoch 1 train\n  OSError: planted\n"


def test_faults_in_the_stages_of_a_run_end_it_in_time_and_are_named() -> None:
    figures = found_by("matrix")
    assert figures["jobs"] == 7


@pytest.fixture
def matrix(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module of the matrix, which is run as a program of its own otherwise."""
    monkeypatch.syspath_prepend(str(FAULTS))
    return importlib.import_module("matrix")


@pytest.mark.parametrize(
    ("first", "again", "violated"),
    [
        ({}, False, False),
        ({"said": "PMIX ERROR: The PMIx server's listener thread failed to start", "struck": False}, True, False),
        ({"stood_still": True, "seconds": 30.0}, True, False),
        ({"said": "somebody failed somewhere"}, False, True),
        ({"seconds": 30.0}, False, True),
    ],
)
def test_a_job_is_made_again_only_where_it_shows_nothing(
    matrix: Any, tmp_path: Path, first: dict[str, Any], again: bool, violated: bool
) -> None:
    good = matrix.Ended(74, NAMED, "", 1.0, (), struck=True, stood_still=False, success=False)
    ends = iter([replace(good, **first), good])
    struck: list[str] = []

    def strike(_site: object, _name: str, _stage: str, folder: str) -> Any:
        struck.append(folder)
        return next(ends)

    found = matrix.Finding()
    site = matrix.Site("an MPI", "python", Launcher("mpirun", Dialect.HYDRA), tmp_path)
    matrix.strike_all(site, [("exception", "train")], found, strike)
    assert struck == (["0", "0-again"] if again else ["0"])
    assert bool(found.violations) is violated
    assert found.figures["jobs"] == 1
    assert any(name.startswith("jobs made again") for name in found.figures) is again


def test_a_job_that_never_begins_is_wrong(matrix: Any, tmp_path: Path) -> None:
    never = matrix.Ended(1, matrix.NOT_BEGUN, "", 0.0, (), struck=False, stood_still=False, success=False)
    found = matrix.Finding()
    site = matrix.Site("an MPI", "python", Launcher("mpirun", Dialect.HYDRA), tmp_path)
    matrix.strike_all(site, [("exception", "train")], found, lambda *_: never)
    assert any("the fault did not strike" in text for text in found.violations)
