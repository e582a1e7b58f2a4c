"""The changes that are made to a module: of a comparison, an operator, a number, a truth value, a result, a call."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

NEIGHBOURS: tuple[tuple[type[ast.AST], type[ast.AST]], ...] = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *(
        (ast.And, ast.Or),
        (ast.Add, ast.Sub),
        (ast.Mult, ast.FloorDiv),
        (ast.LShift, ast.RShift),
        (ast.BitAnd, ast.BitOr),
    ),
)
SWAPS = {**dict(NEIGHBOURS), **{other: one for one, other in NEIGHBOURS}, ast.Mod: ast.FloorDiv}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Mutant:
    """Change number ``number`` of a module, counted in the order of its syntax tree.

    ``first`` and ``last`` are the lines of the statement that it stands in (of a compound one: its head).  ``inside``
    says that it stands in the body of a function, so that a module that is imported already can be given it.
    """

    path: str
    number: int
    line: int
    change: str
    first: int = 0
    last: int = 0
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where the walk is: the lines of the statement, and whether a function's body surrounds it."""

    first: int = 1
    last: int = 1
    inside: bool = False


Change = tuple[str, Callable[[], None]]


def mutants(path: str, root: Path) -> list[Mutant]:
    """Return all mutants of a module, given by its path in the tree at ``root``."""
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    return [
        Mutant(path, number, line, said, place.first, place.last, place.inside)
        for number, (line, place, (said, _)) in enumerate(_all_changes(tree))
    ]


def mutated(mutant: Mutant, source: str) -> ast.Module:
    """Return the syntax tree of a module with the change of ``mutant``; lines keep their numbers."""
    tree = ast.parse(source)
    for number, (_, _, (_, apply)) in enumerate(_all_changes(tree)):
        if number == mutant.number:
            apply()
            break
    return ast.fix_missing_locations(tree)


def _all_changes(tree: ast.Module) -> Iterator[tuple[int, Place, Change]]:
    line = 1
    for node, place in _walked(tree, Place()):
        line = getattr(node, "lineno", line)
        for change in _changes_of(node):
            yield line, place, change


def _walked(node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, Place]]:
    """Yield the nodes that matter: no annotations, no words of errors, no protocols, no texts."""
    if isinstance(node, (ast.Raise, ast.JoinedStr)) or _is_protocol(node) or _is_message(node):
        return
    if isinstance(node, ast.stmt):
        place = Place(node.lineno, _end_of_head(node), place.inside)
    yield node, place
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        there = Place(place.first, place.last, inside=True) if _is_body(node, name) else place
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walked(child, there)


def _is_body(node: ast.AST, field: str) -> bool:
    return isinstance(node, FUNCTIONS) and field == "body"


def _end_of_head(node: ast.stmt) -> int:
    body = getattr(node, "body", None)
    last = node.end_lineno or node.lineno
    return max(node.lineno, body[0].lineno - 1) if isinstance(body, list) and body else last


def _is_protocol(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Protocol" for b in node.bases)


def _is_message(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "msg"


def _changes_of(node: ast.AST) -> Iterator[Change]:
    """Yield the changes of one node."""
    found: list[Change | None] = []
    if isinstance(node, ast.Compare):
        found += [_swap(node, "ops", place) for place in range(len(node.ops))]
    elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)):
        found.append(_swap(node, "op"))
    elif isinstance(node, ast.Constant):
        found.append(_constant(node))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        found.append(("not dropped", lambda: _affirm(node)))
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        found.append(("return None", lambda: setattr(node, "value", ast.Constant(None))))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        found.append(("call dropped", lambda: setattr(node, "value", ast.Constant(None))))
    elif isinstance(node, ast.Call):
        found += _without_keyword(node)
    yield from (change for change in found if change is not None)


def _affirm(node: ast.UnaryOp) -> None:
    """Turn ``not x`` into ``not not x``, which is ``x`` as a truth value."""
    node.operand = ast.UnaryOp(ast.Not(), node.operand)


def _swap(owner: ast.AST, name: str, place: int | None = None) -> Change | None:
    """Return the change of the operator that ``owner`` has in field ``name``, to its neighbour."""
    found = getattr(owner, name) if place is None else getattr(owner, name)[place]
    other = SWAPS.get(type(found))
    if other is None:
        return None

    def apply() -> None:
        if place is None:
            setattr(owner, name, other())
        else:
            getattr(owner, name)[place] = other()

    return f"{type(found).__name__} -> {other.__name__}", apply


def _constant(node: ast.Constant) -> Change | None:
    value = node.value
    if isinstance(value, bool):
        return f"{value} -> {not value}", lambda: setattr(node, "value", not value)
    if isinstance(value, int):
        return f"{value} -> {value + 1}", lambda: setattr(node, "value", value + 1)
    return None


def _without_keyword(node: ast.Call) -> Iterator[Change]:
    for place, keyword in enumerate(node.keywords):
        yield f"without {keyword.arg or '**'}=", lambda place=place: node.keywords.pop(place)  # type: ignore[misc]
