"""Fail on any skipped test that is not listed with its reason, and on a run that executed nothing."""

from __future__ import annotations

import fnmatch
import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main(listed: str, reports: list[str]) -> int:
    """Compare the skips of JUnit reports with the list of allowed ones; return an exit status."""
    allowed = [line.split("  ")[0] for line in Path(listed).read_text().splitlines() if line and line[0] != "#"]
    executed, refused = 0, []
    for report in reports:
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by our own test run
            name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
            if case.find("skipped") is None:
                executed += 1
            elif not any(fnmatch.fnmatch(name, pattern) for pattern in allowed):
                refused.append(name)
    for name in refused:
        print(f"skipped without a listed reason: {name}")
    if not executed:
        print("no test was executed")
    print(f"{executed} tests executed, {len(refused)} skips refused")
    return 1 if refused or not executed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
