"""The command line: programs, commands and options, as tables that argparse reads."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dlio_benchmark import __version__
from dlio_benchmark.mlpstorage.models import ACCELERATORS, MODELS, OFFERED_CODECS, OFFERED_FORMATS

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


UNIVERSAL = (
    _option(
        "--results-dir",
        "-rd",
        default=str(Path(tempfile.gettempdir()) / "mlperf_storage_results"),
        help="root of the results tree (default: %(default)s)",
    ),
    _option("--loops", type=positive, default=1, help="how often to repeat the command, each in a folder of its own"),
    _option("--config-file", "-c", help="YAML file of option values; they win over the command line"),
    _flag("--debug", help="show the traceback of an error"),
    _flag("--verbose", help="more messages"),
    _flag("--quiet", help="only results and errors"),
    _option("--stream-log-level", default="INFO", help="level of the messages on the terminal"),
    _flag("--allow-invalid-params", "-aip", help="with --closed: run although the rules are not met"),
    _flag("--what-if", "--dry-run", help="print the command and write its metadata, run nothing"),
    _option("--verify-lockfile", metavar="PATH", help="accepted for compatibility; nothing is verified"),
    _flag("--skip-validation", help="launch without checking launcher, engine and folders first"),
)

WORKLOAD = (
    _option("--model", "-m", choices=MODELS, required=True, help="the workload's model"),
    _option("--hosts", "-s", nargs="+", default=["127.0.0.1"], metavar="HOST[:SLOTS]", help="hosts of the ranks"),
    _option("--data-dir", "-dd", help="folder of the data sets; a folder named like the model is used in it"),
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
    _option("--dlio-bin-path", "-dp", metavar="DIR", help="folder that holds dlio_benchmark"),
    _option(
        "--dataset-format",
        type=str.lower,
        choices=OFFERED_FORMATS,
        help="file format; run takes it from the generated data set when it is not given",
    ),
    _option(
        "--compression",
        type=str.lower,
        choices=OFFERED_CODECS,
        help="codec of the files; run takes it from the generated data set when it is not given",
    ),
    _flag("--file", help="accepted for compatibility: files are the only storage"),
    _flag("--oversubscribe", help="more ranks than cores (for launchers that ask for it)"),
    _flag("--allow-run-as-root", help="run as root (for launchers that ask for it; detected)"),
    _option("--exec-type", "-et", choices=("mpi", "docker"), default="mpi", help="docker: no launcher, one process"),
    _option("--mpi-bin", choices=("mpirun", "mpiexec"), default="mpirun", help="which launcher"),
    _option(
        "--mpi-params", nargs="+", action="extend", default=[], metavar="TEXT", help="passed to the launcher verbatim"
    ),
)

_MAX_ACCELERATORS = _option("--max-accelerators", "-ma", type=positive, required=True, help="largest run planned")
_NUM_PROCESSES = _option("--num-processes", "-np", type=positive, required=True, help="ranks that generate")
_NUM_ACCELERATORS = _option("--num-accelerators", "-na", type=positive, required=True, help="emulated accelerators")
_ACCELERATOR = _option(
    "--accelerator-type", "-g", "-at", choices=ACCELERATORS, required=True, help="which accelerator's timings"
)
_CLIENT_HOSTS = _option("--num-client-hosts", "-nc", type=positive, help="client hosts (default: number of --hosts)")
_CHECKPOINT = _option("--checkpoint-folder", "-cf", help="accepted for compatibility; training saves no checkpoints")


def _memory(*, required: bool) -> Option:
    return _option(
        "--client-host-memory-in-gb", "-cm", type=amount, required=required, help="memory of one client host in GiB"
    )


_TIMESERIES = (
    _option("--timeseries-interval", type=amount, default=10.0, help="seconds between samples of the host's counters"),
    _flag("--skip-timeseries", help="take no samples"),
    _option("--max-timeseries-samples", type=positive, default=3600, help="most samples to keep"),
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
            (_option("--output-dir", help="where to write the reports (default: the results folder)"),),
        )
    }
)

HISTORY: Mapping[str, tuple[str, tuple[Option, ...]]] = MappingProxyType(
    {
        "show": (
            "list past commands",
            (
                _option("--limit", "-n", type=positive, help="only the last so many"),
                _option("--id", "-i", type=positive, help="only the command with this id"),
            ),
        ),
        "rerun": ("run a past command again", (_option("id", type=positive, help="id of the command"),)),
    }
)

_PROGRAMS: Mapping[str, tuple[str, Mapping[str, tuple[str, tuple[Option, ...]]], tuple[Option, ...]]] = {
    "training": ("emulate training on a generated data set", TRAINING, WORKLOAD),
    "reports": ("reports over the results tree", REPORTS, ()),
    "history": ("past commands", HISTORY, ()),
}


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the whole command line, and those of the programs by name."""
    root = argparse.ArgumentParser(prog="mlpstorage", description="Size, generate, run and report storage benchmarks.")
    root.add_argument("--version", action="version", version=f"mlpstorage {__version__}")
    programs = root.add_subparsers(dest="program", metavar="PROGRAM", required=True)
    by_name: dict[str, argparse.ArgumentParser] = {}
    for program, (help_text, commands, shared) in _PROGRAMS.items():
        by_name[program] = programs.add_parser(program, help=help_text, description=help_text)
        leaves = by_name[program].add_subparsers(dest="command", metavar="COMMAND", required=True)
        for command, (command_help, options) in commands.items():
            leaf = leaves.add_parser(command, help=command_help, description=command_help)
            _add(leaf, (*options, *shared, *UNIVERSAL))
    return root, by_name


def _add(leaf: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Add ``options`` and the closed/open pair to the parser of one command."""
    for names, settings in options:
        leaf.add_argument(*names, **settings)
    division = leaf.add_mutually_exclusive_group()
    division.add_argument("--closed", action="store_true", default=False, help="refuse what a closed result forbids")
    division.add_argument("--open", dest="closed", action="store_false", help="the default: warn and run")


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
