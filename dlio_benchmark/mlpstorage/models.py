"""The workloads of the suite: which models there are, on which accelerators, and their configurations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dlio_benchmark.common.enumerations import Compression, FormatType
from dlio_benchmark.errors import UsageError

ACCELERATORS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cosmoflow": ("a100", "h100", "v100"),
        "resnet50": ("a100", "h100"),
        "unet3d": ("a100", "h100", "b200"),
        "dlrm": ("a100", "h100", "b200", "mi355"),
        "retinanet": ("a100", "h100", "b200", "mi355"),
        "flux": ("a100", "h100", "b200", "mi355"),
    }
)
MODELS = tuple(ACCELERATORS_OF)
ACCELERATORS = ("h100", "a100", "b200", "mi355", "v100")

OFFERED_FORMATS = (str(FormatType.PARQUET),)
OFFERED_CODECS = tuple(
    str(codec) for codec in (Compression.NONE, Compression.SNAPPY, Compression.GZIP, Compression.ZSTD, Compression.LZ4)
)

CONFIG_DIR = Path(__file__).resolve().parent.parent / "configs"


def workload_name(model: str, accelerator: str | None = None) -> str:
    """Return the name of the workload that generates ``model``'s data or trains it on ``accelerator``.

    Raises:
        UsageError: if the suite has no timings for this model on this accelerator.
    """
    if accelerator is not None and accelerator not in ACCELERATORS_OF[model]:
        known = ", ".join(ACCELERATORS_OF[model])
        raise UsageError(f"--accelerator-type: {model} has no timings for '{accelerator}'; it has them for {known}")
    return f"{model.replace('-', '_')}_{accelerator or 'datagen'}"


def load_workload(name: str) -> dict[str, Any]:
    """Return the shipped configuration called ``name`` as plain nested values."""
    import yaml  # noqa: PLC0415

    text = (CONFIG_DIR / "workload" / f"{name}.yaml").read_text(encoding="utf-8")
    tree: dict[str, Any] = yaml.safe_load(text)
    return tree
