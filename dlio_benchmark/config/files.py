"""The edge where Hydra lives: from a command line to a plain tree, and the record of it in the run folder.

Files that a user names with ``--config-dir`` come before the workloads that we ship.  Input is limited in size, depth
and aliases before anything composes it, and nothing in it is ever instantiated.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from hydra import compose
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dlio_benchmark.config.composed import Composed
from dlio_benchmark.config.redact import Redactor
from dlio_benchmark.errors import CannotCreateError, ConfigError, Issue, shown

CONFIG_FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs")
MOST_BYTES = 2**20
MOST_DEPTH = 50
MOST_NODES = 100_000
MOST_FILES = 2_000
# Hydra imports the packages that a search path names.
SEARCH = "searchpath"
_NO_SEARCH = "a search path of Hydra's is not taken; name a folder with --config-dir"


def compose_workload(overrides: Sequence[str], config_dir: str | None = None) -> Composed:
    """Return the configuration that ``overrides`` describe.

    Args:
        overrides: in Hydra's grammar (``workload=NAME``, ``++workload.a.b=value``, ``hydra.run.dir=...``).
        config_dir: a folder with ``workload/NAME.yaml``; its files win over ours.

    Raises:
        ConfigError: if a file or an override cannot be understood, or is beyond the limits.
    """
    _check_inputs(overrides, config_dir)
    if config_dir is not None and not os.path.isdir(config_dir):
        raise ConfigError([Issue("--config-dir", f"no such folder: {config_dir}")])
    GlobalHydra.instance().clear()
    try:
        setbase("1.3")
        Hydra.create_main_hydra2("dlio_benchmark", _search_path(config_dir))
        whole = compose("config", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(whole)
        return _composed(whole, overrides)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([Issue("configuration", _told(error))]) from error
    finally:
        GlobalHydra.instance().clear()


def _search_path(config_dir: str | None) -> ConfigSearchPath:
    """Return where configurations are looked for: the user's folder, then ours.

    Hydra's public ways in know one folder, in which the primary configuration must be.
    """
    path = create_config_search_path(None if config_dir is None else os.path.abspath(config_dir))
    path.prepend("dlio_benchmark", f"file://{CONFIG_FOLDER}", "schema")
    return path


def _told(error: Exception) -> str:
    if isinstance(error, MissingConfigException) and error.options:
        name = str(error.missing_cfg_file or "").rpartition("/")[2]
        near = difflib.get_close_matches(name, error.options, 1, 0.6)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"there is no workload {name!r}{hint}; there are: {', '.join(sorted(error.options))}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("full_key")]
    noise = ("Set the environment variable", "See https", "object_type", "reference_type")
    return "; ".join(line for line in lines[:12] if not line.startswith(noise)) or type(error).__name__


def _composed(whole: DictConfig, overrides: Sequence[str]) -> Composed:
    hydra = whole.hydra
    job = whole.copy()
    with open_dict(job):
        del job["hydra"]
    task = [text for text in hydra.overrides.task if not text.startswith("hydra.")]
    workload = OmegaConf.to_container(job.get("workload") or OmegaConf.create({}), resolve=True)
    if not isinstance(workload, dict):
        raise ConfigError([Issue("workload", "must be a mapping")])
    printed = _text(OmegaConf.to_container(job, resolve=False))
    record = {
        "config.yaml": printed,
        "hydra.yaml": _text({"hydra": OmegaConf.to_container(hydra, resolve=False)}),
        "overrides.yaml": _text(task),
    }
    return Composed(
        workload={str(name): value for name, value in workload.items()},
        run_dir=str(hydra.run.dir),
        subfolder=_inside(hydra.output_subdir),
        typed=frozenset(_typed(overrides)),
        record=record,
        printed=printed,
    )


def _inside(subfolder: str | None) -> str | None:
    if subfolder is not None and (os.path.isabs(str(subfolder)) or ".." in str(subfolder).split("/")):
        raise ConfigError([Issue("hydra.output_subdir", f"must be below the output folder, got {shown(subfolder)}")])
    return None if subfolder is None else str(subfolder)


def _text(tree: Any) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(Redactor().tree(tree)))


def _typed(overrides: Sequence[str]) -> Iterator[str]:
    for text in overrides:
        name = text.partition("=")[0].lstrip("+~")
        if name.startswith("workload."):
            yield name.removeprefix("workload.")


def write_record(composed: Composed, folder: str) -> None:
    """Write config, hydra and overrides below ``folder``.

    Raises:
        CannotCreateError: if the folder cannot be written.
    """
    if composed.subfolder is None:
        return
    top = os.path.join(folder, composed.subfolder)
    try:
        os.makedirs(top, exist_ok=True)
        for name, text in composed.record.items():
            with open(os.path.join(top, name), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        msg = f"{top}: cannot write the record of the configuration: {error.strerror}"
        raise CannotCreateError(msg) from error


def _check_inputs(overrides: Sequence[str], config_dir: str | None) -> None:
    for text in overrides:
        if len(text.encode(errors="surrogateescape")) > MOST_BYTES:
            raise ConfigError([Issue(text[:60], f"an override is at most {MOST_BYTES} bytes long")])
        if _depth(text) > MOST_DEPTH:
            raise ConfigError([Issue(text[:60], f"nested deeper than {MOST_DEPTH}")])
        if text.lstrip("+~").startswith(f"hydra.{SEARCH}"):
            raise ConfigError([Issue(text[:60], _NO_SEARCH)])
    if config_dir is None:
        return
    for path in _yaml_files(config_dir):
        with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):  # said by who composes with the file
            _check_limits(path)


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in "[{") - (char in "]}")
        deepest = max(deepest, depth)
    return deepest


def _yaml_files(config_dir: str) -> Iterator[str]:
    """Yield every file that composing could open, whatever folder of ``config_dir`` a defaults list names."""
    found = 0
    for here, folders, names in os.walk(config_dir):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [os.path.join(here, name) for name in sorted(names) if name.endswith((".yaml", ".yml"))]
        found += 1 + len(files)
        if found > MOST_FILES:
            raise ConfigError(
                [Issue(config_dir, f"more than {MOST_FILES} files and folders; name a folder of its own")]
            )
        yield from files


def _check_file(path: str) -> None:
    """Refuse a file beyond the limits, or one that is no YAML."""
    try:
        _check_limits(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError([Issue(path, f"cannot be read as YAML: {error}")]) from error


def _check_limits(path: str) -> None:
    if os.path.getsize(path) > MOST_BYTES:
        raise ConfigError([Issue(path, f"a configuration file is at most {MOST_BYTES} bytes long")])
    with open(path, encoding="utf-8") as file:
        _check_events(path, yaml.parse(file, Loader=yaml.SafeLoader))


def _check_events(path: str, events: Iterator[yaml.Event]) -> None:
    """Count nodes as if every alias were written out; refuse what grows beyond the limits."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            is_within_itself = any(anchor == event.anchor for anchor, _ in open_nodes)
            total += MOST_NODES if is_within_itself else sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.value in (SEARCH, f"hydra.{SEARCH}"):
                raise ConfigError([Issue(path, _NO_SEARCH)])
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before + 1
        if total > MOST_NODES or len(open_nodes) > MOST_DEPTH:
            limits = f"{MOST_NODES} values with aliases written out, {MOST_DEPTH} levels"
            raise ConfigError([Issue(path, f"larger than the limits of {limits}")])


def read_record(path: str) -> Mapping[str, Any] | None:
    """Return the workload that a run recorded in ``path`` (config.yaml), resolved; None if there is no such file.

    Raises:
        ConfigError: if the file cannot be read as YAML, is beyond the limits, or refers to what is not there.
    """
    if not path or not os.path.exists(path):
        return None
    _check_file(path)
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError([Issue(path, _told(error))]) from error
    workload = loaded.get("workload") if isinstance(loaded, dict) else None
    return {str(name): value for name, value in workload.items()} if isinstance(workload, dict) else None
