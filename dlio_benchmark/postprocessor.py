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
from typing import Any

from dlio_benchmark.errors import DataMissingError, DlioError, Exit

MIB = 2**20


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
        lines = [_headline(summary), ""]
        header = ("", "mean", "std", "min", "median", "p90", "p99", "max")
        rows = [
            ("samples/s per rank", *self.overall_stats["samples/s"].values()),
            ("MiB/s per rank, nominal", *self.overall_stats["MB/s"].values()),
            ("batch wait, ms", *_milliseconds(self.steps("block").load)),
            ("batch wait + compute, ms", *_milliseconds(self.steps("block").proc)),
        ]
        lines += [_row(header), _row(("-" * 24, *["-" * 9] * 7)), *map(_row, rows), ""]
        lines += [_epoch_line(one) for one in summary.get("dlio", {}).get("epochs", [])]
        return "\n".join(lines) + "\n"

    def summary(self) -> Mapping[str, Any]:
        """Return summary.json, or nothing if the run did not write it."""
        path = os.path.join(self.output_folder, "summary.json")
        return _parsed(path) if os.path.exists(path) else {}


def _milliseconds(seconds: Sequence[float]) -> Iterator[str]:
    yield from Spread.of([1e3 * one for one in seconds]).texts().values()


def _row(cells: Sequence[str]) -> str:
    return "  ".join([f"{cells[0]:<24}", *(f"{cell:>9}" for cell in cells[1:])])


def _headline(summary: Mapping[str, Any]) -> str:
    if not summary:
        return "INCOMPLETE: there is no summary.json; the run did not reach its end"
    proof, metric = summary.get("dlio", {}), summary["metric"]
    word = "VALID" if proof.get("valid", True) else "INVALID: " + "; ".join(proof.get("problems", []))
    au = metric.get("train_au_mean_percentage")
    met = metric.get("train_au_meet_expectation", "")
    text = f"{word} on {summary['num_accelerators']} accelerators"
    return text + (f", AU {au:.2f} % ({met}), {proof.get('verdict', '')}" if au is not None else "")


def _epoch_line(one: Mapping[str, Any]) -> str:
    work = f"{one['steps']} steps, {one['rows']} rows, {one['row_groups']} row groups"
    read = f"{one['bytes_read']} bytes read of {one['bytes_promised']} promised"
    rate = f"{one['measured_MiB_per_second']:.1f} MiB/s, cache {one['cache_before']}"
    return f"epoch {one['epoch']} {one['split']}: {work}, {read}, {rate}"


def _rank_files(folder: str) -> list[str]:
    found = glob.glob(os.path.join(glob.escape(folder), "*_output.json"))
    ranked = [path for path in found if os.path.basename(path).split("_")[0].isdigit()]
    return sorted(ranked, key=lambda path: int(os.path.basename(path).split("_")[0]))


def _parsed(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _truth(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on", "y", "t")


def parser() -> argparse.ArgumentParser:
    """Return the command line of the postprocessor."""
    out = argparse.ArgumentParser("dlio_postprocessor", description=__doc__)
    out.add_argument("-of", "--output-folder", default="./output", help="folder with the result files of a run")
    out.add_argument("-hf", "--hydra-folder", default="./.hydra", help="folder with the run's config.yaml")
    out.add_argument("-np", "--num-proc", type=int, default=1, help="ranks of the run; counted from the files")
    out.add_argument("-e", "--epochs", type=int, default=1, help="epochs of the run; counted from the files")
    out.add_argument("-bs", "--batch-size", type=int, default=0, help="rows per step; 0 takes the configured ones")
    out.add_argument("-de", "--do-eval", type=_truth, default=False, help="count evaluation in the rates, too")
    out.add_argument("-bse", "--batch-size-eval", type=int, default=0, help="rows per evaluation step")
    out.add_argument("-c", "--do-checkpoint", type=_truth, default=False, help="accepted; without effect")
    out.add_argument("-d", "--debug", type=_truth, default=False, help="accepted; without effect")
    out.add_argument("-n", "--name", default="dlio", help="name of the run, for headings")
    out.add_argument("--html", default="report.html", help="name of the page; empty for none")
    return out


def run(argv: Sequence[str]) -> int:
    """Report on a run and return the exit status."""
    args = parser().parse_args(argv)
    try:
        _complete(args)
        processor = DLIOPostProcessor(args)
        print(processor.text(), end="")
        if args.html:
            _write_page(processor, args)
    except DlioError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.code)
    return Exit.OK


def _complete(args: argparse.Namespace) -> None:
    """Take what the command line leaves open from the run's own configuration, if it is there."""
    from dlio_benchmark.config.columns import nominal_row_bytes  # noqa: PLC0415 - keeps --help instant
    from dlio_benchmark.config.decode import decode  # noqa: PLC0415
    from dlio_benchmark.config.files import read_record  # noqa: PLC0415

    tree = read_record(_config_path(args))
    if tree is None:
        return
    workload = decode(tree).workload
    args.batch_size = args.batch_size or workload.reader.batch_size
    args.batch_size_eval = args.batch_size_eval or workload.reader.batch_size_eval
    args.record_size = nominal_row_bytes(workload.dataset)


def _config_path(args: argparse.Namespace) -> str:
    for folder in (args.hydra_folder, *(os.path.join(args.output_folder, name) for name in (".hydra", "dlio_config"))):
        if os.path.exists(os.path.join(folder, "config.yaml")):
            return os.path.join(folder, "config.yaml")
    return ""


def _write_page(processor: DLIOPostProcessor, args: argparse.Namespace) -> None:
    try:
        from dlio_benchmark.report.page import write_page  # noqa: PLC0415 - needs the extra report
    except ImportError:
        print("no page: install the extra with pip install 'dlio_benchmark[report]'", file=sys.stderr)
        return
    print(f"page: {write_page(processor, args.name, args.html)}")


def main() -> None:
    """Report on a run with the arguments of this process, and end the process."""
    sys.exit(int(run(sys.argv[1:])))


console = main

if __name__ == "__main__":
    main()
