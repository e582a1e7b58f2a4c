"""The result of a verification as one mapping that JSON holds; every other form is made from it.

Nothing here decides: statuses come from `judge`.  A claim appears because it is declared, not because it ran.
"""

from __future__ import annotations

import math
import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from verification.catalogue import Catalogue
from verification.collect import Collected
from verification.judge import NOT_EXECUTED, caught_by, coverage, independent_catches, judge
from verification.model import (
    Check,
    Circumstances,
    Claim,
    Evidence,
    EvidenceKind,
    Kind,
    Level,
    Outcome,
    Status,
    Verdict,
)

SCHEMA_NAME = "verification/1"
PHASE = "11-comprehensive-parquet-support"
PACKAGES = ("dlio_benchmark", "pyarrow", "numpy", "hydra-core", "mpi4py", "mpich", "openmpi", "pytest", "hypothesis")
LONGEST_DETAIL = 6_000
WANTED_CATCHES = 2
KILL_SCORE = "kill score"
HISTORY = 50


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a result comes from: revision of the sources, command, digest of the journals, and what was asked for."""

    revision: str = "unknown"
    command: Sequence[str] = ()
    evidence_sha256: str = ""
    scope: Sequence[str] = ()
    profile: str = "dev"
    previous: Mapping[str, Any] | None = None
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))


def build(catalogue: Catalogue, collected: Collected, now: Circumstances, origin: Origin) -> dict[str, Any]:
    """Return the result: the verdict on every claim in scope, and the evidence it was computed from."""
    claims = catalogue.select(origin.scope) if origin.scope else tuple(catalogue.claims.values())
    checks = [*collected.checks, *_computed(catalogue, collected.checks)]
    verdicts = list(judge(claims, checks, now, expectations=catalogue.expectations).values())
    applicable = [verdict for verdict in verdicts if verdict.status is not Status.NOT_APPLICABLE]
    musts = [verdict for verdict in applicable if verdict.claim.level is Level.MUST]
    verified = sum(verdict.status is Status.VERIFIED for verdict in musts)
    loose = _unbound_failures(checks)
    passed = bool(musts) and verified == len(musts) and collected.complete and not loose
    result: dict[str, Any] = {
        "schema": SCHEMA_NAME,
        "phase": PHASE,
        "verified": origin.moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "status": "passed" if passed else "gaps_found",
        "score": {"verified": verified, "total": len(musts)},
        "truths": _tally(applicable, Kind.TRUTH),
        "human_verification": [],
        "complete": collected.complete,
        "incomplete_because": list(collected.gaps),
        "target": now.target,
        "scope": list(origin.scope),
        "profile": origin.profile,
        "revision": origin.revision,
        "command": " ".join(map(shlex.quote, origin.command)),
        "evidence_sha256": origin.evidence_sha256,
        "environment": environment(),
        "kill_score": kill_score(catalogue, collected.checks),
        "claims": [_row(verdict) for verdict in verdicts],
        "unbound_failures": loose,
        "tests": _tests(collected.checks),
        "timeline": _timeline(collected),
    }
    result["re_verification"] = _compared(result, origin.previous)
    result["history"] = _history(result, origin.previous)
    return result


def environment() -> dict[str, str]:
    """Return the versions and the machine that the evidence is from."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def kill_score(catalogue: Catalogue, checks: Iterable[Check]) -> dict[str, Any]:
    """Return how many declared saboteurs were caught, by which checks, and how many of these are independent."""
    checks = list(checks)
    caught, independent = caught_by(checks), independent_catches(checks)
    rows: list[dict[str, Any]] = [
        {
            "name": s.name,
            "part": s.part,
            "wrong": s.wrong,
            "caught_by": list(caught.get(s.name, ())),
            "independent": independent.get(s.name, 0),
        }
        for s in catalogue.saboteurs.values()
    ]
    return {
        "declared": len(rows),
        "caught": sum(bool(row["caught_by"]) for row in rows),
        "caught_twice": sum(row["independent"] >= WANTED_CATCHES for row in rows),
        "saboteurs": rows,
    }


def _computed(catalogue: Catalogue, checks: Sequence[Check]) -> list[Check]:
    """Return the checks that are made of other checks: whether every saboteur was caught twice."""
    bound = {c.id: c.revision for c in catalogue.claims.values() if c.subject.get("computed") == KILL_SCORE}
    if not bound:
        return []
    score = kill_score(catalogue, checks)
    short = score["declared"] - score["caught_twice"]
    figures = (
        _figure("saboteurs declared", score["declared"], at_least=1),
        _figure(f"saboteurs caught by fewer than {_COUNT_WORD[WANTED_CATCHES]} independent checks", short, at_most=0),
    )
    outcome = Outcome.PASSED if all(figure.held for figure in figures) else Outcome.FAILED
    names = ", ".join(row["name"] for row in score["saboteurs"] if row["independent"] < WANTED_CATCHES)
    detail = f"caught by fewer than {_COUNT_WORD[WANTED_CATCHES]} independent checks: {names}" if names else ""
    ranks = {0: outcome.value}
    return [Check("verification::kill score", 1, outcome, bound, by_rank=ranks, detail=detail, evidence=figures)]


_COUNT_WORD = {1: "one", 2: "two", 3: "three"}


def _figure(what: str, value: int, *, at_least: int | None = None, at_most: int | None = None) -> Evidence:
    margin = value - at_least if at_least is not None else (at_most or 0) - value
    return Evidence(EvidenceKind.FIGURE, what, margin >= 0, value, at_least, at_most, "saboteurs", margin)


def _row(verdict: Verdict) -> dict[str, Any]:
    claim, checks = verdict.claim, verdict.checks
    seen, caught = coverage(checks), caught_by(checks)
    return {
        "id": claim.id,
        "revision": claim.revision,
        "text": claim.text,
        "kind": claim.kind.value,
        "level": claim.level.value,
        "method": claim.method.value,
        "status": verdict.status.value,
        "reasons": [reason[:LONGEST_DETAIL] for reason in verdict.reasons],
        "ranks": {"wanted": list(claim.ranks), "seen": sorted({c.ranks for c in checks if c.evidence})},
        "rests_on": list(claim.rests_on),
        "requirement": claim.requirement,
        "subject": dict(claim.subject),
        "bounds": {
            what: {"unit": b.unit, "rule": b.rule, "at_least": b.at_least, "at_most": b.at_most}
            for what, b in claim.bounds.items()
        },
        "coverage": [
            {"key": key, "value": value, "seen": seen.get(key, {}).get(value, 0), "wanted": least}
            for key, wanted in claim.must_cover.items()
            for value, least in wanted.items()
        ],
        "saboteurs": [{"name": name, "caught_by": list(caught.get(name, ()))} for name in claim.saboteurs],
        "checks": [_check(check, claim) for check in checks],
        "repeat": f"python -m verification run --claims {claim.id}",
    }


def _check(check: Check, claim: Claim) -> dict[str, Any]:
    return {
        "id": check.id,
        "ranks": check.ranks,
        "outcome": check.outcome.value,
        "seconds": check.seconds,
        "by_rank": {str(rank): said for rank, said in check.by_rank.items()},
        "detail": check.detail[:LONGEST_DETAIL],
        "evidence": [_evidence(item) for item in check.evidence if _concerns(item, claim)],
        "repeat": repeat(check),
    }


def _concerns(item: Evidence, claim: Claim) -> bool:
    """Leave counts and trials to the claims that ask for them; a test may show several."""
    if item.kind is EvidenceKind.FIGURE:
        return True
    return item.what in (claim.must_cover if item.kind is EvidenceKind.COVER else claim.saboteurs)


def _evidence(item: Evidence) -> dict[str, Any]:
    return {
        "kind": item.kind.value,
        "what": item.what,
        "held": item.held,
        "value": item.value if item.value is None or isinstance(item.value, str) else _strict(item.value),
        "at_least": item.at_least,
        "at_most": item.at_most,
        "unit": item.unit,
        "margin": None if item.margin is None or not math.isfinite(item.margin) else item.margin,
        "times": item.times,
        "rank": item.rank,
        "note": item.note,
    }


def _strict(value: object) -> object:
    """Return ``value`` as strict JSON has it: numbers that are none become text."""
    return value if isinstance(value, (int, float)) and math.isfinite(value) else str(value)


def repeat(check: Check) -> str:
    """Return the command that runs one check again."""
    if "::" not in check.id or check.id.startswith("verification::"):
        return "python -m verification run"
    test = shlex.quote(check.id)
    return f"mpiexec -n {check.ranks} python -m pytest {test}" if check.ranks > 1 else f"python -m pytest {test}"


def _tally(verdicts: Iterable[Verdict], kind: Kind) -> dict[str, int]:
    mine = [verdict for verdict in verdicts if verdict.claim.kind is kind]
    return {"verified": sum(v.status is Status.VERIFIED for v in mine), "total": len(mine)}


def _unbound_failures(checks: Iterable[Check]) -> list[dict[str, Any]]:
    """Return failed tests that no claim speaks of: they are shown, because nothing red may be hidden."""
    good = {Outcome.PASSED, Outcome.SKIPPED, Outcome.XFAILED, Outcome.NOT_RUN}
    return [
        {"id": c.id, "ranks": c.ranks, "outcome": c.outcome.value, "detail": c.detail[:LONGEST_DETAIL]}
        for c in checks
        if not c.claims and c.outcome not in good
    ]


def _tests(checks: Sequence[Check]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for check in checks:
        counts[check.outcome.value] = counts.get(check.outcome.value, 0) + 1
    by_ranks: dict[str, int] = {}
    for check in checks:
        if check.outcome not in NOT_EXECUTED:
            by_ranks[str(check.ranks)] = by_ranks.get(str(check.ranks), 0) + 1
    return {"total": len(checks), "outcomes": counts, "executed_by_ranks": by_ranks}


def _timeline(collected: Collected) -> list[dict[str, Any]]:
    if not collected.timeline:
        return []
    zero = min(stretch.start for stretch in collected.timeline)
    moved = (replace(s, start=round(s.start - zero, 3), end=round(s.end - zero, 3)) for s in collected.timeline)
    return [
        {"check": s.check, "ranks": s.ranks, "rank": s.rank, "start": s.start, "end": s.end, "outcome": s.outcome}
        for s in moved
    ]


def _gaps(result: Mapping[str, Any]) -> set[str]:
    return {row["id"] for row in result["claims"] if row["status"] != Status.VERIFIED.value}


def _compared(result: Mapping[str, Any], previous: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if previous is None:
        return None
    before, after = _gaps(previous), _gaps(result)
    known = {row["id"] for row in previous["claims"]}
    return {
        "previous_status": previous["status"],
        "previous_score": f"{previous['score']['verified']}/{previous['score']['total']}",
        "gaps_closed": sorted(before - after),
        "gaps_remaining": sorted(before & after),
        "regressions": sorted((after - before) & known),
    }


def _history(result: Mapping[str, Any], previous: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    before = list(previous.get("history", [])) if previous else []
    entry = {
        "verified": result["verified"],
        "revision": result["revision"],
        "score": result["score"],
        "caught": result["kill_score"]["caught"],
        "declared": result["kill_score"]["declared"],
    }
    return [*before, entry][-HISTORY:]
