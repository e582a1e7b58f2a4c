"""Patterns that must not stand in sources, each found by a rule on comments or on the syntax tree.

A rule yields the line and the reason of each place.  The scanner is calibrated on sources that contain the patterns.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

Place = tuple[int, str]
Rule = Callable[[str, ast.Module], Iterator[Place]]

MARKER = re.compile(r"\b(TODO|FIXME|XXX|HACK|TBD|WIP)\b|for now\b", re.IGNORECASE)
BROAD = ("Exception", "BaseException")


def scan(sources: Mapping[str, str], rule: Rule) -> list[str]:
    """Return every place of ``sources`` (text by path) that ``rule`` finds, as ``path:line: reason``."""
    return [f"{path}:{line}: {reason}" for path, text in sources.items() for line, reason in _places(text)[rule]]


@cache
def _places(text: str) -> Mapping[Rule, Sequence[Place]]:
    """Return what each rule finds: a text is parsed once for all of them, and only its tree is too large to be kept."""
    tree = ast.parse(text)
    return {rule: tuple(rule(text, tree)) for rule in RULES.values()}


def sources_of(*folders: Path) -> dict[str, str]:
    """Return the text of every Python file below ``folders``, which differ in name, by path from beside its folder."""
    return {
        str(path.relative_to(folder.parent)): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
    }


def markers(text: str, _tree: ast.Module) -> Iterator[Place]:
    """Find comments that say that something is still to be done."""
    if not MARKER.search(text):
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and MARKER.search(token.string):
            yield token.start[0], token.string


def placeholders(_text: str, tree: ast.Module) -> Iterator[Place]:
    """Find functions that only raise NotImplementedError, or pass without saying that doing nothing is right."""
    for function in _promising(tree):
        body = _statements(function)
        if len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplemented" in ast.unparse(body[0]):
            yield function.lineno, f"{function.name} only raises {ast.unparse(body[0])}"
        elif ast.get_docstring(function) is None and all(map(_is_nothing, body)):
            yield function.lineno, f"{function.name} does nothing and does not say why"


def empty_returns(_text: str, tree: ast.Module) -> Iterator[Place]:
    """Find functions of arguments that return one empty value whatever they are given."""
    for function in _promising(tree):
        body = _statements(function)
        names = [argument.arg for argument in function.args.args if argument.arg not in ("self", "cls")]
        if names and len(body) == 1 and isinstance(body[0], ast.Return) and _is_empty(body[0].value):
            yield function.lineno, f"{function.name} returns {ast.unparse(body[0].value or ast.Constant(None))}"


def stubs(_text: str, tree: ast.Module) -> Iterator[Place]:
    """Find exceptions that are caught whatever they are and forgotten, and assertions that compare nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and all(map(_is_nothing, node.body)):
            yield node.lineno, "an exception of any kind is caught and forgotten"
        elif (
            isinstance(node, ast.Call)
            and any(isinstance(one, ast.Name) and one.id in BROAD for one in node.args)
            and ast.unparse(node.func).endswith("suppress")
        ):
            yield node.lineno, "exceptions of any kind are suppressed"
        elif isinstance(node, ast.Assert) and _compares_nothing(node.test):
            yield node.lineno, f"assert {ast.unparse(node.test)} cannot fail"


RULES: Mapping[str, Rule] = {
    "anti-pattern-1": markers,
    "anti-pattern-2": placeholders,
    "anti-pattern-3": empty_returns,
    "anti-pattern-4": stubs,
}


@lru_cache(maxsize=1)
def _promising(tree: ast.Module) -> Sequence[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the functions that promise behaviour: not those of protocols, for types alone, abstract, or overloads."""
    nodes = list(ast.walk(tree))
    declared = {id(function) for node in nodes if _only_declares(node) for function in ast.walk(node)}
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node for node in functions if id(node) not in declared and not _is_left_to_others(node)]


def _is_left_to_others(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    marks = " ".join(map(ast.unparse, function.decorator_list))
    return "abstractmethod" in marks or "overload" in marks


def _only_declares(node: ast.AST) -> bool:
    if isinstance(node, ast.ClassDef):
        return any("Protocol" in ast.unparse(base) for base in node.bases)
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _statements(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    return function.body[1:] if ast.get_docstring(function) is not None else function.body


def _is_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass)


def _is_empty(value: ast.expr | None) -> bool:
    if value is None or (isinstance(value, ast.Constant) and not value.value and value.value is not False):
        return True
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        return not value.elts
    return isinstance(value, ast.Dict) and not value.keys


def _is_broad(kind: ast.expr | None) -> bool:
    return kind is None or any(isinstance(one, ast.Name) and one.id in BROAD for one in ast.walk(kind))


def _compares_nothing(test: ast.expr) -> bool:
    if isinstance(test, ast.Tuple):
        return bool(test.elts)
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.Compare) and len(test.comparators) == 1 and isinstance(test.ops[0], ast.Eq):
        same = ast.dump(test.left) == ast.dump(test.comparators[0])
        return same and not any(isinstance(node, ast.Call) for node in ast.walk(test))
    return False
