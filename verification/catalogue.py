"""Claims, saboteurs and expectations as read from the TOML files beside this module, every problem at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from verification import SCHEMA
from verification.errors import CatalogueError
from verification.model import Bound, Claim, Expectation, Kind, Level, Method, Status

HOME = Path(__file__).parent
CLAIMS, EXPECTATIONS = HOME / "claims", HOME / "expectations"
IDENTITY = re.compile(r"[A-Za-z][A-Za-z-]*-[0-9]+")

Word = TypeVar("Word", bound=Enum)


@dataclass(frozen=True, slots=True)
class Saboteur:
    """A deliberately wrong implementation: its name, the part it stands in for, and what it does wrong."""

    name: str
    part: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything declared: claims by id, saboteurs by name, expected failures."""

    claims: Mapping[str, Claim]
    saboteurs: Mapping[str, Saboteur]
    expectations: tuple[Expectation, ...] = ()

    def select(self, patterns: Sequence[str]) -> tuple[Claim, ...]:
        """Return the claims whose id matches one of the ``patterns`` with ``*``, and all they rest on."""
        chosen = [c for c in self.claims if any(fnmatchcase(c.lower(), p.lower()) for p in patterns)]
        unknown = [p for p in patterns if not any(fnmatchcase(c.lower(), p.lower()) for c in self.claims)]
        if unknown:
            raise CatalogueError((f"{p}: no claim has such an id" for p in unknown), "unknown claims were selected")
        wanted: dict[str, None] = {}
        while chosen:
            identity = chosen.pop(0)
            if identity not in wanted:
                wanted[identity] = None
                chosen += self.claims[identity].rests_on
        return tuple(claim for claim in self.claims.values() if claim.id in wanted)


def load(claims: Path = CLAIMS, expectations: Path = EXPECTATIONS) -> Catalogue:
    """Return the catalogue found in two folders of TOML files.

    Raises:
        CatalogueError: if anything is missing, unknown, of the wrong type or refers to nothing.
    """
    problems: list[str] = []
    found: dict[str, Claim] = {}
    saboteurs: dict[str, Saboteur] = {}
    for name, document in _documents(claims, problems):
        for identity, row in _table(document, "claim", name, problems):
            where = f"{name}: {identity}"
            claim = _claim(identity, row, where, problems)
            if identity in found:
                problems.append(f"{where}: the id is used twice")
            if claim is not None:
                found[identity] = claim
        for title, row in _table(document, "saboteur", name, problems):
            saboteur = _saboteur(title, row, f"{name}: saboteur {title}", problems)
            if saboteur is not None:
                saboteurs[title] = saboteur
    known_failures = [
        expected
        for name, document in _documents(expectations, problems)
        for number, row in enumerate(document.get("expected", []))
        if (expected := _expectation(row, f"{name}: expected[{number}]", problems)) is not None
    ]
    problems += _dangling(found, saboteurs, known_failures)
    if problems:
        raise CatalogueError(problems)
    order = list(Kind)
    claims_by_kind = dict(sorted(found.items(), key=lambda pair: order.index(pair[1].kind)))
    return Catalogue(claims_by_kind, saboteurs, tuple(known_failures))


def _documents(folder: Path, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.glob("*.toml")):
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            problems.append(f"{path.name}: {error}")
            continue
        if document.pop("schema", None) != SCHEMA:
            problems.append(f"{path.name}: schema must be {SCHEMA}")
        unknown = document.keys() - {"claim", "saboteur", "expected"}
        problems.extend(f"{path.name}: unknown table {key}" for key in sorted(unknown))
        yield path.name, document


def _table(
    document: Mapping[str, Any], key: str, name: str, problems: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        problems.append(f"{name}: {key} must be a table")
        return
    for identity, row in table.items():
        if isinstance(row, dict):
            yield identity, row
        else:
            problems.append(f"{name}: {key} {identity} must be a table")


def _word(kind: type[Word]) -> Callable[[Any], Word]:
    def parse(value: Any) -> Word:
        try:
            return kind(value)
        except ValueError:
            words = ", ".join(str(member.value) for member in kind)
            raise ValueError(f"{value!r} is not one of {words}") from None

    return parse


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a text, got {value!r}")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"must be a whole number of at least 1, got {value!r}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(set(map(str, value))) != len(value):
        raise ValueError(f"must be a list of different texts, got {value!r}")
    return tuple(_text(item) for item in value)


def _counts(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of whole numbers, got {value!r}")
    return tuple(sorted({_count(item) for item in value}))


def _bounds(value: Any) -> dict[str, Bound]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table, got {value!r}")
    return {what: Bound(**bound) for what, bound in value.items()}


def _cover(value: Any) -> dict[str, dict[str, int]]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table, got {value!r}")
    wanted: dict[str, dict[str, int]] = {}
    for key, row in value.items():
        pairs = row.items() if isinstance(row, dict) else ((item, 1) for item in _texts(row))
        wanted[key] = {_text(item): _count(least) for item, least in pairs}
    return wanted


def _mapping(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table of texts, got {value!r}")
    return {key: _text(item) for key, item in value.items()}


PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "text": _text,
    "kind": _word(Kind),
    "level": _word(Level),
    "method": _word(Method),
    "revision": _count,
    "ranks": _counts,
    "needs": lambda value: frozenset(_texts(value)),
    "checks": _count,
    "bounds": _bounds,
    "saboteurs": _texts,
    "catches": _count,
    "must_cover": _cover,
    "rests_on": _texts,
    "requirement": _text,
    "subject": _mapping,
}
REQUIRED = ("text", "kind", "level", "method", "revision")


def _claim(identity: str, row: Mapping[str, Any], where: str, problems: list[str]) -> Claim | None:
    before = len(problems)
    if not IDENTITY.fullmatch(identity):
        problems.append(f"{where}: an id is words and a number joined by hyphens")
    problems.extend(f"{where}: {key} is missing" for key in REQUIRED if key not in row)
    values = {}
    for key, value in row.items():
        if key not in PARSERS:
            problems.append(f"{where}: unknown key {key}")
            continue
        try:
            values[key] = PARSERS[key](value)
        except (ValueError, TypeError) as error:
            problems.append(f"{where}: {key}: {error}")
    return Claim(id=identity, **values) if len(problems) == before else None


def _saboteur(name: str, row: Mapping[str, Any], where: str, problems: list[str]) -> Saboteur | None:
    if set(row) != {"part", "wrong"} or not all(isinstance(value, str) for value in row.values()):
        problems.append(f"{where}: must say part and wrong, in texts")
        return None
    return Saboteur(name, row["part"], row["wrong"])


def _expectation(row: Any, where: str, problems: list[str]) -> Expectation | None:
    wanted = {field.name for field in fields(Expectation)}
    if not isinstance(row, dict) or not wanted - {"condition"} <= set(row) <= wanted:
        problems.append(f"{where}: must say {', '.join(sorted(wanted - {'condition'}))}, and may say condition")
        return None
    try:
        if type(row["expires"]) is not date:
            raise ValueError(f"expires must be a date, got {row['expires']!r}")
        words = {key: _text(row[key]) for key in ("claim", "target", "reason", "witness")}
        status, condition = _word(Status)(row["status"]), _mapping(row.get("condition", {}))
    except ValueError as error:
        problems.append(f"{where}: {error}")
        return None
    return Expectation(**words, status=status, expires=row["expires"], condition=condition)


def _dangling(
    claims: Mapping[str, Claim], saboteurs: Mapping[str, Saboteur], expectations: Iterable[Expectation]
) -> list[str]:
    problems = []
    for claim in claims.values():
        problems += [
            f"{claim.id}: rests on {part}, which is not declared" for part in claim.rests_on if part not in claims
        ]
        problems += [
            f"{claim.id}: saboteur {name} is not declared" for name in claim.saboteurs if name not in saboteurs
        ]
        if claim.id in _reachable(claim, claims):
            problems.append(f"{claim.id}: rests on itself")
    problems += [
        f"an expected failure names {e.claim}, which is not declared" for e in expectations if e.claim not in claims
    ]
    return problems


def _reachable(claim: Claim, claims: Mapping[str, Claim]) -> set[str]:
    seen: set[str] = set()
    ahead = list(claim.rests_on)
    while ahead:
        part = ahead.pop()
        if part not in seen and part in claims:
            seen.add(part)
            ahead += claims[part].rests_on
    return seen
