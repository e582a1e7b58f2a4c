"""Hostile names, values and configurations reach nothing outside of the data set, and run nothing."""

from __future__ import annotations

from fault_experiments import found_by


def test_hostile_names_stay_below_the_root_and_survive_or_are_refused() -> None:
    figures = found_by("names")
    assert figures["names"] == 600
    assert figures["round trips (path)"] > 0
    assert figures["round trips (value)"] > 0
    assert figures["refused (column)"] > 0


def test_hostile_configurations_fire_no_canary() -> None:
    figures = found_by("configs")
    assert figures["configurations"] == 40
    assert figures["refused"] > 0
