"""A front end in a folder of its own, with stand-ins for what it launches."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString

from dlio_benchmark.mlpstorage.cli import main
from dlio_benchmark.mlpstorage.models import CONFIG_DIR

STUBS = Path(__file__).parent


def executable(path: Path, stub: str) -> Path:
    path.write_text(f"#!{sys.executable} -IS\n{(STUBS / stub).read_text()}")
    path.chmod(0o755)
    return path


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        tree = tree.setdefault(name, {})
    tree[last] = value


@dataclass(frozen=True, slots=True)
class Bench:
    """A front end in a folder of its own, with stand-ins for engine and launcher."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def generated(self) -> Path:
        return self.data / "unet3d"

    def words(self, command: str, *more: str) -> list[str]:
        words = ["training", command, "--model", "unet3d", "--data-dir", str(self.data)]
        words += ["--results-dir", str(self.root / "results"), "--dlio-bin-path", str(self.root), *more]
        if command == "datagen":
            return [*words, "--num-processes", "2"]
        return [*words, "--num-accelerators", "1", "--accelerator-type", "h100", "--client-host-memory-in-gb", "64"]

    def datagen(self, *more: str) -> int:
        return main(self.words("datagen", *more))

    def run(self, *more: str) -> int:
        return main(self.words("run", *more))

    def configview(self, *more: str) -> int:
        return main(self.words("configview", *more))

    def leaves(self, command: str) -> list[Path]:
        return sorted((self.root / "results" / "training" / "unet3d" / command).iterdir())

    def metadata(self, command: str) -> dict[str, Any]:
        leaf = self.leaves(command)[-1]
        content: dict[str, Any] = json.loads((leaf / f"training_{leaf.name}_metadata.json").read_text())
        return content

    def engine_words(self, command: str) -> list[str]:
        content: list[str] = json.loads((self.leaves(command)[-1] / "argv.json").read_text())
        return content

    def launcher_words(self) -> list[str]:
        content: list[str] = json.loads((self.root / "launcher.json").read_text())
        return content

    def workload(self, command: str) -> dict[str, Any]:
        """The workload as the engine would see it: its file, and what Hydra reads from the words."""
        overrides = OverridesParser.create().parse_overrides(self.engine_words(command)[1:-1])
        values = {override.key_or_group: override.value() for override in overrides}
        text = (CONFIG_DIR / "workload" / f"{values['workload']}.yaml").read_text()
        tree: dict[str, Any] = {"workload": yaml.safe_load(text)}
        for key, value in values.items():
            if key.startswith("workload."):
                put(tree, key, value.text if isinstance(value, QuotedString) else value)
        workload: dict[str, Any] = tree["workload"]
        return workload


def bench_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a front end in ``folder`` that launches the stand-ins."""
    executable(folder / "dlio_benchmark", "mlpstorage_stub_engine.py")
    launcher = executable(folder / "stub_mpirun", "mlpstorage_stub_launcher.py")
    monkeypatch.setenv("MPI_RUN_BIN", str(launcher))
    monkeypatch.setenv("STUB_LAUNCHER_NOTE", str(folder / "launcher.json"))
    monkeypatch.setenv("MLPSTORAGE_HOME", str(folder))
    return Bench(folder)
