"""Any call of the operating system may fail: the run succeeds all the same, or says where and ends with its code."""

from __future__ import annotations

from fault_experiments import found_by


def test_the_nth_failing_call_is_overcome_or_reported_for_every_n() -> None:
    figures = found_by("calls")
    assert figures["faults reported"] > 50
    assert figures["faults overcome"] > 20
    assert figures["generations"] > 50
    assert figures["runs of verification"] > 30
