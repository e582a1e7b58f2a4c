"""Wrong ways to take a configuration: what is given is dropped, left as it is, or not acted upon."""

from __future__ import annotations

import copy
import importlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from dlio_benchmark.config.decode import decode
from dlio_benchmark.config.files import compose_workload
from dlio_benchmark.config.shape import shape_of
from dlio_benchmark.data_generator.parquet_generator import COMPRESSION_MAP
from dlio_benchmark.errors import ConfigError
from dlio_benchmark.utils.config import LoadConfig
from verification.contracts.job import Load, Ran, Run, Tree, run_job


def _plain(config: Any, *, resolve: bool = True) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(config, resolve=resolve) if OmegaConf.is_config(config) else config
    copied: dict[str, Any] = copy.deepcopy(dict(found))
    return copied


def _drops_one_key(arguments: Any, config: Any) -> None:
    tree = _plain(config)
    tree["dataset"]["parquet"].popitem()
    LoadConfig(arguments, tree)


def _leaves_interpolations(arguments: Any, config: Any) -> None:
    LoadConfig(arguments, _plain(config, resolve=False))


def _drops_the_section(arguments: Any, config: Any) -> None:
    tree = _plain(config)
    del tree["dataset"]["parquet"]
    LoadConfig(arguments, tree)


LOADS: Mapping[str, Load] = {
    "drops-one-key-of-the-section": _drops_one_key,
    "leaves-interpolations-unresolved": _leaves_interpolations,
    "cut-section-from-arguments": _drops_the_section,
}


def _ignoring(key: str) -> Run:
    def run(tree: Tree, folder: Path) -> Ran:
        changed = _plain(tree)
        changed["dataset"]["parquet"].pop(key, None)
        return run_job(changed, folder)

    return run


def _writes_nothing(tree: Tree, folder: Path) -> Ran:
    has_columns = bool(tree["dataset"]["parquet"].get("columns"))
    return run_job(tree, folder) if has_columns else Ran(folder / "data", folder / "out")


RUNS: Mapping[str, Callable[[Tree, Path], Ran]] = {
    "empty-section-writes-nothing": _writes_nothing,
    "parses-columns-but-ignores-them": _ignoring("columns"),
    "parses-row-group-size-but-ignores-it": _ignoring("row_group_size"),
    "parses-read-mode-but-ignores-it": _ignoring("read_mode"),
    "parses-partition-by-but-ignores-it": _ignoring("partition_by"),
}


def strict(tree: Tree) -> object:
    """Decode as the product does when unknown keys are errors."""
    return decode(_plain(tree), strict=True)


def _falls_back(tree: Tree) -> object:
    changed = _plain(tree)
    if changed["dataset"].get("compression") not in {str(codec) for codec in COMPRESSION_MAP}:
        changed["dataset"].pop("compression", None)
    return decode(changed, strict=True)


def _ignores_unknown_keys(tree: Tree) -> object:
    return decode(_plain(tree))


def _stops_at_the_first(tree: Tree) -> object:
    try:
        return decode(_plain(tree), strict=True)
    except ConfigError as error:
        raise ConfigError(error.issues[:1]) from None


DECODES: Mapping[str, Callable[[Tree], object]] = {
    "unknown-codec-falls-back": _falls_back,
    "unknown-key-ignored": _ignores_unknown_keys,
    "stops-at-the-first-problem": _stops_at_the_first,
}


def compose(folder: Path) -> object:
    """Take a workload file as the product does."""
    return decode(dict(compose_workload(["workload=attack"], str(folder)).workload))


def _instantiates(folder: Path) -> object:
    tree = yaml.safe_load((folder / "workload" / "attack.yaml").read_text(encoding="utf-8"))
    named = tree["dataset"]["data_folder"]
    module, kind, method = named["_target_"].split(".")
    made = getattr(importlib.import_module(module), kind)(*named["_args_"])
    return getattr(made, method)()


TAKES: Mapping[str, Callable[[Path], object]] = {"instantiates-from-configuration": _instantiates}


def _joined_unchecked(root: Path, path: str) -> None:
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(b"x")


PUTS: Mapping[str, Callable[[Path, str], None]] = {"joins-paths-unchecked": _joined_unchecked}


def _without_manifest(tree: Tree, folder: Path) -> Ran:
    Path(tree["dataset"]["data_folder"], "dlio_manifest.json").unlink(missing_ok=True)
    changed = _plain(tree)
    if list(Path(tree["dataset"]["data_folder"]).glob("train/*.parquet")):
        changed["workflow"]["generate_data"] = False
        changed["workflow"]["train"] = False
    return run_job(changed, folder)


def _with_any_manifest(tree: Tree, folder: Path) -> Ran:
    manifest = Path(tree["dataset"]["data_folder"], "dlio_manifest.json")
    if manifest.exists():
        content = json.loads(manifest.read_text(encoding="utf-8"))
        content["shape"] = shape_of(decode(_plain(tree)).workload)
        manifest.write_text(json.dumps(content), encoding="utf-8")
    changed = _plain(tree)
    changed["workflow"]["train"] = changed["workflow"]["train"] and not manifest.exists()
    return run_job(changed, folder)


REFUSALS: Mapping[str, Callable[[Tree, Path], Ran]] = {
    "manifest-not-compared": _without_manifest,
    "manifest-without-digest": _with_any_manifest,
}
