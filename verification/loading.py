"""The name under which pytest knows the plugin, so that it is never registered twice.

pytest refuses a module that it has loaded already under the name of an entry point, so the name is looked up by module.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points

MODULE = "verification.plugin"


def offered() -> str | None:
    """Return the name under which an installed distribution offers the plugin to pytest, None if there is none."""
    return next((point.name for point in entry_points(group="pytest11") if point.value == MODULE), None)


def automatic() -> str | None:
    """Return the name under which pytest loads the plugin by itself, None if it does not."""
    return None if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") else offered()


def for_conftest() -> list[str]:
    """Return the plugins that a root conftest must name: none if pytest has loaded it already."""
    return [] if automatic() else [MODULE]


def for_command_line() -> list[str]:
    """Return the options that load the plugin in any suite, with or without a conftest."""
    return ["-p", automatic() or MODULE]
