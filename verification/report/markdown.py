"""`VERIFICATION.md`: the tables of the first verification in its order, every cell computed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
LONGEST_CELL = 360
FIGURES_SHOWN = 4


def markdown(result: Row) -> str:
    """Return the report as Markdown with YAML front matter."""
    parts = [
        _front_matter(result),
        f"# Verification: {result['phase']}\n",
        _headline(result),
        _truths(result),
        _artifacts(result),
        _links(result),
        _section(result, "Requirements coverage", ("requirement",)),
        _section(result, "End to end", ("end-to-end", "smoke")),
        _section(result, "Claims of this product", ("product",)),
        _section(result, "Points of the summary", ("summary",)),
        _section(result, "Anti-patterns found", ("anti-pattern",)),
        _saboteurs(result),
        "## Human verification required\n\nNone. What a run has not shown is a gap, not a task for somebody.\n",
        _gaps(result),
        _summary(result),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(result: Row) -> str:
    gaps = [row for row in result["claims"] if row["status"] != "VERIFIED"]
    lines = [
        "---",
        f"phase: {result['phase']}",
        f"verified: {result['verified']}",
        f"status: {result['status']}",
        f"score: {result['score']['verified']}/{result['score']['total']} must-haves verified",
        f"truths: {result['truths']['verified']}/{result['truths']['total']}",
        f"saboteurs: {result['kill_score']['caught']}/{result['kill_score']['declared']} caught",
        f"target: {json.dumps(result['target'])}",
        f"revision: {json.dumps(result['revision'])}",
        f"complete: {json.dumps(result['complete'])}",
        f"evidence_sha256: {json.dumps(result['evidence_sha256'])}",
    ]
    if result["re_verification"]:
        lines.append("re_verification:")
        lines += [f"  {key}: {json.dumps(value)}" for key, value in result["re_verification"].items()]
    lines.append("gaps:" if gaps else "gaps: []")
    for row in gaps:
        lines.append(f"  - claim: {json.dumps(row['id'])}")
        lines.append(f"    status: {json.dumps(row['status'])}")
        lines.append(f"    reason: {json.dumps((row['reasons'] or [''])[0][:LONGEST_CELL])}")
    return "\n".join([*lines, "human_verification: []", "---", ""])


def _headline(result: Row) -> str:
    verdict = "passed" if result["status"] == "passed" else "gaps found"
    score, truths = result["score"], result["truths"]
    shown = f"{score['verified']} of {score['total']} must-claims and {truths['verified']} of {truths['total']} truths"
    lines = [
        f"**{verdict}**: {shown} are VERIFIED by runs.",
        "",
        f"Command: `{result['command'] or 'python -m verification'}`",
    ]
    if not result["complete"]:
        lines += ["", "The journal is incomplete:", "", *(f"- {reason}" for reason in result["incomplete_because"])]
    return "\n".join([*lines, ""])


def _of_kind(result: Row, kinds: Sequence[str]) -> list[Row]:
    return [row for row in result["claims"] if row["kind"] in kinds]


def _truths(result: Row) -> str:
    rows = [
        (i, row["text"], row["status"], evidence_cell(row))
        for i, row in enumerate(_of_kind(result, ("truth",)), start=1)
    ]
    return _titled("Goal achievement", _table(("#", "Truth", "Status", "Evidence"), rows))


def _artifacts(result: Row) -> str:
    rows = []
    for row in _of_kind(result, ("artifact",)):
        seen = {item["value"]: item["seen"] for item in row["coverage"] if item["key"] == "aspect"}
        marks = ["yes" if seen.get(aspect) else "not shown" for aspect in ("exists", "substantive", "wired")]
        subject = row["subject"]
        rows.append(
            (f"`{subject.get('path', row['id'])}`", subject.get("expected", row["text"]), *marks, row["status"])
        )
    header = ("Artifact", "Expected", "Exists", "Substantive", "Wired", "Status")
    return _titled("Required artifacts", _table(header, rows))


def _links(result: Row) -> str:
    rows = [
        (*(row["subject"].get(key, "") for key in ("from", "to", "via")), row["status"], evidence_cell(row))
        for row in _of_kind(result, ("link",))
    ]
    return _titled("Key links", _table(("From", "To", "Via", "Status", "Details"), rows))


def _section(result: Row, title: str, kinds: Sequence[str]) -> str:
    rows = [(row["id"], row["text"], row["status"], evidence_cell(row)) for row in _of_kind(result, kinds)]
    return _titled(title, _table(("Id", "Claim", "Status", "Evidence"), rows))


def _saboteurs(result: Row) -> str:
    score = result["kill_score"]
    rows = [
        (row["name"], row["part"], row["wrong"], row["independent"])
        for row in score["saboteurs"]
        if row["independent"] < 2
    ]
    text = (
        f"{score['caught']} of {score['declared']} deliberately wrong implementations were caught, "
        f"{score['caught_twice']} of them by at least two independent checks.\n"
    )
    if rows:
        text += "\n" + _table(("Caught less than twice", "Part", "What it does wrong", "Checks"), rows)
    return _titled("Saboteurs", text)


def _gaps(result: Row) -> str:
    rows = [row for row in result["claims"] if row["status"] != "VERIFIED"]
    if not rows and not result["unbound_failures"]:
        return ""
    lines = []
    for row in rows:
        lines.append(f"- **{row['id']}** {row['status']}; repeat: `{row['repeat']}`")
        lines += [f"  - {_cell(reason)}" for reason in row["reasons"][:5]]
    lines += [f"- test without a claim: `{row['id']}` {row['outcome']}" for row in result["unbound_failures"]]
    return _titled("Gaps", "\n".join(lines) + "\n")


def _summary(result: Row) -> str:
    tests = result["tests"]
    outcomes = ", ".join(f"{count} {word}" for word, count in sorted(tests["outcomes"].items())) or "none"
    ranks = ", ".join(f"{count} with {n} rank(s)" for n, count in sorted(tests["executed_by_ranks"].items())) or "none"
    where = ", ".join(f"{name} {text}" for name, text in result["environment"].items())
    return _titled("Summary", f"Checks: {outcomes}. Executed: {ranks}. Environment: {where}.\n")


def evidence_cell(row: Row) -> str:
    """Return the figures of a claim with bounds and margins, then what else was seen, in one cell."""
    if row["rests_on"] and not row["checks"]:
        return "rests on " + ", ".join(row["rests_on"])
    if row["status"] != "VERIFIED" and row["reasons"]:
        return str(row["reasons"][0])
    items = [item for check in row["checks"] for item in check["evidence"] if item["kind"] == "figure"]
    items.sort(key=lambda item: item["margin"] is None)  # what has a bound is the stronger evidence
    caught = sum(bool(item["caught_by"]) for item in row["saboteurs"])
    tail = f"{len(row['checks'])} check(s); {caught}/{len(row['saboteurs'])} saboteurs caught"
    nearest: dict[str, Row] = {}
    for item in items:
        known = nearest.setdefault(item["what"], item)
        if known["margin"] is not None and item["margin"] is not None and item["margin"] < known["margin"]:
            nearest[item["what"]] = item
    return "; ".join([*list(map(figure, nearest.values()))[:FIGURES_SHOWN], tail])


def figure(item: Row) -> str:
    """Return one figure with its bounds and margin, as in `bytes read 1,024 B (1,000 to 2,000, margin 24)`."""
    text, bounds = f"{item['what']} {value(item)}", allowed(item)
    if not bounds:
        return text
    return f"{text} ({bounds}, margin {margin(item)})" if item["margin"] else f"{text} ({bounds})"


def margin(item: Row) -> str:
    """Return the distance of a figure to its nearest bound; nothing if it has none."""
    return "" if item["margin"] is None else f"{round(item['margin'], 6):,}"


def value(item: Row) -> str:
    """Return the value of a figure with its unit."""
    found = item["value"]
    shown = f"{found:,}" if isinstance(found, (int, float)) and not isinstance(found, bool) else str(found)
    return f"{shown} {item['unit']}".rstrip()


def allowed(item: Row) -> str:
    """Return the bounds of a figure in words; nothing if it has none."""
    least, most = (None if item[side] is None else f"{item[side]:,}" for side in ("at_least", "at_most"))
    if least is None or most is None:
        return f"at most {most}" if most is not None else f"at least {least}" if least is not None else ""
    return f"exactly {least}" if least == most else f"{least} to {most}"


def _titled(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body.strip() else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    if not body:
        return ""
    return "\n".join([f"| {' | '.join(header)} |", "|" + "---|" * len(header), *body, ""])


def _cell(value: object) -> str:
    text = " ".join(str(value).replace("|", "\\|").split())
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 3] + "..."
