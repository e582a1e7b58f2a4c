"""A crash at any moment leaves whole files or none, whatever the device had not been made to keep."""

from __future__ import annotations

from fault_experiments import found_by


def test_every_crash_state_keeps_the_promise_and_every_saboteur_breaks_it() -> None:
    figures = found_by("protocol")
    assert figures["crash states"] > 400
    assert figures["saboteurs caught"] == 6
    assert figures["restarts"] == 40
