"""The target under verification: this package, or what ``python -m verification run --target`` names."""

from __future__ import annotations

import os

import pytest

from verification.run import TARGET
from verification.targets import Target
from verification.targets.cli import Cli, target
from verification.targets.native import Native

CHOSEN = os.environ.get(TARGET, "native")


@pytest.fixture(scope="session")
def asked() -> Target:
    """Return the target; the native one runs in this process, which makes it fast."""
    return Native() if CHOSEN == "native" else target(CHOSEN)


@pytest.fixture(scope="session")
def started() -> Cli:
    """Return the target as processes, also if it is this package."""
    return target(CHOSEN)
