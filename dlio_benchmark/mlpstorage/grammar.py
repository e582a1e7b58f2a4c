"""The command line: programs, commands and options, as tables that argparse reads."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from dlio_benchmark import __version__
from dlio_benchmark.mlpstorage.models import ACCELERATORS, MODELS, OFFERED_CODECS, OFFERED_FORMATS
from dlio_benchmark.mlpstorage.status import Status

Option = tuple[tuple[str, ...], Mapping[str, Any]]


def _option(*names: str, **settings: Any) -> Option:
    return names, MappingProxyType(settings)


def _flag(*names: str, **settings: Any) -> Option:
    return _option(*names, action="store_true", **settings)


def positive(text: str) -> int:
    """Return ``text`` as an int of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def amount(text: str) -> int | float:
    """Return ``text`` as a finite number above 0, as an int if it is written as one."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return int(text) if text.isdecimal() else number


_RESULTS = (
    _option(
        "--results-dir",
        "-rd",
        metavar="DIR",
        default=str(Path(tempfile.gettempdir()) / "mlperf_storage_results"),
        help="root of the results tree (default: %(default)s)",
    ),
    _option(
        "--config-file",
        "-c",
        metavar="FILE",
        help="YAML file of option values; they win over those on the command line",
    ),
    _flag("--debug", help="show the traceback of an error"),
)
_REPEATED = (
    _option(
        "--loops", type=positive, default=1, metavar="N", help="repeat the command, each time in a folder of its own"
    ),
    _flag("--quiet", help="do not say what will be launched and how the rules judge it"),
)
_CHECKED = (
    _flag("--allow-invalid-params", "-aip", help="with --closed: run although the rules are not met"),
    _flag("--skip-validation", help="launch without checking launcher, engine and folders first"),
    _flag("--what-if", "--dry-run", help="print the command and write its metadata, run nothing"),
)
_ACCEPTED = (
    _flag("--verbose", help="everything is shown anyway"),
    _option("--stream-log-level", default="INFO", metavar="LEVEL", help="everything is shown; see --quiet"),
    _option("--verify-lockfile", metavar="FILE", help="nothing is verified"),
)
UNIVERSAL = (*_RESULTS, *_REPEATED, *_CHECKED, *_ACCEPTED)

_WORKLOAD = (
    _option("--model", "-m", choices=MODELS, required=True, metavar="MODEL", help="one of %(choices)s"),
    _option("--data-dir", "-dd", metavar="DIR", help="folder of the data sets; the one of the model is in DIR/MODEL"),
    _option(
        "--params",
        "--param",
        "-p",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="overrides of the workload, as dotted keys; may be repeated",
    ),
    _option(
        "--dataset-format",
        type=str.lower,
        choices=OFFERED_FORMATS,
        metavar="FORMAT",
        help="%(choices)s; run takes it from the generated data set when it is not given",
    ),
    _option(
        "--compression",
        type=str.lower,
        choices=OFFERED_CODECS,
        metavar="CODEC",
        help="one of %(choices)s; run takes it from the generated data set when it is not given",
    ),
)
_LAUNCH = (
    _option("--hosts", "-s", nargs="+", default=["127.0.0.1"], metavar="HOST[:SLOTS]", help="hosts of the ranks"),
    _option("--exec-type", "-et", choices=("mpi", "docker"), default="mpi", help="docker: no launcher, one process"),
    _option("--mpi-bin", choices=("mpirun", "mpiexec"), default="mpirun", help="which launcher (default: mpirun)"),
    _option(
        "--mpi-params", nargs="+", action="extend", default=[], metavar="TEXT", help="passed to the launcher verbatim"
    ),
    _option("--dlio-bin-path", "-dp", metavar="DIR", help="folder that holds the engine, dlio_benchmark"),
)
_DETECTED = (
    _flag("--file", help="files are the only storage"),
    _flag("--oversubscribe", help="detected: launchers that must be asked are asked"),
    _flag("--allow-run-as-root", help="detected, too"),
)
WORKLOAD = (*_WORKLOAD, *_LAUNCH, *_DETECTED)

_MAX_ACCELERATORS = _option(
    "--max-accelerators", "-ma", type=positive, required=True, metavar="N", help="accelerators of the largest run"
)
_NUM_PROCESSES = _option(
    "--num-processes", "-np", type=positive, required=True, metavar="N", help="ranks that generate"
)
_NUM_ACCELERATORS = _option(
    "--num-accelerators", "-na", type=positive, required=True, metavar="N", help="emulated accelerators, one per rank"
)
_ACCELERATOR = _option(
    "--accelerator-type",
    "-g",
    "-at",
    choices=ACCELERATORS,
    required=True,
    metavar="TYPE",
    help="whose timings apply: one of %(choices)s",
)
_CLIENT_HOSTS = _option(
    "--num-client-hosts", "-nc", type=positive, metavar="N", help="client hosts (default: number of --hosts)"
)
_CHECKPOINT = _option("--checkpoint-folder", "-cf", metavar="DIR", help="training saves no checkpoints")


def _memory(*, required: bool) -> Option:
    return _option(
        "--client-host-memory-in-gb",
        "-cm",
        type=amount,
        required=required,
        metavar="GIB",
        help="memory of one client host in GiB",
    )


_TIMESERIES = (
    _option(
        "--timeseries-interval",
        type=amount,
        default=10.0,
        metavar="SECONDS",
        help="time between samples of the host's counters (default: %(default)g)",
    ),
    _flag("--skip-timeseries", help="take no samples"),
    _option(
        "--max-timeseries-samples", type=positive, default=3600, metavar="N", help="most samples to keep (%(default)s)"
    ),
)

TRAINING: Mapping[str, tuple[str, tuple[Option, ...]]] = MappingProxyType(
    {
        "datasize": (
            "say how much data a run needs",
            (_MAX_ACCELERATORS, _ACCELERATOR, _memory(required=True), _CLIENT_HOSTS, _CHECKPOINT),
        ),
        "datagen": ("generate the data set", (_NUM_PROCESSES,)),
        "run": (
            "train on the generated data set",
            (_NUM_ACCELERATORS, _ACCELERATOR, _memory(required=True), _CLIENT_HOSTS, _CHECKPOINT, *_TIMESERIES),
        ),
        "configview": (
            "print the workload that run would use",
            (_NUM_ACCELERATORS, _ACCELERATOR, _memory(required=False), _CLIENT_HOSTS),
        ),
    }
)

REPORTS: Mapping[str, tuple[str, tuple[Option, ...]]] = MappingProxyType(
    {
        "reportgen": (
            "judge all results and write results.json and results.csv",
            (_option("--output-dir", metavar="DIR", help="where to write the reports (default: the results folder)"),),
        )
    }
)

HISTORY: Mapping[str, tuple[str, tuple[Option, ...]]] = MappingProxyType(
    {
        "show": (
            "list past commands",
            (
                _option("--limit", "-n", type=positive, metavar="N", help="only the last so many"),
                _option("--id", "-i", type=positive, metavar="ID", help="only the command with this id"),
            ),
        ),
        "rerun": ("run a past command again", (_option("id", type=positive, help="id of the command"),)),
    }
)

_PROGRAMS: Mapping[str, tuple[str, Mapping[str, tuple[str, tuple[Option, ...]]], tuple[Option, ...]]] = {
    "training": ("size, generate and train on a data set", TRAINING, WORKLOAD),
    "reports": ("judge the results", REPORTS, ()),
    "history": ("list past commands, or run one again", HISTORY, ()),
}
# Under which heading help shows an option; one that is not here is the command's own.
_HEADINGS: Mapping[str, tuple[Option, ...]] = {
    "workload": _WORKLOAD,
    "launch": (*_LAUNCH, *_CHECKED[1:]),
    "results": (*_RESULTS, *_REPEATED, _CHECKED[0]),
    "accepted for compatibility, without effect": (*_DETECTED, _CHECKPOINT, *_ACCEPTED),
}
_EXAMPLES = """\
the way through:
  mlpstorage training datasize --model unet3d --max-accelerators 8 --accelerator-type h100 --client-host-memory-in-gb 64
  mlpstorage training datagen --model unet3d --num-processes 2 --data-dir DATA --results-dir RESULTS --compression zstd
  mlpstorage training run --model unet3d --num-accelerators 1 --accelerator-type h100 --client-host-memory-in-gb 64 \\
      --data-dir DATA --results-dir RESULTS
  mlpstorage reports reportgen --results-dir RESULTS
"""


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and where help is."""

    def error(self, message: str) -> NoReturn:
        """End the process with the status of wrong usage."""
        self.exit(Status.ARGUMENTS, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the whole command line, and those of the programs by name."""
    root = Parser(
        prog="mlpstorage",
        description="Size, generate, run and report storage benchmarks.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"mlpstorage {__version__}")
    programs = root.add_subparsers(dest="program", metavar="PROGRAM", required=True)
    by_name: dict[str, argparse.ArgumentParser] = {}
    for program, (help_text, commands, shared) in _PROGRAMS.items():
        by_name[program] = programs.add_parser(program, help=help_text, description=help_text)
        leaves = by_name[program].add_subparsers(dest="command", metavar="COMMAND", required=True)
        for command, (command_help, options) in commands.items():
            usage = " ".join(["mlpstorage", program, command, *_needed((*options, *shared)), "[OPTION ...]"])
            leaf = leaves.add_parser(command, help=command_help, description=command_help, usage=usage)
            _add(leaf, (*options, *shared, *UNIVERSAL), launches=bool(shared))
    return root, by_name


def _needed(options: Sequence[Option]) -> list[str]:
    """Return the options that must be given, and the words of those that have no name."""
    named = [f"{names[0]} {settings['metavar']}" for names, settings in options if settings.get("required")]
    return [*named, *(names[0].upper() for names, _ in options if not names[0].startswith("-"))]


def _add(leaf: argparse.ArgumentParser, options: Sequence[Option], *, launches: bool) -> None:
    """Add ``options`` and the closed/open pair, each under its heading; help hides what only a launch heeds."""
    groups = {heading: leaf.add_argument_group(heading) for heading in _HEADINGS}
    own: argparse._ActionsContainer = leaf
    for option in options:
        names, settings = option
        heading = next((heading for heading, members in _HEADINGS.items() if option in members), None)
        shown = launches or heading is None or option in _RESULTS
        settings = settings if shown else {**settings, "help": argparse.SUPPRESS}
        (groups[heading] if heading else own).add_argument(*names, **settings)
    division = groups["results"].add_mutually_exclusive_group()
    for name, value, text in (
        ("--closed", True, "refuse what a closed result forbids"),
        ("--open", False, "say what the rules forbid, and run (default)"),
    ):
        division.add_argument(
            name,
            dest="closed",
            action="store_const",
            const=value,
            default=False,
            help=text if launches else argparse.SUPPRESS,
        )


def incomplete(argv: Sequence[str]) -> str | None:
    """Return the help text of the level at which ``argv`` stops short of a command, or None if it goes on."""
    root, programs = parsers()
    level = {0: root, 1: programs.get(argv[0]) if argv else None}.get(len(argv))
    return level.format_help() if level else None


def option_names(program: str, command: str) -> set[str]:
    """Return the names of the options of a command as attributes of its namespace."""
    if program not in _PROGRAMS:
        return set()
    _, commands, shared = _PROGRAMS[program]
    _, options = commands.get(command, ("", ()))
    names = {names[0].removeprefix("--").replace("-", "_") for names, _ in (*options, *shared, *UNIVERSAL)}
    return names | {"closed"}


def in_order(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` with the newer order ``training MODEL COMMAND [file]`` turned into ``training COMMAND --model``.

    A value of ``--mpi-params`` that starts with a dash is joined to its option, which argparse demands.
    """
    words = list(argv)
    if len(words) > 2 and words[0] == "training" and words[1] in MODELS and words[2] in TRAINING:
        rest = words[4:] if words[3:4] == ["file"] else words[3:]
        words = ["training", words[2], "--model", words[1], *rest]
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--mpi-params" and word.startswith("-"):
            joined[-1] = f"--mpi-params={word}"
        else:
            joined.append(word)
    return joined
