"""Measures this package against what else the machine can do; run it with ``python -m benchmarks``."""
