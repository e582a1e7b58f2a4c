"""One self-contained page: the verdict first, then what is missing, then every claim with its evidence.

No script, no request: the page can be mailed, archived, printed, and read on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from verification.report.markdown import allowed, evidence_cell, margin, value
from verification.report.plots import bounds_plot, history_plot, kill_plot, memory_plot, timeline_plot

Row = Mapping[str, Any]
LONGEST_REASON = 300
KINDS = (
    ("truth", "Truths"),
    ("end-to-end", "End to end"),
    ("product", "Claims of this product"),
    ("artifact", "Artifacts"),
    ("link", "Key links"),
    ("requirement", "Requirements"),
    ("summary", "Points of the summary"),
    ("anti-pattern", "Anti-patterns"),
    ("smoke", "Smoke"),
)


def html(result: Row) -> str:
    """Return the page of a result."""
    style = resources.files("verification.report").joinpath("page.css").read_text(encoding="utf-8")
    title = f"Verification: {_verdict(result)}"
    body = [_head(result), _gaps(result), _plots(result)]
    body += [_group(name, [row for row in result["claims"] if row["kind"] == kind]) for kind, name in KINDS]
    body += [_saboteurs(result), _foot(result)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _verdict(result: Row) -> str:
    return "passed" if result["status"] == "passed" else "gaps found"


def _head(result: Row) -> str:
    score, truths, kills = result["score"], result["truths"], result["kill_score"]
    tiles = (
        (f"{truths['verified']}/{truths['total']}", "truths verified"),
        (f"{score['verified']}/{score['total']}", "must-claims verified"),
        (f"{kills['caught']}/{kills['declared']}", f"saboteurs caught, {kills['caught_twice']} twice"),
        (str(result["tests"]["total"]), "checks"),
        ("0", "left to a human"),
    )
    boxes = "".join(f"<div><b>{escape(number)}</b><span>{escape(text)}</span></div>" for number, text in tiles)
    warning = ""
    if not result["complete"]:
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in result["incomplete_because"])
        warning = f'<div class="warning">The journal is incomplete, so nothing passes.<ul>{reasons}</ul></div>'
    colour = "good" if result["status"] == "passed" else "bad"
    return (
        f'<header class="{colour}"><h1>{escape(_verdict(result).capitalize())}</h1>'
        f"<p>{escape(result['phase'])} · {escape(result['verified'])} · target {escape(result['target'])} · "
        f'revision {escape(result["revision"][:12])}</p></header><section class="tiles">{boxes}</section>{warning}'
    )


def _gaps(result: Row) -> str:
    """Return what is not VERIFIED, with claims that lack the same thing in one line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in result["claims"]:
        if row["status"] != "VERIFIED":
            reason = (row["reasons"] or [row["text"]])[0][:LONGEST_REASON]
            link = f'<a href="#{escape(row["id"])}">{escape(row["id"])}</a>'
            groups.setdefault((row["status"], reason), []).append(link)
    lines = [
        f"<li>{_badge(status)} {', '.join(links)}: {escape(reason)}</li>" for (status, reason), links in groups.items()
    ]
    lines += [
        f"<li>{_badge(row['outcome'].upper())} <code>{escape(row['id'])}</code>: a test without a claim</li>"
        for row in result["unbound_failures"]
    ]
    return f'<section><h2>What is missing</h2><ul class="gaps">{"".join(lines)}</ul></section>' if lines else ""


def _plots(result: Row) -> str:
    figures = [
        (f"{row['id']}: {item['what']}", item)
        for row in result["claims"]
        for check in row["checks"]
        for item in check["evidence"]
        if item["kind"] == "figure" and (item["at_least"] is not None or item["at_most"] is not None)
    ]
    in_bytes = [(label, item) for label, item in figures if item["unit"] == "B"]
    in_groups = [item for _, item in figures if item["unit"] == "row groups"]
    plots = [
        bounds_plot("Bytes read against bytes needed", "band: from needed to allowed; mark: read", in_bytes),
        f'<div class="curves">{memory_plot(in_groups)}{history_plot(result["history"])}</div>',
        kill_plot(result["kill_score"]),
        timeline_plot(result["timeline"]),
    ]
    return f'<section class="plots"><h2>Measured</h2>{"".join(plots)}</section>'


def _group(name: str, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    done = sum(row["status"] == "VERIFIED" for row in rows)
    cards = "".join(_claim(row) for row in rows)
    return f"<section><h2>{escape(name)} <small>{done}/{len(rows)}</small></h2>{cards}</section>"


def _claim(row: Row) -> str:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in row["reasons"])
    body = f'<ul class="gaps">{reasons}</ul>' if reasons else ""
    body += "".join(_check(check) for check in row["checks"])
    covered = ", ".join(f"{c['key']}={c['value']} {c['seen']}/{c['wanted']}" for c in row["coverage"])
    caught = ", ".join(f"{s['name']} ({len(s['caught_by'])})" for s in row["saboteurs"])
    facts = [
        ("rests on", ", ".join(row["rests_on"])),
        ("bounds", "; ".join(f"{what}: {bound['rule']}" for what, bound in row["bounds"].items())),
        ("cases covered (seen/wanted)", covered),
        ("saboteurs (checks that caught them)", caught),
    ]
    body += "".join(f"<p><b>{escape(name)}</b> {escape(text)}</p>" for name, text in facts if text)
    is_open = "" if row["status"] == "VERIFIED" else " open"
    return (
        f'<details id="{escape(row["id"])}"{is_open}><summary><code>{escape(row["id"])}</code> '
        f"<span>{escape(row['text'])}<small>{escape(_shortened(evidence_cell(row)))}</small></span> "
        f"{_badge(row['status'])}</summary>"
        f"<p><b>repeat</b> <code>{escape(row['repeat'])}</code></p>{body}</details>"
    )


def _shortened(text: str) -> str:
    """Return ``text``, cut after a whole part if it is long."""
    return (
        text
        if len(text) <= LONGEST_REASON
        else f"{text[:LONGEST_REASON].rpartition('; ')[0] or text[:LONGEST_REASON]} ..."
    )


def _check(check: Row) -> str:
    figures = [item for item in check["evidence"] if item["kind"] == "figure"]
    head = "<tr><th>figure</th><th>value</th><th>allowed</th><th>margin</th><th>held</th></tr>"
    table = f'<div class="scroll"><table>{head}{"".join(map(_figure_row, figures))}</table></div>' if figures else ""
    detail = "" if check["outcome"] == "passed" or not check["detail"] else f"<pre>{escape(check['detail'])}</pre>"
    ranks = f"{check['ranks']} ranks, " if check["ranks"] > 1 else ""
    return (
        f'<div class="check"><p><code>{escape(check["repeat"])}</code> {_badge(check["outcome"].upper())} '
        f"<small>{ranks}{check['seconds']:.2f} s</small></p>{table}{detail}</div>"
    )


def _figure_row(item: Row) -> str:
    times = f"{item['times']}×" + (f", rank {item['rank']}" if item["rank"] else "")  # noqa: RUF001 - a sign
    cells = (item["what"], value(item), allowed(item) or item["note"], margin(item), times)
    colour = "" if item["held"] else "bad"
    return f'<tr class="{colour}">{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'


def _saboteurs(result: Row) -> str:
    rows = "".join(
        f'<tr class="{"" if s["independent"] > 1 else "bad"}"><td><code>{escape(s["name"])}</code></td>'
        f"<td>{escape(s['part'])}</td><td>{escape(s['wrong'])}</td><td>{s['independent']}</td></tr>"
        for s in result["kill_score"]["saboteurs"]
    )
    head = "<tr><th>saboteur</th><th>part</th><th>what it does wrong</th><th>caught by</th></tr>"
    return f'<section><h2>Saboteurs</h2><div class="scroll"><table>{head}{rows}</table></div></section>'


def _foot(result: Row) -> str:
    environment = ", ".join(f"{name} {text}" for name, text in result["environment"].items())
    return (
        f"<footer><p>Command <code>{escape(result['command'] or 'python -m verification')}</code></p>"
        f"<p>{escape(environment)}</p><p>Evidence sha256 <code>{escape(result['evidence_sha256'])}</code></p></footer>"
    )


def _badge(status: str) -> str:
    colour = "good" if status in ("VERIFIED", "PASSED") else "idle" if status == "NOT APPLICABLE" else "bad"
    return f'<mark class="{colour}">{escape(status)}</mark>'
