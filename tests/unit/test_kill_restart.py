"""Generation may be killed at any moment, and any number of generators may be started at once."""

from __future__ import annotations

from fault_experiments import found_by


def test_a_kill_leaves_only_whole_files_and_a_restart_ends_like_an_undisturbed_run() -> None:
    figures = found_by("kills")
    assert figures["kills"] >= 30
    assert figures["whole files left by kills"] > 0
    assert figures["restarts"] > 0


def test_one_of_many_generators_wins_and_the_others_name_it() -> None:
    figures = found_by("contests")
    assert figures["contests"] == 5
    assert figures["losers"] > 0
