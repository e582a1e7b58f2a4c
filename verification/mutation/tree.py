"""A copy of the tree, in which files may be changed."""

from __future__ import annotations

import shutil
from pathlib import Path

COPIED = ("dlio_benchmark", "verification", "tests", "docs", "benchmarks", "README.md", "conftest.py", "pyproject.toml")


def copied(root: Path, folder: Path) -> Path:
    """Copy what tests need of the tree at ``root`` to ``folder`` and return it."""
    folder.mkdir()
    for name in COPIED:
        source, target = root / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, target)
    return folder
