"""Wrong ways to take a configuration: what is given is dropped, left as it is, or not acted upon."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

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


RUNS: Mapping[str, Callable[[Tree, Path], Ran]] = {
    "parses-columns-but-ignores-them": _ignoring("columns"),
    "parses-row-group-size-but-ignores-it": _ignoring("row_group_size"),
    "parses-read-mode-but-ignores-it": _ignoring("read_mode"),
    "parses-partition-by-but-ignores-it": _ignoring("partition_by"),
}
