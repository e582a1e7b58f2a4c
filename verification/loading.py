"""The name under which pytest knows the plugin, so that it is never registered twice."""

from __future__ import annotations

import os
from importlib.metadata import entry_points

ENTRY_POINT, MODULE = "dlio_verification", "verification.plugin"


def installed() -> bool:
    """Return whether an installed distribution offers the plugin to pytest."""
    return any(point.name == ENTRY_POINT for point in entry_points(group="pytest11"))


def automatic() -> bool:
    """Return whether pytest loads the plugin by itself."""
    return installed() and not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")


def for_conftest() -> list[str]:
    """Return the plugins that a root conftest must name: none if pytest has loaded it already."""
    return [] if automatic() else [MODULE]


def for_command_line() -> list[str]:
    """Return the options that load the plugin in any suite, with or without a conftest."""
    return ["-p", ENTRY_POINT if automatic() else MODULE]
