"""Deliberately wrong implementations by name; `verification/claims/saboteurs.toml` says of each what is wrong.

A check counts as evidence for a claim only after it has been seen to reject those that the claim names.
"""

from __future__ import annotations

from verification.saboteurs.comms import COMMS
from verification.saboteurs.configs import DECODES, LOADS, RUNS
from verification.saboteurs.loaders import LOADERS, PLANS
from verification.saboteurs.readers import READERS
from verification.saboteurs.reports import REPORTS
from verification.saboteurs.results import RESULTS
from verification.saboteurs.writers import THREADED, WRITERS

__all__ = [
    "COMMS",
    "DECODES",
    "LOADERS",
    "LOADS",
    "PLANS",
    "READERS",
    "REPORTS",
    "RESULTS",
    "RUNS",
    "THREADED",
    "WRITERS",
]
