"""One verification: the suites as stages, each with its own journal, and the conclusion from all of them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from verification import catalogue, loading
from verification.collect import ENDS, Collected, collect
from verification.errors import JournalError, VerificationError
from verification.journal import Journal, clear, read
from verification.model import Circumstances, Kind, Outcome
from verification.report import Origin, build, write
from verification.report.result import SCHEMA_NAME
from verification.report.write import FORMS
from verification.targets.cli import target

TARGET = "DLIO_VERIFICATION_TARGET"
PROFILE = "DLIO_HYPOTHESIS_PROFILE"
NATIVE = "native"
RESULT = "verification.json"
PREVIOUS = "previous.json"
NOTHING_COLLECTED = 5
QUIET = frozenset({Outcome.PASSED, Outcome.SKIPPED, Outcome.XFAILED})


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the suite that runs as one pytest process."""

    name: str
    paths: tuple[str, ...]


STAGES = (
    Stage("black box", ("tests/black_box",)),
    Stage("unit", ("tests/unit",)),
    Stage("mpi", ("tests/mpi",)),
    Stage("end-to-end", ("tests/end_to_end",)),
    Stage("harness", ("tests/meta",)),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be verified, and how."""

    root: Path
    out: Path
    paths: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    ranks: tuple[int, ...] = (1, 2)
    profile: str = "ci"
    target: str = NATIVE
    jobs: int | None = None

    def stages(self) -> tuple[Stage, ...]:
        """Return the stages to run.

        Raises:
            VerificationError: if one of them is not here.
        """
        if self.paths:
            return (Stage("chosen", self.paths),)
        known = STAGES if self.target == NATIVE else STAGES[:1]
        missing = [path for stage in known for path in stage.paths if not (self.root / path).is_dir()]
        if missing:
            raise VerificationError(
                f"{self.root}: no {', '.join(missing)} here; run this in the whole source tree, or name tests"
            )
        return known


def run(plan: Plan) -> dict[str, Any]:
    """Run all stages of ``plan``, write the report, and return the result."""
    _need_tools()
    target(plan.target)  # one that is no command is refused before anything runs
    stages, journals = plan.stages(), plan.out.resolve() / "journal"
    clear(journals)
    log = Journal(journals, "run")
    log.write("run", stages=[stage.name for stage in stages])
    _set_aside(plan.out)
    for number, stage in enumerate(stages, start=1):
        print(f"[{number}/{len(stages)}] {stage.name}: {' '.join(stage.paths)}", flush=True)
        code = _run_stage(plan, stage, journals / stage.name)
        for gap in _unsaid(plan, code, journals / stage.name):
            log.write("gap", gap=f"{stage.name}: {gap}")
    log.write("finish", exit=0)
    log.close()
    return conclude(plan, [journals])


def _need_tools() -> None:
    absent = [
        name for name in ("pytest", "hypothesis", "jsonschema", "jinja2", "matplotlib") if find_spec(name) is None
    ]
    if absent:
        raise VerificationError(f"{', '.join(absent)}: not installed; pip install 'dlio_benchmark[full]'")


def _set_aside(out: Path) -> None:
    """Remove the report of an earlier run, which nobody may take for that of one that was cut short."""
    if (out / RESULT).exists():
        (out / RESULT).replace(out / PREVIOUS)
    for name in FORMS:
        (out / name).unlink(missing_ok=True)


def _unsaid(plan: Plan, code: int, folder: Path) -> Iterable[str]:
    """Yield what the end of a stage says and its journal does not: that there is none, or that something is red."""
    try:
        found = collect(read([folder]))
    except JournalError:
        yield f"pytest ended with {code} and left no journal"
        return
    if code == NOTHING_COLLECTED and not plan.claims:
        yield "there are no tests"
    elif code not in ENDS and found.complete:
        yield f"pytest ended with {code}"
    elif code == 1 and found.complete and all(check.outcome in QUIET for check in found.checks):
        yield "pytest ended with 1, and no test says why"


def _run_stage(plan: Plan, stage: Stage, folder: Path) -> int:
    command = [sys.executable, "-m", "pytest", *loading.for_command_line(), "-q"]
    # In one word each: pytest looks for its configuration above all words that are paths, whatever they belong to.
    command += [f"--verification-out={folder}", f"--rootdir={plan.root}"]
    command += [f"--mpi-ranks={','.join(map(str, plan.ranks))}"]
    command += [f"--claims={','.join(plan.claims)}"] if plan.claims else []
    command += ["-n", str(plan.jobs if plan.jobs > 1 else 0)] if plan.jobs is not None else []
    here = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(part for part in (str(plan.root), here, os.environ.get("PYTHONPATH", "")) if part)
    environment = {**os.environ, PROFILE: plan.profile, TARGET: plan.target, "PYTHONPATH": path}
    environment["PYTEST_ADDOPTS"] = ""  # what is run is the plan's to say
    return subprocess.run([*command, *stage.paths], cwd=plan.root, env=environment, check=False).returncode


def conclude(plan: Plan, journals: Sequence[Path]) -> dict[str, Any]:
    """Return the result that ``journals`` give, after writing it in all forms to the folder of ``plan``."""
    known = catalogue.load()
    try:
        collected = collect(read(journals))
    except JournalError as error:
        collected = Collected((), False, (str(error),), (), ())
    now = _circumstances(plan, known, collected)
    origin = Origin(
        revision=_revision(plan.root),
        command=["python", "-m", "verification", *sys.argv[1:]],
        evidence_sha256=_digest(journals),
        scope=plan.claims or _asked(plan, collected),
        profile=plan.profile,
        previous=_previous(plan.out / RESULT) or _previous(plan.out / PREVIOUS),
    )
    result = build(known, collected, now, origin)
    write(result, plan.out)
    return result


def _circumstances(plan: Plan, known: catalogue.Catalogue, collected: Collected) -> Circumstances:
    """Return what the verdicts depend on; a foreign target is asked who it is and what it offers."""
    today = datetime.now(UTC).date()
    if plan.target == NATIVE:
        return Circumstances(today=today)
    try:
        told = target(plan.target).describe()
    except VerificationError:
        return Circumstances(today=today, target=plan.target, adapter_works=False)
    return Circumstances(
        today=today,
        target=told.name,
        capabilities=told.capabilities,
        adapter_works=_adapter_works(known, collected),
        environment={"version": told.version, "system": platform.system()},
    )


def _asked(plan: Plan, collected: Collected) -> tuple[str, ...]:
    """Return the claims in scope: for a foreign target those that can be seen from outside, else all."""
    if plan.target == NATIVE:
        return ()
    return tuple(sorted({claim for check in collected.checks for claim in check.claims}))


def _adapter_works(known: catalogue.Catalogue, collected: Collected) -> bool:
    smoke = {claim.id for claim in known.claims.values() if claim.kind is Kind.SMOKE}
    mine = [check for check in collected.checks if smoke & check.claims.keys()]
    return bool(mine) and all(check.outcome is Outcome.PASSED for check in mine)


def _digest(journals: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for place in journals:
        for path in sorted(place.rglob("*.jsonl")) if place.is_dir() else filter(Path.exists, [place]):
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _revision(root: Path) -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = git("rev-parse", "HEAD")
        return f"{revision}{'-modified' if git('status', '--porcelain') else ''}" if revision else "unknown"
    except OSError:
        return "unknown"


def _previous(path: Path) -> Mapping[str, Any] | None:
    try:
        loaded: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) and loaded.get("schema") == SCHEMA_NAME else None
