"""The command line: `run` (the default), `report`, `matrix`, `gate`, `why`, `lint`, `list`.

The exit code is 0 only if every must-claim in scope is VERIFIED and the journal is complete; 1 says that it is not,
2 that the command cannot be understood.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from verification import catalogue
from verification.errors import VerificationError
from verification.gate import Demands, objections
from verification.lint import lint
from verification.matrix import matrix
from verification.report.markdown import evidence_cell
from verification.report.result import SCHEMA_NAME
from verification.run import RESULT, Plan, conclude, run
from verification.targets.cli import target
from verification.targets.exchange import exchange, markdown

OUT = "verification-out"
PROFILES = ("dev", "ci", "nightly")
PASSED, GAPS, USAGE = 0, 1, 2

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "run")
    options = _parser().parse_args(given)
    try:
        return int(options.command(options))
    except VerificationError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(error if error.filename is None else f"{error.filename}: {error.strerror}", file=sys.stderr)
    return USAGE


def console() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dlio-verify", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: Command, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=action)
        return added

    one = command("run", _run, "run the checks and write the report")
    one.add_argument("paths", nargs="*", help="tests to run instead of all stages")
    one.add_argument("--claims", type=_words, default=(), metavar="IDS", help="only these claims, e.g. truth-4,link-*")
    one.add_argument("--ranks", type=_numbers, default=(1, 2), metavar="N,..", help="numbers of ranks (default 1,2)")
    one.add_argument("--profile", default="ci", choices=PROFILES, help="Hypothesis profile (default ci)")
    one.add_argument("--target", default="native", help="what is verified: native, [NAME=]PYTHON or [NAME=]COMMAND")
    one.add_argument("--out", type=Path, default=Path(OUT), help=f"folder of the report (default {OUT})")
    one.add_argument(
        "--jobs", type=int, help="processes for the serial tests (needs pytest-xdist; default: the suite's)"
    )

    one = command("report", _report, "write the report from journals, also of runs that were cut short")
    one.add_argument("journals", nargs="+", type=Path, help="journals or folders of journals")
    one.add_argument("--out", type=Path, default=Path(OUT))
    one.add_argument("--claims", type=_words, default=())
    one.add_argument("--target", default="native", help="what the journals are of")

    one = command("matrix", _matrix, "print claims by targets from results, or which target reads whose files")
    one.add_argument("results", nargs="*", type=Path, help=f"{RESULT} files")
    one.add_argument("--exchange", nargs="+", default=(), metavar="TARGET", help="producer by consumer instead")
    one.add_argument("--json", action="store_true", help="print JSON instead of Markdown")

    one = command("gate", _gate, "judge a result for a merge: exit 0 only if nothing is missing")
    one.add_argument("result", nargs="?", type=Path, default=Path(OUT) / RESULT)
    one.add_argument("--require", choices=["must", "all"], default="must", help="which claims must be VERIFIED")
    one.add_argument("--not-run", type=int, default=0, help="how many claims may be NOT RUN or without a check")
    one.add_argument("--ranks", type=_numbers, default=(), help="numbers of ranks with which checks must have run")
    one.add_argument("--partial", action="store_true", help="the result may be about some of the claims only")
    one.add_argument("--baseline", type=Path, help="an older result: its claims must still exist, its passes stay")

    one = command("why", _why, "say why a claim has its status")
    one.add_argument("claim")
    one.add_argument("--out", type=Path, default=Path(OUT))

    one = command("lint", _lint, "check that claims, tests, saboteurs and expectations fit together")
    one.add_argument("--ranks", type=_numbers, default=(1, 2))

    one = command("list", _list, "list the claims")
    one.add_argument("--claims", type=_words, default=("*",))
    return parser


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 1,2") from None
    if numbers[0] < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a job has at least 1 rank")
    return numbers


def _run(options: argparse.Namespace) -> int:
    plan = Plan(
        root=Path.cwd(),
        out=options.out,
        paths=tuple(options.paths),
        claims=options.claims,
        ranks=options.ranks,
        profile=options.profile,
        target=options.target,
        jobs=options.jobs,
    )
    return _tell(run(plan), options.out)


def _report(options: argparse.Namespace) -> int:
    plan = Plan(root=Path.cwd(), out=options.out, claims=options.claims, target=options.target)
    return _tell(conclude(plan, options.journals), options.out)


def _tell(result: Mapping[str, Any], out: Path) -> int:
    for row in result["claims"]:
        print(f"{row['status']:<17} {row['id']:<16} {row['text'][:90]}")
    for row in result["unbound_failures"]:
        print(f"{row['outcome'].upper():<17} {row['id']}")
    for reason in result["incomplete_because"]:
        print(f"incomplete: {reason}")
    truths, score = result["truths"], result["score"]
    print(
        f"\n{result['status']}: truths {truths['verified']}/{truths['total']}, "
        f"must-claims {score['verified']}/{score['total']}, "
        f"saboteurs {result['kill_score']['caught']}/{result['kill_score']['declared']}, left to a human: none\n"
        f"report: {out / 'verification.html'}, {out / 'VERIFICATION.md'}"
    )
    return PASSED if result["status"] == "passed" else GAPS


def _matrix(options: argparse.Namespace) -> int:
    if not options.exchange:
        print(matrix([_load(path) for path in options.results], as_json=options.json))
        return PASSED
    targets = {one.name: one for one in map(target, options.exchange)}
    with tempfile.TemporaryDirectory() as folder:
        table = exchange(targets, Path(folder))
    print(json.dumps(table, indent=1) if options.json else markdown(table))
    return GAPS if any(":" in cell for row in table.values() for cell in row.values()) else PASSED


def _gate(options: argparse.Namespace) -> int:
    demands = Demands(options.require == "all", options.not_run, options.ranks, options.partial)
    baseline = _load(options.baseline) if options.baseline else None
    found = objections(_load(options.result), demands, baseline)
    for objection in found:
        print(objection)
    print("the gate is closed" if found else "the gate is open")
    return GAPS if found else PASSED


def _why(options: argparse.Namespace) -> int:
    result = _load(options.out / RESULT)
    rows = [row for row in result["claims"] if row["id"].lower() == options.claim.lower()]
    if not rows:
        raise VerificationError(f"{options.claim}: no such claim in {options.out / RESULT}")
    row = rows[0]
    print(f"{row['id']} (revision {row['revision']}, {row['level']}): {row['text']}\n{row['status']}")
    for reason in row["reasons"]:
        print(f"  because {reason}")
    for check in row["checks"]:
        print(f"  {check['outcome']:<8} {check['id']} on {check['ranks']} rank(s); repeat: {check['repeat']}")
    print(f"  evidence: {evidence_cell(row)}")
    return PASSED if row["status"] == "VERIFIED" else GAPS


def _lint(options: argparse.Namespace) -> int:
    problems = lint(Path.cwd(), catalogue.load(), options.ranks)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problem(s)")
    return GAPS if problems else PASSED


def _list(options: argparse.Namespace) -> int:
    for claim in catalogue.load().select(options.claims):
        print(f"{claim.id:<16} {claim.kind.value:<12} {claim.level.value:<6} {claim.text}")
    return PASSED


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VerificationError(f"{path}: cannot be read as a result: {error}") from None
    if not isinstance(loaded, dict) or loaded.get("schema") != SCHEMA_NAME:
        raise VerificationError(f"{path}: is no result of a verification: it has not the schema {SCHEMA_NAME!r}")
    return loaded
