"""Hypothesis profiles, the verification plugin, and how many processes run the tests; nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from verification import loading
from verification.mpi import launch

pytest_plugins = loading.for_conftest()

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
steady = settings(patient, derandomize=True, database=None, print_blob=True)

settings.register_profile("dev", settings(patient, max_examples=20))
settings.register_profile("ci", settings(steady, max_examples=100))
settings.register_profile("mpi", settings(steady, max_examples=30))
settings.register_profile("nightly", settings(patient, max_examples=2000, stateful_step_count=100, print_blob=True))
settings.load_profile(os.environ.get("DLIO_HYPOTHESIS_PROFILE", "dev"))

MOST_PROCESSES = 8
"""Many tests start ranks of their own, so that more processes would only wait for each other."""

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""NumPy's library starts and spins a thread per core in each of the many processes, and nothing here multiplies."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads its options in the same hook
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run whole folders of tests on all processors that this process may use; ``-n 0`` keeps them in one process.

    Half as many processes again as processors, because tests of faults wait for deadlines.
    """
    processors = len(os.sched_getaffinity(0))
    processes = min(MOST_PROCESSES, processors * 3 // 2)
    if processors > 1 and _may_be_shared(config):
        config.option.numprocesses, config.option.dist = processes, "worksteal"


def _may_be_shared(config: pytest.Config) -> bool:
    """Return whether pytest-xdist is there, unasked, and nobody wants to watch the tests in this very process."""
    option = config.option
    free = getattr(option, "numprocesses", 0) is None and option.dist == "no" and not option.tx
    watched = option.usepdb or option.trace or option.collectonly or option.capture == "no"
    part_of_a_job = hasattr(config, "workerinput") or launch.told_size(os.environ) is not None
    return free and not watched and not part_of_a_job and all(Path(name).is_dir() for name in config.args)
