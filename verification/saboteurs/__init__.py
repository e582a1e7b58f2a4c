"""Deliberately wrong implementations by name; `verification/claims/saboteurs.toml` says of each what is wrong.

A check counts as evidence for a claim only after it has been seen to reject those that the claim names.
"""

from __future__ import annotations

from verification.saboteurs.configs import LOADS, RUNS
from verification.saboteurs.readers import READERS
from verification.saboteurs.writers import WRITERS

__all__ = ["LOADS", "READERS", "RUNS", "WRITERS"]
