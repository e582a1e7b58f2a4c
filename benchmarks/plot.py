"""The ratio table as a plot: each line's ratio over its gate, with its spread."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure


def plot(record: dict[str, Any], path: str) -> None:
    """Draw the lines of a record of ratios; right of 1 is better than the gate."""
    lines = record["lines"]
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(lines)), layout="constrained")
    axes = figure.add_subplot()
    for place, line in enumerate(lines):
        margins = sorted(_margin(line, ratio) for ratio in line["ratios"])
        middle = _margin(line, line["median"])
        colour = "tab:green" if line["holds"] else "tab:red"
        axes.plot([margins[0], margins[-1]], [place, place], color=colour, linewidth=3, alpha=0.4)
        axes.plot([middle], [place], "o", color=colour)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(lines)), [f"{line['line']}  {line['what']}" for line in lines])
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("times better than the gate: median and range of the rounds")
    axes.grid(axis="x", which="both", alpha=0.3)
    figure.savefig(path)


def _margin(line: dict[str, Any], ratio: float) -> float:
    margin = ratio / line["gate"] if line["at_least"] else line["gate"] / max(ratio, 1e-9)
    return max(float(margin), 1e-3)
