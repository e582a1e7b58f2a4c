"""The command line of ``dlio_benchmark``: its grammar, and what it tells without a run; nothing heavy is imported."""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlio_benchmark import __version__
from dlio_benchmark.errors import UsageError

USAGE = """\
dlio_benchmark: measures storage under the I/O of deep-learning training

usage: dlio_benchmark [verify] [workload=NAME] [++workload.KEY=VALUE ...] [options]

  workload=NAME            a workload file, NAME.yaml (default: default)
  ++workload.KEY=VALUE     set a key; ~workload.KEY removes one
  ++hydra.run.dir=DIR      where results go (default: ./hydra_log/MODEL/TIME)
  verify                   check a generated data set against its manifest and against its values

options:
  --config-dir DIR, -cd    a folder with workload/NAME.yaml; its files win over the shipped ones
  --strict                 unknown keys in files are errors, too
  --deadline SECONDS       end the run when no rank has moved for so long (default: 300; 0: never)
  --cfg job                print the composed configuration and stop
  --keys                   list every key with its default and meaning
  --version                print the version
  --help, -h               print this

Start several ranks with a launcher: mpirun -n 4 dlio_benchmark workload=NAME ...
Exit codes: 0 done and proven, 2 usage, 78 configuration; the others are in the README.
Shipped workloads:
{workloads}
"""


QUERY_USAGE = """\
dlio_benchmark_query: prints the value of one key of a workload, or None

usage: dlio_benchmark_query [workload=NAME] ++workload.workflow.query=KEY [--config-dir DIR]

  KEY is dotted and below workload: dataset.num_files_train, reader.batch_size, ...
"""


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line, taken apart; ``overrides`` are in Hydra's grammar."""

    overrides: tuple[str, ...]
    config_dir: str | None = None
    strict: bool = False
    verify: bool = False
    show: str = ""
    deadline_s: float | None = None


def parse(argv: Sequence[str]) -> Arguments:
    """Return what a command line asks for.

    Raises:
        UsageError: if an option is unknown, or lacks its value.
    """
    overrides: list[str] = []
    found: dict[str, Any] = {}
    left = list(argv)
    if left[:1] == ["verify"]:
        found["verify"] = bool(left.pop(0))
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name in _FLAGS:
            found.update(_FLAGS[name])
        elif name in _VALUED:
            if not equals and not left:
                msg = f"{name} needs a value; see dlio_benchmark --help"
                raise UsageError(msg)
            field, decoded = _VALUED[name]
            found[field] = decoded(value if equals else left.pop(0))
        elif word.startswith("-"):
            msg = f"unknown option {word!r}; see dlio_benchmark --help"
            raise UsageError(msg)
        else:
            overrides.append(word)
    return Arguments(tuple(overrides), **found)


_FLAGS: Mapping[str, Mapping[str, Any]] = {
    "--help": {"show": "help"},
    "-h": {"show": "help"},
    "--version": {"show": "version"},
    "--keys": {"show": "keys"},
    "--strict": {"strict": True},
}
_LONGEST_S = 10**7
_SHOWN = ("", "help", "version", "keys", "job")


def _deadline(text: str) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 <= seconds <= _LONGEST_S:
            return seconds
    msg = f"--deadline takes seconds from 0 to {_LONGEST_S}, got {text!r}"
    raise UsageError(msg)


_VALUED: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "--config-dir": ("config_dir", str),
    "-cd": ("config_dir", str),
    "--cfg": ("show", str),
    "-c": ("show", str),
    "--deadline": ("deadline_s", _deadline),
}


def told(arguments: Arguments) -> str | None:
    """Return the text that a command line asks for in place of a run, if it asks for one that needs no workload.

    Raises:
        UsageError: if it asks for something else than can be shown.
    """
    if arguments.show == "help":
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs", "workload")
        names = sorted(name.removesuffix(".yaml") for name in os.listdir(folder) if name.endswith(".yaml"))
        return USAGE.format(workloads=textwrap.fill(", ".join(names), 100, initial_indent="  ", subsequent_indent="  "))
    if arguments.show not in _SHOWN:
        msg = f"--cfg takes 'job', got {arguments.show!r}"
        raise UsageError(msg)
    if arguments.show == "version":
        return f"dlio_benchmark {__version__}\n"
    if arguments.show == "keys":
        from dlio_benchmark.config.reference import listing  # noqa: PLC0415 - keeps help instant

        return listing()
    return None
