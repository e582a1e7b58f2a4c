"""Links of this process that can be cut, and what is done at either end of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from dlio_benchmark import session
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import DatasetType, FormatType
from dlio_benchmark.config.model import Workload
from dlio_benchmark.data_generator import parquet_generator
from dlio_benchmark.data_generator.generator_factory import GeneratorFactory
from dlio_benchmark.reader.reader_factory import ReaderFactory
from dlio_benchmark.utils.config import ConfigArguments, LoadConfig
from verification import oracle
from verification.contracts.job import tree_of

Cut = pytest.MonkeyPatch


def arguments_for(folder: Path, **parquet: Any) -> None:
    """Set this process's arguments to a small data set below ``folder``."""
    session.begin(Workload(), Solo())
    LoadConfig(ConfigArguments.get_instance(), tree_of(folder, parquet=parquet))


def written_by_the_generator(folder: Path) -> list[oracle.Footer]:
    """Generate through the factory, as DLIO's callers do, and return the footers."""
    GeneratorFactory.get_generator(FormatType.PARQUET).generate()
    return [oracle.footer(path) for path in sorted((folder / "data" / "train").rglob("*.parquet"))]


def sample_of_the_reader(path: Path) -> dict[str, Any]:
    """Read a sample through the factory, as DLIO's callers do."""
    reader = ReaderFactory.get_reader(FormatType.PARQUET, DatasetType.TRAIN, 0, 1)
    try:
        found: dict[str, Any] = reader.get_sample(str(path), 0)
    finally:
        reader.finalize()
    return found


def without_parquet(patch: Cut) -> None:
    """Give whoever asks for the arguments all but the fields of the Parquet section."""
    asked, fresh = ConfigArguments.get_instance, ConfigArguments()

    def cut(_: type) -> ConfigArguments:
        found = asked()
        for name in ("columns", "row_group_size", "read_mode", "partition_by"):
            setattr(found, f"parquet_{name}", getattr(fresh, f"parquet_{name}"))
        return found

    patch.setattr(ConfigArguments, "get_instance", classmethod(cut))


def unknown_options(option: str) -> Callable[[Cut], None]:
    """Return the cut that leaves an option out of what the writer is told."""
    made = parquet_generator.ParquetFiles

    def files(*args: Any, **options: Any) -> Any:
        return made(*args, **{key: value for key, value in options.items() if key != option})

    return lambda patch: patch.setattr(parquet_generator, "ParquetFiles", files)


def emptied(module: Any, name: str) -> Callable[[Cut], None]:
    """Return the cut that leaves Parquet out of a registry."""

    def cut(patch: Cut) -> None:
        nothing: Mapping[str, str] = MappingProxyType({})
        patch.setattr(module, name, replace(getattr(module, name), ours=nothing, installed=lambda _group: ()))

    return cut
