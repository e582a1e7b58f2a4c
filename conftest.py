"""Hypothesis profiles and the verification plugin; nothing else."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from verification import loading

pytest_plugins = loading.for_conftest()

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
steady = settings(patient, derandomize=True, database=None, print_blob=True)

settings.register_profile("dev", settings(patient, max_examples=20))
settings.register_profile("ci", settings(steady, max_examples=100))
settings.register_profile("mpi", settings(steady, max_examples=30))
settings.register_profile("nightly", settings(patient, max_examples=2000, stateful_step_count=100, print_blob=True))
settings.load_profile(os.environ.get("DLIO_HYPOTHESIS_PROFILE", "dev"))
