"""The example in the documents: a foreign reader is tested with the public strategies and contracts, and can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from verification import loading

ROOT = Path(__file__).parents[2]
FEWER = """from hypothesis import settings
settings.register_profile("fewer", max_examples=25)
settings.load_profile("fewer")
"""
EXAMPLE = ROOT / "docs" / "example_reader"


def outcome(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the example's tests in ``folder``, in a fresh process outside of this project, with fewer tables."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:hydra_pytest\n")
    (folder / "conftest.py").write_text(FEWER)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_thin_reader.py", *options]
    plugin = loading.for_command_line()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PMI", "OMPI", "PYTEST_"))}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [*command, *plugin], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def copied(folder: Path, old: str = "", new: str = "") -> Path:
    """Return a copy of the example, with ``old`` replaced in the reader."""
    for name in ("thin_reader.py", "test_thin_reader.py"):
        shutil.copy(EXAMPLE / name, folder)
    reader = folder / "thin_reader.py"
    source = reader.read_text()
    assert old in source
    reader.write_text(source.replace(old, new) if old else source)
    return folder


def test_a_foreign_reader_passes_the_contract(tmp_path: Path) -> None:
    done = outcome(copied(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_a_foreign_reader_that_reads_everything_fails_it(tmp_path: Path) -> None:
    done = outcome(copied(tmp_path, "columns=self._names,", ""), "-k", "only_wanted_chunks")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 5 deselected" in done.stdout
    assert "test_only_wanted_chunks_are_read" in done.stdout


def test_the_example_stays_as_short_as_it_says() -> None:
    lines = (EXAMPLE / "thin_reader.py").read_text().splitlines() + (
        EXAMPLE / "test_thin_reader.py"
    ).read_text().splitlines()
    assert sum(bool(line.strip()) and not line.strip().startswith(('"""', "import", "from")) for line in lines) <= 65
