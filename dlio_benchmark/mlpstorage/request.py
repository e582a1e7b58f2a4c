"""What was asked for: the parsed command line, with the configuration file folded in."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlio_benchmark.errors import ConfigError, DataMissingError, Issue, UsageError
from dlio_benchmark.mlpstorage import grammar
from dlio_benchmark.mlpstorage.folders import absolute
from dlio_benchmark.mlpstorage.models import OFFERED_CODECS, OFFERED_FORMATS, workload_name
from dlio_benchmark.mlpstorage.parameters import Override, is_secret, parse_params
from dlio_benchmark.mlpstorage.placement import Host, parse_hosts

_LISTS = ("hosts", "params", "mpi_params")
_CLOSED_VALUES: Mapping[str, tuple[str, ...]] = {
    "dataset.format": OFFERED_FORMATS,
    "dataset.compression": OFFERED_CODECS,
}
_OPTION_OF_KEY = {"dataset.format": "--dataset-format", "dataset.compression": "--compression"}


@dataclass(frozen=True, slots=True)
class Training:
    """A command of the program ``training``, decoded."""

    args: argparse.Namespace
    hosts: tuple[Host, ...]
    overrides: tuple[Override, ...]
    launcher_arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """datasize, datagen, run or configview."""
        return str(self.args.command)

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.args.model)

    @property
    def accelerator(self) -> str | None:
        """Accelerator whose timings apply; None when generating."""
        return getattr(self.args, "accelerator_type", None)

    @property
    def workload(self) -> str:
        """Name of the workload that the engine loads."""
        return workload_name(self.model, self.accelerator)

    @property
    def processes(self) -> int:
        """Ranks that are asked for, or that the data is sized for."""
        names = ("num_processes", "num_accelerators", "max_accelerators")
        return int(next(vars(self.args)[name] for name in names if name in self.args))

    @property
    def client_hosts(self) -> int:
        """Number of client hosts: as it was said, else of those that are named."""
        return int(getattr(self.args, "num_client_hosts", None) or len({host.name for host in self.hosts}))

    @property
    def client_gib(self) -> float | None:
        """Memory of one client host in GiB, or None if it was not said."""
        return getattr(self.args, "client_host_memory_in_gb", None)

    @property
    def data_folder(self) -> Path | None:
        """Absolute path of the model's data set, or None without ``--data-dir``."""
        if not self.args.data_dir:
            return None
        folder = absolute(self.args.data_dir)
        return folder if folder.name == self.model else folder / self.model

    @property
    def results_dir(self) -> Path:
        """Absolute path of the root of the results tree."""
        return absolute(self.args.results_dir)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the namespace of ``argv``; values of its ``--config-file`` win over those of the command line.

    Ends the process as argparse does for help, the version and a command line that cannot be understood.
    """
    words = grammar.in_order(argv)
    parser, _ = grammar.parsers()
    path = _config_file(words)
    if path is None:
        return parser.parse_args(words)
    values = _read_config(path)
    known = grammar.option_names(*[*words, "", ""][:2]) - {"config_file"}
    for key in sorted(set(values) - known):
        print(f"warning: {path}: unknown option '{key}' is skipped", file=sys.stderr)
    values = {key: value for key, value in values.items() if key in known}
    switches = {key: value for key, value in values.items() if isinstance(value, bool)}
    namespace = parser.parse_args([*words, *_as_words(values)])
    for key, value in switches.items():
        setattr(namespace, key, value)
    return namespace


def _config_file(words: Sequence[str]) -> str | None:
    """Return the path that ``words`` give to ``--config-file``, if they do."""
    path: str | None = None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == "-c" or (name.startswith("--conf") and "--config-file".startswith(name)):
            path = value if equals else following
    return path or None


def _read_config(path: str) -> Mapping[str, Any]:
    """Return the mapping in the YAML file at ``path``."""
    import yaml  # noqa: PLC0415

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataMissingError(f"--config-file: there is no file '{path}'") from error
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError([Issue(path, str(error))], "--config-file cannot be read") from error
    if not isinstance(values, Mapping):
        raise ConfigError([Issue(path, "expected a mapping of option names to values")], "--config-file is not valid")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def _as_words(values: Mapping[str, Any]) -> list[str]:
    """Return the options that give ``values``, so that they are checked like typed ones."""
    words: list[str] = []
    for key, value in values.items():
        option = "--" + key.replace("_", "-")
        if isinstance(value, Mapping) and key == "params":
            words += [option, *(f"{name}={item}" for name, item in value.items())]
        elif isinstance(value, list) and key in _LISTS:
            words += [option, *(str(item) for item in value)]
        elif not isinstance(value, bool) and value is not None:
            words.append(f"{option}={value}")
    return words


def decode(args: argparse.Namespace) -> Training:
    """Return the training command in ``args``, its overrides and hosts decoded.

    Raises:
        UsageError: if a host or an override cannot be understood, or two options contradict each other.
        ConfigError: if a format or a codec is not offered.
    """
    params = parse_params(args.params)
    options = tuple(
        Override.of(key, value)
        for key, value in (("dataset.format", args.dataset_format), ("dataset.compression", args.compression))
        if value is not None
    )
    _refuse_contradictions(options, params)
    _refuse_unoffered(params)
    given = {override.key for override in params}
    request = Training(
        args=args,
        hosts=parse_hosts(args.hosts),
        overrides=(*(option for option in options if option.key not in given), *params),
        launcher_arguments=_split(args.mpi_params),
    )
    workload_name(request.model, request.accelerator)
    return request


def _split(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the words of all ``texts``, split as a shell would."""
    try:
        return tuple(word for text in texts for word in shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--mpi-params: {error}") from error


def _refuse_contradictions(options: Sequence[Override], params: Sequence[Override]) -> None:
    for option in options:
        for param in params:
            if param.key == option.key and str(param.value).lower() != option.value:
                raise UsageError(
                    f"{_OPTION_OF_KEY[option.key]} {option.value} contradicts"
                    f" --params {param.key}={param.text}; give one of them"
                )


def _refuse_unoffered(params: Sequence[Override]) -> None:
    issues = [
        Issue(param.key, f"'{param.value}' is not offered, expected one of {', '.join(_CLOSED_VALUES[param.key])}")
        for param in params
        if param.key in _CLOSED_VALUES and str(param.value).lower() not in _CLOSED_VALUES[param.key]
    ]
    if issues:
        raise ConfigError(issues)


def shown_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return the namespace for people and files, without secret values."""
    shown = dict(vars(args))
    if "params" in shown:
        shown["params"] = [shown_word(word) for word in shown["params"]]
    return shown


def shown_word(word: str) -> str:
    """Return one word of a command line with the value of a secret key replaced."""
    key, equals, _ = word.partition("=")
    return f"{key}=***" if equals and is_secret(key) else word
