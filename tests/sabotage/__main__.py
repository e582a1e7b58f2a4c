"""Breaks the product in a scratch copy, one way at a time, and records which claims turn red.

``python -m tests.sabotage [NAME...]`` takes the committed sources, so that work at hand does not count.  It ends with
an error if a claim stays green, or if a text to replace is not there exactly once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from verification import loading
from verification.catalogue import load
from verification.collect import collect
from verification.journal import read
from verification.judge import judge
from verification.lint import Bindings, collect_bindings
from verification.model import Check, Circumstances, Outcome, Status
from verification.mpi.launch import clean_environment

ROOT = Path(__file__).parents[2]
TABLE = Path("docs/sabotage.md")
RED = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED, Outcome.TIMEOUT, Outcome.VACUOUS})
RANKS = (1, 2)
LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Sabotage:
    """A text of a file that becomes another, and the claims that must notice."""

    name: str
    claims: tuple[str, ...]
    file: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """Break the product below ``root``.

        Raises:
            ValueError: if the text is not there exactly once.
        """
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} has the text to replace {text.count(self.old)} times, not once")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Noticed:
    """What became of a claim: its status, and the check that turned red."""

    claim: str
    status: Status
    check: str

    @property
    def red(self) -> bool:
        """Whether a check noticed, rather than none having run."""
        return bool(self.check)


def sabotages() -> list[Sabotage]:
    """Return all sabotages."""
    table = tomllib.loads((Path(__file__).parent / "sabotages.toml").read_text(encoding="utf-8"))
    return [Sabotage(name, tuple(row.pop("claims")), **row) for name, row in table.items()]


def uncovered(found: Sequence[Sabotage], kinds: Sequence[str] = ("truth", "artifact", "link")) -> list[str]:
    """Return the claims of ``kinds`` that no sabotage is about."""
    known = {claim for sabotage in found for claim in sabotage.claims}
    return [claim.id for claim in load().claims.values() if claim.kind.value in kinds and claim.id not in known]


def copy_of_head(folder: Path) -> Path:
    """Return a folder with the committed sources."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def try_claim(root: Path, claim: str, bindings: Bindings) -> Noticed:
    """Run the checks of a claim below ``root``, up to the first that fails, and return what they say.

    If the claim is open only because the others did not run, they run, too: the status has to be that of what broke.
    """
    noticed = _try(root, claim, bindings, "-x")
    return _try(root, claim, bindings) if noticed.status is Status.NOT_RUN else noticed


def _try(root: Path, claim: str, bindings: Bindings, *options: str) -> Noticed:
    out = root / ".sabotage"
    shutil.rmtree(out, ignore_errors=True)
    tests = sorted({test.partition("::")[0] for test in bindings.get(claim, {})}, key=_cost)
    command = [sys.executable, "-m", "pytest", *loading.for_command_line(), "-q", "-p", "no:cacheprovider", *options]
    command += ["--claims", claim, "--verification-out", str(out), "--mpi-ranks", ",".join(map(str, RANKS))]
    extra = {"PYTHONPATH": os.pathsep.join([str(root)]), "PYTEST_ADDOPTS": "", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [*command, *tests], cwd=root, env=clean_environment(extra), capture_output=True, check=False, timeout=LIMIT_S
    )
    known, checks = load(), collect(read([out])).checks
    verdict = judge(known.claims.values(), checks, Circumstances(datetime.now(UTC).date()))[claim]
    return Noticed(claim, verdict.status, next((_short(check) for check in checks if _is_red(check, claim)), ""))


def _cost(test: str) -> tuple[bool, bool, str]:
    """Return the place of a file: the first look at a claim before the second, what starts no ranks before all."""
    return not test.startswith("tests/unit"), "second_look" in test, test


def _is_red(check: Check, claim: str) -> bool:
    return check.outcome in RED and claim in check.claims


def _short(check: Check) -> str:
    file, _, test = check.id.rpartition("::")
    ranks = f" on {check.ranks} ranks" if check.ranks > 1 else ""
    return f"`{Path(file).name}::{test.partition('[')[0]}`{ranks}"


def run(chosen: Sequence[Sabotage]) -> dict[str, list[Noticed]]:
    """Return, per sabotage, what each of its claims became."""
    found: dict[str, list[Noticed]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = copy_of_head(Path(folder))
        bindings, problems = collect_bindings(root, RANKS)
        if problems:
            raise SystemExit("\n".join(problems))
        for sabotage in chosen:
            path = root / sabotage.file
            right = path.read_bytes()
            sabotage.apply(root)
            found[sabotage.name] = [try_claim(root, claim, bindings) for claim in sabotage.claims]
            path.write_bytes(right)
            for noticed in found[sabotage.name]:
                print(f"{sabotage.name}: {noticed.claim} {noticed.status.value} {noticed.check}", flush=True)
    return found


def table(chosen: Sequence[Sabotage], found: Mapping[str, Sequence[Noticed]]) -> str:
    """Return the document that shows what caught which sabotage."""
    rows = [(sabotage, noticed) for sabotage in chosen for noticed in found[sabotage.name]]
    caught = sum(all(noticed.red for noticed in found[sabotage.name]) for sabotage in chosen)
    lines = [
        "# Sabotage by hand",
        "",
        "The product is broken in a scratch copy of the committed sources, one text at a time, and the checks of the",
        "claims that must notice are run there. Written by `python -m tests.sabotage`; the texts are in",
        "`tests/sabotage/sabotages.toml`.",
        "",
        f"{caught} of {len(chosen)} sabotages turned every claim red that they are about: {len(rows)} claims in all.",
        "",
        "| sabotage | broken file | claim | became | first check that failed |",
        "|---|---|---|---|---|",
    ]
    for one, seen in rows:
        became = seen.status.value if seen.red else "not noticed"
        lines.append(f"| {one.name} | `{one.file}` | {seen.claim} | {became} | {seen.check} |")
    return "\n".join([*lines, ""])


def main(names: Sequence[str]) -> int:
    """Try the named sabotages, or all and write the table; return an exit status."""
    known = sabotages()
    chosen = [one for one in known if one.name in names] if names else known
    missing = [] if names else [f"no sabotage is about {claim}" for claim in uncovered(known)]
    found = run(chosen)
    if not names:
        (ROOT / TABLE).write_text(table(chosen, found), encoding="utf-8")
    bad = [f"{name}: {seen.claim} stayed green" for name, all_ in found.items() for seen in all_ if not seen.red]
    print("\n".join([*missing, *bad, f"{len(found)} sabotages, {len(bad)} claims stayed green"]))
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
