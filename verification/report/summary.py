"""The job summary of a CI step: the Markdown report, shortened from the end until it fits the limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verification.report.markdown import markdown

LIMIT = 1024 * 1024 - 4096
CUT = "\n\n(The report is longer than a job summary may be; the rest is in VERIFICATION.md.)\n"


def job_summary(result: Mapping[str, Any], limit: int = LIMIT) -> str:
    """Return the report without front matter, in less than ``limit`` bytes of UTF-8."""
    text = markdown(result).split("---\n", 2)[2].lstrip()
    mark = "✅" if result["status"] == "passed" else "❌"
    text = text.replace("# Verification", f"# {mark} Verification", 1)
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    head = encoded[: limit - len(CUT.encode())].decode(errors="ignore")
    return head[: head.rfind("\n")] + CUT
