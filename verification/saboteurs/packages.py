"""Wrong packages: each spoils one file of a copy of the sources, or of an installed copy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

SpoilFolder = Callable[[Path], None]


def _appended(name: str, text: str) -> SpoilFolder:
    def spoil(folder: Path) -> None:
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{text}\n")

    return spoil


def _without_lines(name: str, pattern: str) -> SpoilFolder:
    def spoil(folder: Path) -> None:
        lines = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(line for line in lines if not re.search(pattern, line)), encoding="utf-8")

    return spoil


def _changed(name: str, found: str, put: str) -> SpoilFolder:
    def spoil(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace(found, put), encoding="utf-8")

    return spoil


STUBS: Mapping[str, SpoilFolder] = {
    "stub-enumerations": _without_lines("dlio_benchmark/common/enumerations.py", r'^\s+(LZ4|ZSTD) = "'),
    "stub-config": _appended("dlio_benchmark/utils/config.py", "def LoadConfig(args, config):\n    return None"),
    "stub-parquet-reader": _appended("dlio_benchmark/reader/parquet_reader.py", "ParquetRows._blocks = lambda *_: []"),
    "stub-parquet-generator": _appended(
        "dlio_benchmark/data_generator/parquet_generator.py", "ParquetFiles.write = lambda *_: None"
    ),
}
PACKAGINGS: Mapping[str, SpoilFolder] = {
    "wheel-without-data-files": _without_lines("pyproject.toml", r'^"\*" = \["\*\.yaml"'),
    "cut-package": _changed("pyproject.toml", '"dlio_benchmark*", "verification*"', '"verification*"'),
}
