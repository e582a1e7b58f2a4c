"""Conformance harness: claims as data, tests as proof, measured evidence, and a report that nobody can word.

A claim is VERIFIED only when a run has shown it: every bound test ran at every wanted number of ranks, every
figure kept its bounds, the generated cases covered what they had to, and every saboteur was caught.
"""

SCHEMA = 1

__all__ = ["SCHEMA"]
