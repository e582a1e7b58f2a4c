"""The package as users get it: a wheel, installed into a folder of its own, and its commands as processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from verification.errors import VerificationError
from verification.mpi.launch import clean_environment

SOURCES = ("dlio_benchmark", "verification")
FILES = ("pyproject.toml", "README.md", "LICENSE")
LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Installed:
    """A distribution that was installed into a folder: its modules, and its commands below ``bin``."""

    site: Path

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment in which this distribution is found before any other."""
        path = os.pathsep.join([str(self.site / "bin"), os.environ.get("PATH", os.defpath)])
        return clean_environment({"PYTHONPATH": str(self.site), "PATH": path, **(extra or {})})

    def run(self, *words: str, cwd: Path, extra: Mapping[str, str] | None = None) -> Ended:
        """Run one of its commands, or ``python``, to its end."""
        program = sys.executable if words[0] == "python" else str(self.site / "bin" / words[0])
        done = subprocess.run(
            [program, *words[1:]],
            cwd=cwd,
            env=self.environment(extra),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


def copy_sources(root: Path, folder: Path) -> Path:
    """Copy what a wheel is built from, so that building leaves nothing in the source tree."""
    for name in SOURCES:
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy2(root / name, folder / name)
    return folder


def build_wheel(source: Path, folder: Path) -> Path:
    """Return the wheel of ``source``, built with the tools at hand and no network."""
    _pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


_BUILD = """
import importlib, sys, tomllib
with open("pyproject.toml", "rb") as file:
    backend = importlib.import_module(tomllib.load(file)["build-system"]["build-backend"])
backend.build_wheel(sys.argv[1])
"""


def build_wheel_directly(source: Path, folder: Path) -> Path:
    """Return the wheel of ``source`` as its backend builds it when it is called as pip calls it."""
    folder.mkdir(parents=True)
    _run("-c", _BUILD, str(folder), cwd=source)
    (wheel,) = folder.glob("*.whl")
    return wheel


_WITHOUT_SOURCES = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.path[:] = [folder for folder in sys.path if folder.rstrip("/") != {sources!r}]
"""


def install(wheel: Path, folder: Path) -> Installed:
    """Install ``wheel`` without what it needs, which the running environment has.

    The running environment may have the sources themselves, in place; a program that runs from ``folder`` must not
    find them, or a package that lacks something would borrow it from there.
    """
    _pip("install", "--no-deps", "--no-index", "--no-compile", "--target", str(folder), str(wheel))
    (folder / "sitecustomize.py").write_text(_WITHOUT_SOURCES.format(sources=str(Path(__file__).parents[2])))
    return Installed(folder)


def _pip(*words: str) -> None:
    _run("-m", "pip", "--disable-pip-version-check", "--quiet", *words)


def _run(*words: str, cwd: Path | None = None) -> None:
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=LIMIT_S, env=clean_environment()
    )
    if done.returncode:
        raise VerificationError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
