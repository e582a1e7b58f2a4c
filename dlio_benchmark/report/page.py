"""A run as one self-contained page: the verdict, the table of epochs, and plots of where the time went."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jinja2
import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from dlio_benchmark.postprocessor import DLIOPostProcessor

_COLOURS = {"compute": "#2e7d32", "wait": "#c62828", "barrier": "#f9a825", "other": "#90a4ae"}


def write_page(processor: DLIOPostProcessor, name: str, file_name: str) -> str:
    """Write the page beside the result files and return its path."""
    summary = processor.summary()
    epochs = summary.get("dlio", {}).get("epochs", [])
    environment = jinja2.Environment(loader=jinja2.PackageLoader("dlio_benchmark.report"), autoescape=True)
    environment.filters.update(si=_si, second=_second)
    text = environment.get_template("run.html.j2").render(
        name=name,
        verdict=str(processor.verdict),
        summary=summary,
        proof=summary.get("dlio", {}),
        metric=summary.get("metric", {}),
        epochs=epochs,
        spreads=processor.spreads(),
        waits=_svg(lambda figure: _plot_waits(figure, processor.steps("block").load), "Batch waits"),
        shares=_svg(lambda figure: _plot_shares(figure, epochs), "Where the time went") if epochs else "",
    )
    path = os.path.join(processor.output_folder, file_name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _si(value: float) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.0f} B"


def _second(stamp: str) -> str:
    """Return a time stamp without what is finer than a second."""
    return stamp.replace("T", " ").partition(".")[0]


def _svg(draw: Callable[[Figure], None], title: str) -> str:
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dlio", "font.size": 10}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Title": title, "Date": None})
    return out.getvalue().partition("<svg")[1] + out.getvalue().partition("<svg")[2]


def _plot_shares(figure: Figure, epochs: Sequence[Mapping[str, Any]]) -> None:
    axes = figure.subplots()
    names = [f"{one['epoch']} {one['split']}" for one in epochs]
    left = [0.0] * len(epochs)
    for kind in ("compute", "wait", "barrier"):
        widths = [one[f"{kind}_seconds"] for one in epochs]
        axes.barh(names, widths, left=left, color=_COLOURS[kind], label=kind)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("seconds, summed over ranks")
    axes.set_title("Time of each epoch")
    figure.legend(loc="outside lower right", ncols=3, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _plot_waits(figure: Figure, waits: Sequence[float]) -> None:
    axes = figure.subplots()
    ranked = sorted(1e3 * one for one in waits)
    share = [100 * (n + 1) / len(ranked) for n in range(len(ranked))]
    axes.plot(ranked, share, color="#1565c0")
    if ranked and ranked[-1] > 0:
        axes.set_xscale("log")
    axes.set_xlabel("wait for a batch, ms")
    axes.set_ylabel("% of steps")
    axes.set_title("Share of training steps that waited at most so long")
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
