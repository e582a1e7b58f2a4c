"""Plots as inline SVG: figures against their bounds, kill score, time line of the ranks, history.

Every plot has a title and a description for screen readers, takes its colours from the page, and scales to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]
WIDTH, LABEL, STEP = 720, 250, 26
LARGEST = 40


def bounds_plot(title: str, figures: Sequence[tuple[str, Row]]) -> str:
    """Return a row per figure: the allowed range as a band, the measured value as a mark; each row has its scale."""
    rows = [(label, item) for label, item in figures if _number(item["value"])][:LARGEST]
    if not rows:
        return ""
    body = [_bound_row(i, label, item) for i, (label, item) in enumerate(rows)]
    return _svg(title, "Measured values against their bounds.", len(rows) * STEP + 8, body)


def _bound_row(index: int, label: str, item: Row) -> str:
    value, y = float(item["value"]), index * STEP + 6
    edges = [float(edge) for edge in (item["at_least"], item["at_most"]) if edge is not None]
    low, high = min([0.0, value, *edges]), max([value, *edges])
    span = (high - low) * 1.08 or 1.0

    def x(number: float) -> float:
        return LABEL + (WIDTH - LABEL - 110) * (number - low) / span

    begin = x(low if item["at_least"] is None else float(item["at_least"]))
    end = x(low + span if item["at_most"] is None else float(item["at_most"]))
    colour = "good" if item["held"] else "bad"
    shown = f"{item['value']:,} {item['unit']}"
    return (
        _text(0, y + 12, _cut(label, 44))
        + f'<rect class="band" x="{begin:.1f}" y="{y}" width="{max(end - begin, 2):.1f}" height="16" rx="2"/>'
        + f'<rect class="{colour}" x="{x(value) - 1.5:.1f}" y="{y - 2}" width="3" height="20"/>'
        + _text(WIDTH, y + 12, shown, anchor="end")
    )


def kill_plot(score: Row) -> str:
    """Return a bar per part of the product: saboteurs caught twice, once, never."""
    parts: dict[str, list[int]] = {}
    for row in score["saboteurs"]:
        counts = parts.setdefault(row["part"], [0, 0, 0])
        counts[max(0, 2 - len(row["caught_by"]))] += 1
    body, scale = [], (WIDTH - LABEL - 60) / max((sum(counts) for counts in parts.values()), default=1)
    for i, (part, counts) in enumerate(sorted(parts.items())):
        x, y = float(LABEL), i * STEP + 6
        body.append(_text(0, y + 12, part))
        for count, colour in zip(counts, ("good", "fair", "bad"), strict=True):
            body.append(f'<rect class="{colour}" x="{x:.1f}" y="{y}" width="{count * scale:.1f}" height="16"/>')
            x += count * scale
        body.append(_text(WIDTH, y + 12, f"{counts[0]}/{sum(counts)}", anchor="end"))
    text = "Saboteurs caught by two checks or more, by one, by none."
    return _svg("Saboteurs caught, by part of the product", text, len(parts) * STEP + 8, body)


def timeline_plot(stretches: Sequence[Row]) -> str:
    """Return a lane per rank with a box per test, in seconds from the start."""
    if not stretches:
        return ""
    lanes = sorted({(row["ranks"], row["rank"]) for row in stretches})
    last = max(row["end"] for row in stretches) or 1.0
    scale = (WIDTH - 120) / last
    body = [_text(0, i * STEP + 18, f"rank {rank} of {size}") for i, (size, rank) in enumerate(lanes)]
    for row in stretches:
        y = lanes.index((row["ranks"], row["rank"])) * STEP + 6
        colour = "good" if row["outcome"] == "passed" else "idle" if row["outcome"] == "skipped" else "bad"
        width = max((row["end"] - row["start"]) * scale, 0.6)
        body.append(
            f'<rect class="{colour}" x="{100 + row["start"] * scale:.1f}" y="{y}" width="{width:.1f}" height="16">'
            f"<title>{escape(row['check'])}: {row['outcome']}, {row['end'] - row['start']:.2f} s</title></rect>"
        )
    foot = len(lanes) * STEP + 18
    body += [_text(100, foot, "0 s"), _text(WIDTH, foot, f"{last:.0f} s", anchor="end")]
    return _svg("What each rank did when", "Tests over time, a lane per rank.", foot + 8, body)


def history_plot(history: Sequence[Row]) -> str:
    """Return the share of verified must-claims over the last runs."""
    if len(history) < 2:
        return ""
    height, step = 120, (WIDTH - 60) / (len(history) - 1)
    shares = [row["score"]["verified"] / max(row["score"]["total"], 1) for row in history]
    points = " ".join(f"{40 + i * step:.1f},{10 + (1 - share) * (height - 30):.1f}" for i, share in enumerate(shares))
    body = [
        f'<polyline class="line" points="{points}"/>',
        _text(0, 16, "100 %"),
        _text(0, height - 16, "0 %"),
        _text(40, height, history[0]["verified"][:10]),
        _text(WIDTH, height, history[-1]["verified"][:10], anchor="end"),
    ]
    return _svg("Verified must-claims over the last runs", "Share of must-claims that were VERIFIED.", height + 6, body)


def _svg(title: str, description: str, height: float, body: Iterable[str]) -> str:
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><div class="scroll">'
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<desc>{escape(description)}</desc>{''.join(body)}</svg></div></figure>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
