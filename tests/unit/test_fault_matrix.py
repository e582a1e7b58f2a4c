"""The command itself, under a launcher, ends as it must when a fault strikes one of its ranks: the short form."""

from __future__ import annotations

from fault_experiments import found_by


def test_faults_in_the_stages_of_a_run_end_it_in_time_and_are_named() -> None:
    figures = found_by("matrix")
    assert figures["jobs"] == 7
