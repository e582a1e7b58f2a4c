"""Claims by targets, from results of several runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = "-"


def matrix(results: Sequence[Mapping[str, Any]], *, as_json: bool = False) -> str:
    """Return the status of every claim on every target, as Markdown or JSON; a later result of a target counts."""
    table: dict[str, dict[str, str]] = {}
    for result in results:
        for row in result["claims"]:
            table.setdefault(row["id"], {})[result["target"]] = row["status"]
    targets = list(dict.fromkeys(result["target"] for result in results))
    if as_json:
        return json.dumps({"targets": targets, "claims": table}, indent=1)
    verified = {t: sum(row.get(t) == "VERIFIED" for row in table.values()) for t in targets}
    lines = [f"| claim | {' | '.join(targets)} |", "|---" * (len(targets) + 1) + "|"]
    lines += [f"| {claim} | {' | '.join(row.get(t, ABSENT) for t in targets)} |" for claim, row in table.items()]
    lines.append(f"| VERIFIED | {' | '.join(f'{verified[t]}/{len(table)}' for t in targets)} |")
    return "\n".join(lines)
