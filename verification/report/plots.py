"""Plots as inline SVG: figures against their bounds, memory, kill score, time line of the ranks, history.

Rows are HTML with a stretched bar in each, so that text keeps its size on a phone; only curves are drawn whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from verification.report.markdown import allowed

Row = Mapping[str, Any]
Labelled = tuple[str, Row]
BAR = 1000
CURVE_WIDTH, CURVE_HEIGHT, CURVE_LEFT = 420, 170, 46
GROWTH = re.compile(r"growth of the peak from (\d+) to (\d+) row groups")
PEAK = re.compile(r"peak with (\d+) row groups")


def bounds_plot(title: str, legend: str, figures: Iterable[Labelled]) -> str:
    """Return a row per name: the allowed range as a band, and of all figures of that name the one nearest a bound."""
    numbers = sorted((pair for pair in figures if _number(pair[1]["value"])), key=lambda pair: pair[0])
    rows = []
    for label, same in groupby(numbers, key=lambda pair: pair[0]):
        items = [item for _, item in same]
        worst = min(items, key=lambda item: (item["held"], item["margin"] if item["margin"] is not None else 0))
        rows.append(_bound_row(label, worst, sum(item["times"] for item in items)))
    return _figure(title, legend, rows)


def _bound_row(label: str, item: Row, times: int) -> str:
    value = float(item["value"])
    edges = [float(edge) for edge in (item["at_least"], item["at_most"]) if edge is not None]
    low, high = min([0.0, value, *edges]), max([value, *edges])
    span = (high - low) * 1.05 or 1.0

    def x(number: float) -> float:
        return BAR * (number - low) / span

    begin = x(low if item["at_least"] is None else float(item["at_least"]))
    end = x(low + span if item["at_most"] is None else float(item["at_most"]))
    drawn = _box("band", begin, max(end - begin, 4)) + _box("good" if item["held"] else "bad", x(value) - 2, 4)
    often = "once" if times == 1 else f"{times} times"
    return _lane(label, drawn, f"{item['value']:,} {item['unit']}", f"{allowed(item)}, held {often}")


def memory_plot(figures: Iterable[Row]) -> str:
    """Return the peak memory over the number of row groups in the file, with what a reader of the whole file holds."""
    growths, peaks = [], []
    for item in figures:
        if match := GROWTH.fullmatch(item["what"]):
            growths.append((int(match[1]), int(match[2]), float(item["value"])))
        elif PEAK.fullmatch(item["what"]):
            peaks.append((float(item["value"]), item["at_most"]))
    if not growths or len(growths) != len(peaks):
        return ""
    most = max(many for _, many, _ in growths)

    def point(groups: float, peak: float) -> str:
        y = CURVE_HEIGHT - 24 - (CURVE_HEIGHT - 40) * max(peak, 0) / most
        return f"{CURVE_LEFT + (CURVE_WIDTH - CURVE_LEFT - 10) * groups / most:.1f},{y:.1f}"

    body = [f'<polyline class="whole" points="{point(0, 0)} {point(most, most)}"/>']
    body += [_text(CURVE_WIDTH * 0.52, 52, "the whole file", anchor="end")]
    for edge in sorted({edge for _, edge in peaks if edge is not None}):
        body.append(f'<polyline class="edge" points="{point(0, edge)} {point(most, edge)}"/>')
        body.append(_text(CURVE_WIDTH - 10, CURVE_HEIGHT - 30 - (CURVE_HEIGHT - 40) * edge / most, "allowed", "end"))
    for (few, many, growth), (peak, _) in zip(growths, peaks, strict=True):
        body.append(f'<polyline class="line" points="{point(few, peak - growth)} {point(many, peak)}"/>')
    body += [_text(0, 18, f"{most}"), _text(0, CURVE_HEIGHT - 24, "0"), _text(CURVE_LEFT, CURVE_HEIGHT - 6, "0")]
    body.append(_text(CURVE_WIDTH - 10, CURVE_HEIGHT - 6, f"{most} row groups in the file", "end"))
    return _curve("Peak memory, in row groups, against row groups in the file", body)


def kill_plot(score: Row) -> str:
    """Return a row per part of the product: saboteurs caught twice, once, never."""
    parts: dict[str, list[int]] = {}
    for row in score["saboteurs"]:
        counts = parts.setdefault(row["part"], [0, 0, 0])
        counts[max(0, 2 - row["independent"])] += 1
    scale = BAR / max((sum(counts) for counts in parts.values()), default=1)
    rows = []
    for part, counts in sorted(parts.items()):
        x, drawn = 0.0, ""
        for count, colour in zip(counts, ("good", "fair", "bad"), strict=True):
            drawn += _box(colour, x, count * scale) if count else ""
            x += count * scale
        rows.append(_lane(part, drawn, f"{counts[0]} of {sum(counts)}"))
    legend = "green: caught by two checks or more; yellow: by one; red: by none"
    return _figure("Saboteurs caught, by part of the product", legend, rows)


def timeline_plot(stretches: Sequence[Row]) -> str:
    """Return a row per rank with a box per test, in seconds from the start."""
    if not stretches:
        return ""
    last = max(row["end"] for row in stretches) or 1.0
    lanes: dict[tuple[int, int], list[Row]] = {}
    for row in stretches:
        lanes.setdefault((row["ranks"], row["rank"]), []).append(row)
    rows = []
    for (size, rank), mine in sorted(lanes.items()):
        drawn = "".join(_stretch(row, BAR / last) for row in mine)
        busy = sum(row["end"] - row["start"] for row in mine)
        rows.append(_lane(f"rank {rank} of {size}", drawn, f"{busy:,.0f} s in {len(mine)} tests"))
    legend = f"a box per test, over {last:,.0f} s; red: not passed, grey: skipped"
    return _figure("What each rank did when", legend, rows)


def _stretch(row: Row, scale: float) -> str:
    colour = "good" if row["outcome"] == "passed" else "idle" if row["outcome"] == "skipped" else "bad"
    seconds = row["end"] - row["start"]
    told = f"{row['check']}: {row['outcome']}, {seconds:.2f} s"
    return _box(colour, row["start"] * scale, max(seconds * scale - 0.5, 0.8), told)


def history_plot(history: Sequence[Row]) -> str:
    """Return the share of verified must-claims over the last runs."""
    if len(history) < 2:
        return ""
    step = (CURVE_WIDTH - CURVE_LEFT - 10) / (len(history) - 1)
    shares = [row["score"]["verified"] / max(row["score"]["total"], 1) for row in history]
    spots = [
        (CURVE_LEFT + i * step, 14 + (1 - share) * (CURVE_HEIGHT - 40), row)
        for i, (share, row) in enumerate(zip(shares, history, strict=True))
    ]
    body = [f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in spots)}"/>']
    body += [
        f'<circle class="good" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(row["verified"])}: '
        f"{row['score']['verified']} of {row['score']['total']}</title></circle>"
        for x, y, row in spots
    ]
    body += [_text(0, 18, "100 %"), _text(0, CURVE_HEIGHT - 24, "0 %")]
    body.append(_text(CURVE_LEFT, CURVE_HEIGHT - 6, history[0]["verified"][:16].replace("T", " ")))
    body.append(_text(CURVE_WIDTH - 10, CURVE_HEIGHT - 6, history[-1]["verified"][:16].replace("T", " "), "end"))
    return _curve("Verified must-claims over the last runs", body)


def _lane(label: str, drawn: str, value: str, note: str = "") -> str:
    told = escape(f"{label}: {value} {note}".strip(), quote=True)
    return (
        f'<div class="lane"><span>{escape(label)}</span><svg viewBox="0 0 {BAR} 20" preserveAspectRatio="none" '
        f'role="img" aria-label="{told}">{drawn}</svg><b>{escape(value)}<small>{escape(note)}</small></b></div>'
    )


def _box(colour: str, x: float, width: float, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    tall = 'y="0" height="20"' if colour != "band" else 'y="3" height="14"'
    return f'<rect class="{colour}" x="{x:.1f}" width="{width:.1f}" {tall}>{inner}</rect>'


def _figure(title: str, legend: str, rows: Sequence[str]) -> str:
    if not rows:
        return ""
    return f"<figure><figcaption>{escape(title)}<small>{escape(legend)}</small></figcaption>{''.join(rows)}</figure>"


def _curve(title: str, body: Iterable[str]) -> str:
    frame = f'viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" role="img" aria-label="{escape(title, quote=True)}"'
    head = f'<figure class="curve"><figcaption>{escape(title)}</figcaption>'
    return f"{head}<svg {frame}>{''.join(body)}</svg></figure>"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
