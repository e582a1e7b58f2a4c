"""The package out of a wheel, built once per session."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from verification.contracts.package import Installed, build_wheel, build_wheel_directly, copy_sources, install
from verification.saboteurs.packages import PACKAGINGS

ROOT = Path(__file__).parents[2]


@functools.cache
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dlio-wheel-")


@functools.cache
def wheel() -> Path:
    """Return the wheel of the source tree."""
    folder = Path(_home().name)
    return build_wheel(copy_sources(ROOT, folder / "source"), folder / "wheel")


@functools.cache
def package() -> Installed:
    """Return the wheel, installed into a folder of its own."""
    return install(wheel(), Path(_home().name) / "site")


@functools.cache
def spoiled_wheel(name: str) -> Path:
    """Return the wheel of a source tree whose packaging the saboteur ``name`` has spoiled."""
    folder = Path(_home().name) / name
    source = copy_sources(ROOT, folder / "source")
    PACKAGINGS[name](source)
    return build_wheel_directly(source, folder / "wheel")


@functools.cache
def spoiled_package(name: str) -> Installed:
    """Return that wheel, installed into a folder of its own."""
    return install(spoiled_wheel(name), Path(_home().name) / name / "site")
