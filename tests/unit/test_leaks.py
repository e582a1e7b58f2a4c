"""What a run takes it gives back, whether it succeeds or fails."""

from __future__ import annotations

from fault_experiments import found_by


def test_epochs_and_failed_runs_leave_nothing_behind() -> None:
    figures = found_by("leaks")
    assert figures["epochs"] == 20
    assert figures["failed runs"] >= 20
