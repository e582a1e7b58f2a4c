"""What is told of a run on several ranks follows from the events of all of them."""

from __future__ import annotations

from typing import Any

import pytest
from ranks import Ranks

from verification.contracts.metrics import bytes_not_read_are_told, numbers_follow_from_the_events, product_report
from verification.evidence import Recorder
from verification.saboteurs.reports import REPORTS

pytestmark = [pytest.mark.mpi, pytest.mark.ranks(1, 2, 3), pytest.mark.claim("product-7")]
WRONG = ("utilization-without-waits", "rounds-the-wait-away", "rate-from-planned-samples")


def test_numbers_follow_from_the_events(evidence: Recorder, comm: Any) -> None:
    numbers_follow_from_the_events(evidence, Ranks(comm), product_report)
    for name in (*WRONG, "drops-one-rank-from-the-summary") if comm.size > 1 else WRONG:
        with evidence.saboteur(name) as trial:
            numbers_follow_from_the_events(evidence, Ranks(trial), REPORTS[name])


def test_bytes_that_were_not_read_are_not_told(evidence: Recorder, comm: Any) -> None:
    bytes_not_read_are_told(evidence, Ranks(comm), product_report)
    for name in ("reports-planned-for-read", *["drops-one-rank-from-the-summary"] * (comm.size > 1)):
        with evidence.saboteur(name) as trial:
            bytes_not_read_are_told(evidence, Ranks(trial), REPORTS[name])
