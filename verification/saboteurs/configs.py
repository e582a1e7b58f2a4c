"""Wrong ways to take a configuration: what is given is dropped, left as it is, or not acted upon."""

from __future__ import annotations

import copy
import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
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
from verification.targets.protocol import Target, placed
from verification.targets.wrong import Wrong


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


# -- a data set of another configuration -------------------------------------------------------------------------------
Blind = Callable[[Tree], AbstractContextManager[None]]


@contextmanager
def _put_back(path: Path) -> Iterator[bytes]:
    """Give what a file holds, and let it hold that again afterwards: the wrong run is judged, not the blindfold."""
    content = path.read_bytes()
    try:
        yield content
    finally:
        path.write_bytes(content)


@contextmanager
def _manifest_unseen(tree: Tree) -> Iterator[None]:
    manifest = _manifest(tree)
    with _put_back(manifest):
        manifest.unlink()
        yield


@contextmanager
def _manifest_of_any(tree: Tree) -> Iterator[None]:
    manifest = _manifest(tree)
    with _put_back(manifest) as content:
        shape = shape_of(decode(_plain(tree)).workload)
        manifest.write_text(json.dumps({**json.loads(content), "shape": shape}), encoding="utf-8")
        yield


def _manifest(tree: Tree) -> Path:
    return Path(tree["dataset"]["data_folder"], "dlio_manifest.json")


BLIND: Mapping[str, Blind] = {
    "manifest-not-compared": _manifest_unseen,
    "manifest-without-digest": _manifest_of_any,
}


def _blindly(blind: Blind) -> Run:
    def run(tree: Tree, folder: Path) -> Ran:
        if not _manifest(tree).exists():
            return run_job(tree, folder)
        with blind(tree):
            return run_job({**tree, "workflow": {"generate_data": False, "train": True}}, folder)

    return run


def _blind_target(blind: Blind) -> Callable[[Target], Target]:
    return lambda right: Wrong(right, during=lambda tree, folder: blind(placed(tree, folder, generate=False)))


REFUSALS: Mapping[str, Run] = {name: _blindly(blind) for name, blind in BLIND.items()}
COMMANDS: Mapping[str, Callable[[Target], Target]] = {name: _blind_target(blind) for name, blind in BLIND.items()}
