"""The artifacts exist in the installed package, are executed by a run, and cannot be replaced by stubs unnoticed."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from installed import ROOT, package, spoiled_package, spoiled_wheel, wheel

from verification.contracts.package import Ended, Installed
from verification.contracts.walk import SEEN
from verification.evidence import Recorder
from verification.saboteurs.packages import STUBS

MODULES = {
    "stub-enumerations": "dlio_benchmark/common/enumerations.py",
    "stub-config": "dlio_benchmark/utils/config.py",
    "stub-parquet-reader": "dlio_benchmark/reader/parquet_reader.py",
    "stub-parquet-generator": "dlio_benchmark/data_generator/parquet_generator.py",
}
NAMES = {
    "stub-enumerations": ("Compression.LZ4", "Compression.ZSTD"),
    "stub-config": ("ConfigArguments", "LoadConfig"),
    "stub-parquet-reader": ("ParquetReader",),
    "stub-parquet-generator": ("ParquetGenerator", "COMPRESSION_MAP"),
}
WALK = "verification.contracts.walk"
LEAST_EXECUTED = 50.0


def walked(installed: Installed, folder: Path, *before: str) -> tuple[Ended, dict[str, Any]]:
    """Walk through an installed package and return how it ended and what it saw."""
    folder.mkdir(parents=True, exist_ok=True)
    ended = installed.run("python", *before, "-m", WALK, str(folder), cwd=folder)
    last = ended.stdout.strip().splitlines()[-1:] or ["{}"]
    return ended, json.loads(last[0]) if ended.code == 0 else {}


FIND = """
import importlib, json, operator
found = {}
for name, (dotted, offered) in %r.items():
    module = importlib.import_module(dotted)
    for one in offered:
        operator.attrgetter(one)(module)
    found[name] = module.__file__
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the file of each module that is imported from the installed package and offers what is expected of it."""
    dotted = {name: path.removesuffix(".py").replace("/", ".") for name, path in MODULES.items()}
    asked = {name: (dotted[name], NAMES[name]) for name in MODULES}
    ended = package().run("python", "-c", FIND % asked, cwd=tmp_path_factory.mktemp("files"))
    assert ended.code == 0, ended.stderr
    found: dict[str, str] = json.loads(ended.stdout)
    return found


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk through the installed package saw, and the percentage of each module's statements it executed."""

    ended: Ended
    seen: dict[str, Any]
    executed: dict[str, float]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """Walk through the installed package, with its statements watched."""
    folder = tmp_path_factory.mktemp("executed")
    site = package().site
    before = ("-m", "coverage", "run", "--data-file", str(folder / "data"), "--include", f"{site}/dlio_benchmark/*")
    ended, seen = walked(package(), folder / "walk", *before)
    assert ended.code == 0, ended.stderr
    report = folder / "coverage.json"
    told = package().run(
        "python", "-m", "coverage", "json", "--data-file", str(folder / "data"), "-o", str(report), cwd=folder
    )
    assert told.code == 0, told.stderr
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    executed = {
        str(Path(path).resolve().relative_to(site.resolve())): found["summary"]["percent_covered"]
        for path, found in ((str(folder / path), found) for path, found in files.items())
    }
    return Walked(ended, seen, executed)


def is_wired(evidence: Recorder, ended: Ended, seen: dict[str, Any]) -> None:
    """Hold that a walk through a package sees what it should."""
    evidence.equal(ended.code, 0, what="exit code of a walk through the package")
    for key, wanted in SEEN.items():
        evidence.equal(seen.get(key), wanted, what=f"{key} on a walk through the package")
    evidence.cover("aspect", "wired")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.claim(f"artifact-{number}")) for number, name in enumerate(MODULES, start=1)],
)
def test_the_module_exists_is_executed_and_is_wired(
    evidence: Recorder, tmp_path: Path, files: dict[str, str], whole: Walked, name: str
) -> None:
    imported = str(package().site / MODULES[name])
    evidence.equal(files.get(name), imported, what="file of the module that is imported")
    evidence.cover("aspect", "exists")
    evidence.hold(whole.executed.get(MODULES[name], 0.0), what="statements executed", at_least=LEAST_EXECUTED, unit="%")
    evidence.cover("aspect", "substantive")
    is_wired(evidence, whole.ended, whole.seen)
    stubbed = Installed(tmp_path / "site")
    shutil.copytree(package().site, stubbed.site)
    STUBS[name](stubbed.site)
    with evidence.saboteur(name):
        is_wired(evidence, *walked(stubbed, tmp_path / "stubbed"))


def offers_the_package(evidence: Recorder, built: Path, package_of_it: Callable[[], Installed], folder: Path) -> None:
    """Hold that a wheel has code, data files and commands, and that the commands run once it is installed."""
    names = set(zipfile.ZipFile(built).namelist())
    shipped = {str(path.relative_to(ROOT)) for path in (ROOT / "dlio_benchmark" / "configs").rglob("*.yaml")}
    code = {path for path in names if path.startswith("dlio_benchmark/") and path.endswith(".py")}
    evidence.hold(len(code), what="modules in the wheel", at_least=50, unit="files")
    evidence.hold(len(shipped - names), what="shipped workloads missing from the wheel", at_most=0, unit="files")
    evidence.cover("aspect", "exists")
    metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
    text = zipfile.ZipFile(built).read(metadata).decode()
    evidence.equal("Name: dlio_benchmark" in text or "Name: dlio-benchmark" in text, True, what="name of the package")
    evidence.equal("Provides-Extra: full" in text, True, what="extra full")
    evidence.cover("aspect", "substantive")
    installed = package_of_it()
    for command in ("dlio_benchmark", "mlpstorage"):
        ended = installed.run(command, "--help", cwd=folder)
        evidence.equal((ended.code, command in ended.stdout), (0, True), what=f"{command} --help")
    listed = installed.run("dlio_benchmark", "workload=unet3d_h100", "--cfg", "job", cwd=folder)
    evidence.equal((listed.code, "146600628" in listed.stdout), (0, True), what="a shipped workload is found")
    evidence.cover("aspect", "wired")


@pytest.mark.claim("artifact-5")
def test_the_packaging_makes_an_installable_package(evidence: Recorder, tmp_path: Path) -> None:
    offers_the_package(evidence, wheel(), package, tmp_path)
    name = "wheel-without-data-files"
    with evidence.saboteur(name):
        offers_the_package(evidence, spoiled_wheel(name), partial(spoiled_package, name), tmp_path)
