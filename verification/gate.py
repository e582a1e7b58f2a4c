"""The gate of a merge: it reads a result, never an exit code, and lists everything that speaks against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]
NATIVE = "native"
UNSHOWN = frozenset({"NOT RUN", "NO CHECK"})


@dataclass(frozen=True, slots=True)
class Demands:
    """What a result must show."""

    every_claim: bool = False
    not_run: int = 0
    ranks: tuple[int, ...] = ()
    partial: bool = False


def objections(result: Result, demands: Demands, baseline: Result | None = None) -> list[str]:
    """Return why ``result`` may not pass; nothing if it may."""
    found = [f"incomplete: {reason}" for reason in result["incomplete_because"]]
    if not result["complete"] and not found:
        found.append("incomplete")
    if result["scope"] and result["target"] == NATIVE and not demands.partial:
        found.append(f"the result is about {', '.join(result['scope'])} only; --partial would take it for enough")
    if result["human_verification"]:
        found.append("something was left to a human")
    wanted = [row for row in result["claims"] if demands.every_claim or row["level"] == "must"]
    if not wanted:
        found.append("the result holds no claims")
    unshown = [row for row in wanted if row["status"] in UNSHOWN]
    tolerated = {row["id"] for row in unshown} if len(unshown) <= demands.not_run else set()
    found += [
        f"{row['id']}: {row['status']}" for row in wanted if row["status"] != "VERIFIED" and row["id"] not in tolerated
    ]
    found += [f"{row['id']}: {row['outcome']} (a test without a claim)" for row in result["unbound_failures"]]
    executed = result["tests"]["executed_by_ranks"]
    found += [f"nothing ran with {size} rank(s)" for size in demands.ranks if not executed.get(str(size))]
    return found + (_lost(result, baseline) if baseline is not None else [])


def _lost(result: Result, baseline: Result) -> list[str]:
    now = {row["id"]: row["status"] for row in result["claims"]}
    before = {row["id"]: row["status"] for row in baseline["claims"]}
    gone = [f"{claim}: was declared before and is gone" for claim in before if claim not in now]
    worse = [
        f"{claim}: was VERIFIED, is {now[claim]}"
        for claim, status in before.items()
        if status == "VERIFIED" and now.get(claim, "VERIFIED") != "VERIFIED"
    ]
    return gone + worse
