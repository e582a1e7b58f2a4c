"""The console script ``dlio_postprocessor``: from a run's result files to a report for people.

Reads ``summary.json``, ``{rank}_output.json`` and ``{rank}_per_epoch_stats.json``; writes a text report to standard
output and, where the extra ``report`` is installed, one self-contained page ``report.html``.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dlio_benchmark.errors import DataMissingError, DlioError, Exit

MIB = 2**20
# Keys of the result's block of proof that scale steps to samples and bytes.
_SCALES = ("record_bytes", "batch_size", "batch_size_eval")


class Verdict(StrEnum):
    """What the files of a run are worth as a result."""

    VALID = "VALID"
    INVALID = "INVALID"
    UNPROVEN = "UNPROVEN"
    INCOMPLETE = "INCOMPLETE"


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution in seven numbers."""

    mean: float
    std: float
    least: float
    median: float
    p90: float
    p99: float
    most: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Return the spread of ``values``; zeros if there are none."""
        if not values:
            return Spread(*[0.0] * 7)
        ranked = sorted(values)
        return Spread(
            statistics.fmean(ranked),
            statistics.pstdev(ranked),
            ranked[0],
            statistics.median(ranked),
            _quantile(ranked, 0.90),
            _quantile(ranked, 0.99),
            ranked[-1],
        )

    def texts(self) -> dict[str, str]:
        """Return the numbers with two decimals, under the names that callers know."""
        names = ("mean", "std", "min", "median", "p90", "p99", "max")
        values = (self.mean, self.std, self.least, self.median, self.p90, self.p99, self.most)
        return {name: f"{value:.2f}" for name, value in zip(names, values, strict=True)}


def _quantile(ranked: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the ranked values lie, interpolated."""
    at = share * (len(ranked) - 1)
    low = int(at)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (at - low)


@dataclass(slots=True)
class Steps:
    """Times of the steps of one kind over all ranks and epochs, in seconds."""

    load: list[float] = field(default_factory=list)
    proc: list[float] = field(default_factory=list)


class DLIOPostProcessor:
    """Digests the result files of a run.

    Args:
        args: needs ``output_folder``; ``batch_size``, ``batch_size_eval`` and ``record_size`` (bytes) scale the rates,
            and ``do_eval`` counts evaluation steps, too.
    """

    def __init__(self, args: Any) -> None:
        self.output_folder: str = args.output_folder
        self.batch_size = int(getattr(args, "batch_size", 1) or 1)
        self.batch_size_eval = int(getattr(args, "batch_size_eval", 1) or 1)
        self.do_eval = bool(getattr(args, "do_eval", False))
        self.record_size = float(getattr(args, "record_size", 0) or 0)
        self.overall_stats: dict[str, Any] = {}
        self.outputs = [_parsed(path) for path in _rank_files(self.output_folder)]
        if not self.outputs:
            msg = f"{self.output_folder}: no result of a run: no file named RANK_output.json"
            raise DataMissingError(msg)

    def steps(self, kind: str) -> Steps:
        """Return the times of all steps of ``kind`` (``block`` for training, ``eval``)."""
        out = Steps()
        for _, epoch in self.epochs():
            for name in epoch["load"]:
                if name.startswith(kind):
                    out.load += epoch["load"][name]
                    out.proc += epoch["proc"][name]
        return out

    def epochs(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield (number, content) of every epoch of every rank."""
        for output in self.outputs:
            yield from ((int(name), epoch) for name, epoch in output.items() if name.isdigit())

    def process_loading_and_processing_times(self) -> None:
        """Fill ``overall_stats``: rates and times over all ranks and epochs, with two decimals."""
        rates: list[float] = []
        times = Steps()
        kinds = (("block", self.batch_size), ("eval", self.batch_size_eval))
        for kind, batch in kinds if self.do_eval else kinds[:1]:
            steps = self.steps(kind)
            rates += [batch / seconds for seconds in steps.proc if seconds > 0]
            times.load += steps.load
            times.proc += steps.proc
        self.overall_stats = {
            "samples/s": Spread.of(rates).texts(),
            "MB/s": Spread.of([rate * self.record_size / MIB for rate in rates]).texts(),
            "avg_process_loading_time": f"{sum(times.load) / len(self.outputs):.2f}",
            "avg_process_processing_time": f"{sum(times.proc) / len(self.outputs):.2f}",
        }

    def text(self) -> str:
        """Return the report as text: the verdict first, then a table."""
        self.process_loading_and_processing_times()
        summary = self.summary()
        lines = [_headline(self.verdict, summary), ""]
        rows = [(name, *texts.values()) for name, texts in self.spreads().items()]
        header = ("", *self.overall_stats["samples/s"])
        lines += [_row(header), _row(("-" * 24, *["-" * 9] * 7)), *map(_row, rows), ""]
        lines += [_epoch_line(one) for one in summary.get("dlio", {}).get("epochs", [])]
        return "\n".join(lines) + "\n"

    def spreads(self) -> Mapping[str, Mapping[str, str]]:
        """Return rates and times per rank, by what they are; rates after they were processed."""
        training = self.steps("block")
        return {
            "samples/s per rank": self.overall_stats["samples/s"],
            "MiB/s per rank, nominal": self.overall_stats["MB/s"],
            "batch wait, ms": _milliseconds(training.load),
            "batch wait + compute, ms": _milliseconds(training.proc),
        }

    @property
    def verdict(self) -> Verdict:
        """What the result is worth."""
        summary = self.summary()
        if not summary:
            return Verdict.INCOMPLETE
        if "dlio" not in summary:
            return Verdict.UNPROVEN
        return Verdict.VALID if summary["dlio"].get("valid") else Verdict.INVALID

    def summary(self) -> Mapping[str, Any]:
        """Return summary.json, or nothing if the run did not write it."""
        return _summary(self.output_folder)


def _milliseconds(seconds: Sequence[float]) -> Mapping[str, str]:
    return Spread.of([1e3 * one for one in seconds]).texts()


def _row(cells: Sequence[str]) -> str:
    return "  ".join([f"{cells[0]:<24}", *(f"{cell:>9}" for cell in cells[1:])])


def _headline(verdict: Verdict, summary: Mapping[str, Any]) -> str:
    if verdict is Verdict.INCOMPLETE:
        return f"{verdict}: there is no summary.json; the run did not reach its end"
    proof, metric = summary.get("dlio", {}), summary["metric"]
    reasons = {
        Verdict.INVALID: ": " + "; ".join(proof.get("problems", [])),
        Verdict.UNPROVEN: ": the result is of another version and has no proof in it",
    }
    text = f"{verdict}{reasons.get(verdict, '')} on {summary['num_accelerators']} accelerator(s)"
    if "train_au_mean_percentage" not in metric:
        return text
    met = "as expected" if metric["train_au_meet_expectation"] == "success" else "below the expectation"
    bound = f", {proof['verdict']}" if proof.get("verdict") else ""
    return f"{text}, AU {metric['train_au_mean_percentage']:.2f} % ({met}){bound}"


def _epoch_line(one: Mapping[str, Any]) -> str:
    work = f"{one['steps']} steps, {one['rows']} rows, {one['row_groups']} row groups"
    read = f"{one['bytes_read']} bytes read of {one['bytes_promised']} promised"
    rate = f"{one['measured_MiB_per_second']:.1f} MiB/s, cache {one['cache_before']}"
    return f"epoch {one['epoch']} {one['split']}: {work}, {read}, {rate}"


def _rank_files(folder: str) -> list[str]:
    found = glob.glob(os.path.join(glob.escape(folder), "*_output.json"))
    ranked = [path for path in found if os.path.basename(path).split("_")[0].isdigit()]
    return sorted(ranked, key=lambda path: int(os.path.basename(path).split("_")[0]))


def _summary(folder: str) -> Mapping[str, Any]:
    path = os.path.join(folder, "summary.json")
    return _parsed(path) if os.path.exists(path) else {}


def _parsed(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _truth(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on", "y", "t")


def parser() -> argparse.ArgumentParser:
    """Return the command line of the postprocessor."""
    what = "Report on a run: the verdict, rates and times as text, and a page with plots beside the results."
    codes = (
        "exit codes: 0 the result is not in doubt; 66 there is none; 69 it is invalid, or the run did not reach its end"
    )
    out = argparse.ArgumentParser("dlio_postprocessor", description=what, epilog=codes)
    for names, settings in _OPTIONS:
        out.add_argument(*names, **settings)
    return out


def _option(short: str, name: str, metavar: str, default: Any, text: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    kind = _truth if isinstance(default, bool) else type(default)
    return (short, name), {"type": kind, "default": default, "metavar": metavar, "help": text}


_OPTIONS = (
    _option("-of", "--output-folder", "DIR", "./output", "folder with the result files of a run (default: ./output)"),
    _option("-hf", "--hydra-folder", "DIR", "./.hydra", "folder with the run's config.yaml (or .hydra beside them)"),
    _option("-bs", "--batch-size", "ROWS", 0, "rows per step (default: as the run was configured)"),
    _option("-bse", "--batch-size-eval", "ROWS", 0, "rows per evaluation step (default: as configured)"),
    _option("-de", "--do-eval", "BOOL", False, "count evaluation in the rates, too (default: false)"),
    _option("-n", "--name", "TEXT", "dlio", "name of the run, for headings"),
    (("--html",), {"default": "report.html", "metavar": "FILE", "help": "name of the page; empty for none"}),
    _option("-np", "--num-proc", "N", 1, "accepted; ranks are counted from the files"),
    _option("-e", "--epochs", "N", 1, "accepted; epochs are counted from the files"),
    _option("-c", "--do-checkpoint", "BOOL", False, "accepted; without effect"),
    _option("-d", "--debug", "BOOL", False, "accepted; without effect"),
)


def run(argv: Sequence[str]) -> int:
    """Report on a run and return the exit status, which is that of a result that proves nothing if it is one."""
    args = parser().parse_args(argv)
    try:
        _complete(args)
        processor = DLIOPostProcessor(args)
        text = processor.text()
        text += _page_line(processor, args) if args.html else ""
        print(text, end="")  # at once, so that a reader of the first lines ends nothing half-way
    except DlioError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.code)
    return Exit.OK if processor.verdict in (Verdict.VALID, Verdict.UNPROVEN) else Exit.NOT_MET


def _complete(args: argparse.Namespace) -> None:
    """Take what the command line leaves open from the result, which knows what the run came to."""
    scales = {name: one for name, one in _summary(args.output_folder).get("dlio", {}).items() if name in _SCALES}
    if len(scales) < len(_SCALES):
        scales = _recorded(args) | scales
    if not scales:
        return
    args.batch_size = args.batch_size or scales["batch_size"]
    args.batch_size_eval = args.batch_size_eval or scales["batch_size_eval"]
    args.record_size = scales["record_bytes"]


def _recorded(args: argparse.Namespace) -> dict[str, Any]:
    """Return what scales the rates of a result that does not say it, from the run's own configuration if it is there.

    That is what was asked for, and does not have what the run took from its data set.
    """
    from dlio_benchmark.config.columns import nominal_row_bytes  # noqa: PLC0415 - keeps --help instant
    from dlio_benchmark.config.decode import decode  # noqa: PLC0415
    from dlio_benchmark.config.files import read_record  # noqa: PLC0415

    tree = read_record(_config_path(args))
    if tree is None:
        return {}
    workload = decode(tree).workload
    values = (nominal_row_bytes(workload.dataset), workload.reader.batch_size, workload.reader.batch_size_eval)
    return dict(zip(_SCALES, values, strict=True))


def _config_path(args: argparse.Namespace) -> str:
    for folder in (args.hydra_folder, *(os.path.join(args.output_folder, name) for name in (".hydra", "dlio_config"))):
        if os.path.exists(os.path.join(folder, "config.yaml")):
            return os.path.join(folder, "config.yaml")
    return ""


def _page_line(processor: DLIOPostProcessor, args: argparse.Namespace) -> str:
    """Write the page and return the line that names it; nothing where the extra for pages is not installed."""
    try:
        from dlio_benchmark.report.page import write_page  # noqa: PLC0415 - needs the extra report
    except ImportError:
        print("no page: install the extra with pip install 'dlio_benchmark[report]'", file=sys.stderr)
        return ""
    return f"page: {write_page(processor, args.name, args.html)}\n"


def main() -> None:
    """Report on a run with the arguments of this process, and end the process."""
    sys.exit(int(run(sys.argv[1:])))


console = main

if __name__ == "__main__":
    main()
