"""What a command would do: the effective workload, the overrides that make it, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlio_benchmark import launch
from dlio_benchmark.errors import ConfigError, DataMissingError, UsageError, listed
from dlio_benchmark.mlpstorage import launching, manifest, rules
from dlio_benchmark.mlpstorage.folders import absolute
from dlio_benchmark.mlpstorage.models import load_workload
from dlio_benchmark.mlpstorage.parameters import Override, merged
from dlio_benchmark.mlpstorage.placement import place
from dlio_benchmark.mlpstorage.request import Training
from dlio_benchmark.mlpstorage.sizing import memory_bytes

_FOLLOWING = ("record_length_bytes_stdev", "record_length_bytes_resize")
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost"})


@dataclass(frozen=True, slots=True)
class Plan:
    """A command with everything decided that can be before it runs.

    Attributes:
        base: the workload's file.
        overrides: all that is sent to the engine, in order.
        judged: those of them that the rules look at, because the user gave them for the data or the run.
        taken_over: those that come from the generated data set.
        scaled: those that follow from a record length that the user gave.
        manifest: of the generated data set, if there is one.
    """

    request: Training
    base: dict[str, Any]
    overrides: tuple[Override, ...]
    judged: tuple[Override, ...]
    taken_over: tuple[Override, ...] = ()
    scaled: tuple[Override, ...] = ()
    manifest: manifest.Manifest | None = None

    @property
    def effective(self) -> dict[str, Any]:
        """The workload with all overrides folded in."""
        return merged(self.base, self.overrides)

    def findings(self) -> tuple[rules.Finding, ...]:
        """Return what the rules say about the command."""
        request = self.request
        gib = request.client_gib
        return rules.judge(
            rules.Subject(
                command=request.command,
                model=request.model,
                workload=self.effective,
                overridden={override.key: override.value for override in self.judged if not override.secret},
                accelerators=request.processes,
                memory_bytes=None if gib is None else memory_bytes(gib, request.client_hosts),
            )
        )


def prepare(request: Training) -> Plan:
    """Return the plan of ``request``; a run takes over what the generated data set has else than its workload.

    Raises:
        ConfigError: if the request contradicts the data set, or generates over another one.
    """
    base = load_workload(request.workload)
    given = request.overrides
    folder = request.data_folder
    found = manifest.read(folder) if folder is not None and request.command != "datasize" else None
    if found is not None and request.command != "datagen":
        taken = (
            *manifest.taken_over(found, request.model, base["dataset"], given),
            *manifest.generated_count(found, given),
        )
        users = tuple(override for override in taken if override.key in found.overrides)
        sent = (*taken, *manifest.with_all_columns(found, given))
        return Plan(request, base, sent, (*users, *given), taken_over=taken, manifest=found)
    scaled = _scaled(base["dataset"], given)
    plan = Plan(request, base, (*scaled, *given), given, scaled=scaled, manifest=found)
    if found is not None:
        _refuse_other_data(found, request, plan.effective["dataset"])
    return plan


def _scaled(dataset: Mapping[str, Any], given: Sequence[Override]) -> tuple[Override, ...]:
    """Return the overrides that keep deviation and resized length in proportion to a given record length.

    A record of 64 KiB with the deviation of one of 140 MiB would be no such record.
    """
    values = {override.key: override.value for override in given}
    before, after = dataset.get("record_length_bytes"), values.get("dataset.record_length_bytes")
    if not isinstance(before, int | float) or not isinstance(after, int | float) or after <= 0:
        return ()
    return tuple(
        Override.of(f"dataset.{name}", max(1, round(dataset[name] * after / before)))
        for name in _FOLLOWING
        if dataset.get(name) and f"dataset.{name}" not in values
    )


def _refuse_other_data(found: manifest.Manifest, request: Training, dataset: dict[str, Any]) -> None:
    issues = manifest.differences(found, request.model, dataset)
    if issues:
        headline = (
            f"{found.path.parent} already holds another data set ({found.path.name});"
            " choose another --data-dir or remove it"
        )
        raise ConfigError(issues, headline)


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs of a launch: the engine, and the launcher unless one process runs by itself."""

    engine: str
    launcher: launch.Launcher | None


def find_tools(request: Training, environment: dict[str, str]) -> tuple[Tools, list[str]]:
    """Return the programs for ``request`` and, as sentences, those that are missing."""
    problems: list[str] = []
    engine = launching.find_engine(request.args.dlio_bin_path)
    if engine is None:
        where = request.args.dlio_bin_path or "beside this program or on PATH"
        problems.append(f"the engine '{launching.ENGINE}' is not found ({where}); give its folder by --dlio-bin-path")
    launcher = None
    if request.args.exec_type == "mpi":
        program = launching.find_launcher(request.args.mpi_bin, environment)
        if program is not None:
            launcher = _identified(program, problems)
        elif not _runs_alone(request):
            problems.append(
                f"the launcher {launching.sought_launcher(request.args.mpi_bin, environment)} is not found;"
                " install the extra 'mpi', or use one process on this host"
            )
    return Tools(engine or launching.ENGINE, launcher), problems


def _identified(program: str, problems: list[str]) -> launch.Launcher | None:
    """Return the launcher at ``program``; one that does not say what it is becomes one of the ``problems``."""
    try:
        return launch.launcher_at(program)
    except ConfigError as error:
        problems.extend(str(issue) for issue in error.issues)
        return None


def _runs_alone(request: Training) -> bool:
    """Return whether the request is one process on this host, which needs no launcher."""
    return request.processes == 1 and all(host.name in _LOCAL_NAMES for host in request.hosts)


def check(request: Training, problems: Sequence[str]) -> None:
    """Return if what ``request`` needs is there, given the ``problems`` with its programs.

    With ``--skip-validation`` only the options are checked, not what they name.

    Raises:
        UsageError: if an option is missing.
        DataMissingError: if a program or a folder is missing.
    """
    unsaid = [] if request.args.data_dir else ["--data-dir: required to find or create the data set"]
    absent = [] if request.args.skip_validation else [*_folder_problems(request), *problems]
    if unsaid:
        raise UsageError(listed("the command cannot run", [*unsaid, *absent]))
    if absent:
        raise DataMissingError(listed("the command cannot run", absent))


def _folder_problems(request: Training) -> list[str]:
    """Return one sentence per folder that is missing or is no folder."""
    args = request.args
    wanted = [("--results-dir", args.results_dir, "parent"), ("--checkpoint-folder", _checkpoint(request), "parent")]
    if request.command == "datagen":
        wanted.append(("--data-dir", args.data_dir, "parent"))
    elif request.data_folder is not None:
        wanted.append(("--data-dir", str(request.data_folder), "data"))
    return [
        problem
        for option, path, kind in wanted
        if path and (problem := _problem(option, absolute(path), kind)) is not None
    ]


def _checkpoint(request: Training) -> str | None:
    return getattr(request.args, "checkpoint_folder", None)


def _problem(option: str, path: Path, kind: str) -> str | None:
    if path.exists():
        return None if path.is_dir() else f"{option}: '{path}' is not a folder"
    if kind == "data":
        return f"{option}: there is no data set in '{path}'; generate it first (mlpstorage training datagen)"
    return None if path.parent.is_dir() else f"{option}: the parent folder of '{path}' does not exist"


def command_words(plan: Plan, tools: Tools, leaf: Path) -> list[str]:
    """Return the words that launch the engine for ``plan`` into ``leaf``.

    Raises:
        LaunchError: if the hosts have too few slots.
    """
    request = plan.request
    overrides, variables = launching.apart(plan.overrides)
    engine = launching.engine_words(tools.engine, request.workload, leaf, overrides, data_folder=request.data_folder)
    if tools.launcher is None:
        return engine
    placement = place(request.hosts, request.processes)
    words = [*request.launcher_arguments, *engine]
    return tools.launcher.command(request.processes, words, hosts=placement, passing=tuple(variables))
