"""The experiments of ``tests/faults`` in their short form, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FAULTS = Path(__file__).parents[1] / "faults"


def found_by(name: str, *options: str) -> dict[str, Any]:
    """Return the figures of an experiment; fail with its violations if there are any."""
    ended = subprocess.run(
        [sys.executable, str(FAULTS), "--json", "--only", name, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode in (0, 1), ended.stderr
    finding = json.loads(ended.stdout.splitlines()[-1])
    assert finding["violations"] == [], "\n".join(finding["violations"])
    figures: dict[str, Any] = finding["figures"]
    return figures
