"""Sources hold no unfinished work, placeholders, empty returns or stubs; the scanner finds each where it was put."""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from verification.evidence import Recorder
from verification.patterns import RULES, scan, sources_of, stubs

ROOT = Path(__file__).parents[2]
SCANNED = (ROOT / "dlio_benchmark", ROOT / "verification")
SEEDED = {
    "anti-pattern-1": ("unfinished-marker", "# TO" + "DO: finish\n"),
    "anti-pattern-2": ("placeholder-body", "def read(path):\n    raise NotImplementedError\n"),
    "anti-pattern-3": ("empty-return", "def rows(path):\n    '''Return the rows.'''\n    return []\n"),
    "anti-pattern-4": ("swallowed-exception", "try:\n    work()\nexcept Exception:\n    pass\n"),
}
MORE = {
    "anti-pattern-1": ["x = 1  # FIX" + "ME\n", "# good enough for" + " now\n"],
    "anti-pattern-2": ["class Reader:\n    def open(self):\n        pass\n", "def f():\n    ...\n"],
    "anti-pattern-3": ["def f(x):\n    return {}\n", "def f(x):\n    return None\n"],
    "anti-pattern-4": [
        "try:\n    work()\nexcept:\n    ...\n",
        "with suppress(Exception):\n    work()\n",
        "assert x == x\n",
        "assert (x == y, 'differ')\n",
        "assert True\n",
    ],
}
HARMLESS = """
import contextlib
from abc import abstractmethod
from typing import Protocol

class Reader(Protocol):
    def open(self, path): ...

class Base:
    @abstractmethod
    def read(self, path):
        raise NotImplementedError

    def close(self):
        '''Do nothing: there is nothing to close.'''

def found(name):
    return [] if name else [name]

try:
    work()
except FileNotFoundError:
    pass
assert found('x') == []
"""


def nothing_is_found(evidence: Recorder, folders: Sequence[Path], claim: str) -> None:
    """Hold that no source below the folders has the pattern, and that each file there was looked at."""
    sources = sources_of(*folders)
    names = [name for folder in folders for _, _, found in os.walk(folder) for name in found]
    there = sum(name.endswith(".py") for name in names)
    evidence.hold(there, what="files on the disk", at_least=20, unit="files")
    evidence.hold(len(sources), what="files scanned", at_least=there, at_most=there, unit="files")
    places = scan(sources, RULES[claim])
    evidence.hold(len(places), what="places found", at_most=0, unit="places")
    evidence.equal(places, [], what="the places")


@pytest.mark.parametrize("claim", [pytest.param(claim, marks=pytest.mark.claim(claim)) for claim in RULES])
def test_the_sources_have_no_such_pattern(evidence: Recorder, tmp_path: Path, claim: str) -> None:
    nothing_is_found(evidence, SCANNED, claim)
    name, text = SEEDED[claim]
    seeded = tmp_path / "seeded"
    seeded.mkdir()
    (seeded / "errors.py").write_text(text, encoding="utf-8")  # a name that the other folders have, too
    with evidence.saboteur(name):
        nothing_is_found(evidence, (*SCANNED, seeded), claim)


@pytest.mark.parametrize(("claim", "text"), [(claim, text) for claim, texts in MORE.items() for text in texts])
def test_each_form_of_a_pattern_is_found(claim: str, text: str) -> None:
    assert len(scan({"seeded.py": text}, RULES[claim])) == 1


@pytest.mark.parametrize("claim", RULES)
def test_what_only_looks_alike_is_not_found(claim: str) -> None:
    assert scan({"harmless.py": HARMLESS}, RULES[claim]) == []


@pytest.mark.parametrize("claim", [pytest.param(claim, marks=pytest.mark.claim(claim)) for claim in RULES])
def test_a_spoiled_module_of_the_package_is_found_in_its_place(evidence: Recorder, claim: str) -> None:
    sources = sources_of(ROOT / "dlio_benchmark")
    name, text = SEEDED[claim]
    module = "dlio_benchmark/main.py"
    evidence.equal(scan({module: sources[module]}, RULES[claim]), [], what="places in a module")
    with evidence.saboteur(name):
        spoiled = {module: f"{sources[module]}\n{text}"}
        evidence.equal(scan(spoiled, RULES[claim]), [], what="places in a module")


def test_assertions_of_the_tests_compare_something() -> None:
    own = sources_of(ROOT / "tests")
    found = [(path, *place) for path, text in own.items() for place in stubs(text, ast.parse(text))]
    assert [place for place in found if "assert" in place[-1]] == []
