"""Whether claims, tests, saboteurs and expectations fit together, before anything runs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from verification import loading
from verification.catalogue import Catalogue

SOURCES = ("tests", "verification")
OTHERS = "cases"  # suites of samples, which have a catalogue of their own
Bindings = Mapping[str, Mapping[str, Sequence[int]]]


def lint(root: Path, known: Catalogue, ranks: Sequence[int], today: date | None = None) -> list[str]:
    """Return every misfit of the source tree at ``root``, one line each."""
    bindings, problems = collect_bindings(root, ranks)
    problems = list(problems)
    if not problems:
        problems += orphans(known, bindings)
    try:
        problems += unknown_or_untried(known, strings_of(root))
    except SyntaxError as error:
        problems.append(f"{error.filename}:{error.lineno}: {error.msg}")
    now = today or datetime.now(UTC).date()
    problems += [
        f"the expected failure of {e.claim} on {e.target} expired on {e.expires}: {e.reason}"
        for e in known.expectations
        if now >= e.expires
    ]
    return problems


def collect_bindings(root: Path, ranks: Sequence[int]) -> tuple[Bindings, list[str]]:
    """Return which tests show which claims with how many ranks, or the errors of the collection."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "bindings.json"
        command = [sys.executable, "-m", "pytest", *loading.for_command_line(), "--collect-only", "-q"]
        command += ["--verification-bindings", str(found), "--mpi-ranks", ",".join(map(str, ranks))]
        path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
        )
        if done.returncode not in (0, 5) or not found.exists():
            return {}, [f"the tests cannot be collected: {(done.stderr or done.stdout).strip()[-2000:]}"]
        bindings: Bindings = json.loads(found.read_text(encoding="utf-8"))
        return bindings, []


def orphans(known: Catalogue, bindings: Bindings) -> list[str]:
    """Return claims that no test shows, or not as often or not with as many ranks as they want."""
    problems = []
    for claim in known.claims.values():
        if claim.is_a_sum or "computed" in claim.subject:
            continue
        tests = bindings.get(claim.id, {})
        if len(tests) < claim.checks:
            problems.append(f"{claim.id}: {len(tests)} test(s) are bound to it, {claim.checks} are wanted")
        missing = set(claim.ranks) - {size for sizes in tests.values() for size in sizes}
        if tests and missing:
            problems.append(f"{claim.id}: no test runs with {sorted(missing)} rank(s)")
        if not claim.saboteurs:
            problems.append(f"{claim.id}: declares no saboteur")
    return problems


def unknown_or_untried(known: Catalogue, mentioned: Iterable[tuple[str, str]]) -> list[str]:
    """Return trials of saboteurs that are not declared, and declared saboteurs that no source mentions."""
    trials: set[str] = set()
    words: set[str] = set()
    for kind, text in mentioned:
        (trials if kind == "trial" else words).add(text)
    problems = [f"saboteur {name} is tried but not declared" for name in sorted(trials - known.saboteurs.keys())]
    problems += [f"saboteur {name} is declared but never tried" for name in known.saboteurs if name not in words]
    used = {name for claim in known.claims.values() for name in claim.saboteurs}
    problems += [f"saboteur {name} belongs to no claim" for name in known.saboteurs if name not in used]
    return problems


def strings_of(root: Path) -> Iterable[tuple[str, str]]:
    """Yield every string of the sources as a `word`, and names given to `evidence.saboteur` also as a `trial`."""
    for folder in SOURCES:
        for path in sorted(path for path in (root / folder).rglob("*.py") if OTHERS not in path.parts):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield "word", node.value
                elif isinstance(node, ast.Call) and _is_trial(node):
                    yield "trial", str(getattr(node.args[0], "value", ""))


def _is_trial(call: ast.Call) -> bool:
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr in ("saboteur", "caught")
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "evidence"
        and bool(call.args)
        and isinstance(call.args[0], ast.Constant)
    )
