"""What the modules of a package import and call, read from their source, and the rules that it can break.

Nothing is imported: the source is parsed, so that a module counts even if it cannot be loaded here.  Each rule
returns its violations as text, one per place.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Layers = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Import:
    """Module ``by`` imports ``what`` in line ``line``: in a function if ``inside``, for types alone if ``typing``."""

    by: str
    what: str
    line: int
    inside: bool = False
    typing: bool = False

    def __str__(self) -> str:
        return f"{self.by}:{self.line} imports {self.what}"


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The modules of a package, by dotted name, as syntax trees."""

    package: str
    trees: Mapping[str, ast.Module]

    def imports(self) -> Sequence[Import]:
        """Return every import of every module, those of sub-modules by their full name."""
        return _imports(self)

    def find(self) -> Iterator[Import]:
        """Yield what `imports` returns, found anew."""
        for module, tree in self.trees.items():
            yield from self._found(module, tree)

    def _found(self, module: str, node: ast.AST, inside: bool = False, typing: bool = False) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(module, alias.name, child.lineno, inside, typing) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from (Import(module, what, child.lineno, inside, typing) for what in self._named(module, child))
            else:
                deeper = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                for_types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
                yield from self._found(module, child, deeper, typing or for_types)

    def _named(self, module: str, node: ast.ImportFrom) -> list[str]:
        base = node.module or ""
        if node.level:
            parents = module.split(".") + ([""] if self._is_package(module) else [])
            base = ".".join([*parents[: -node.level], *([base] if base else [])])
        full = {alias.name: f"{base}.{alias.name}" for alias in node.names}
        whole = [] if all(name in self.trees for name in full.values()) else [base]
        return [*whole, *(name for name in full.values() if name in self.trees)]

    def _is_package(self, module: str) -> bool:
        return any(other.startswith(f"{module}.") for other in self.trees)


@functools.lru_cache(maxsize=2)
def _imports(source: Source) -> tuple[Import, ...]:
    return tuple(source.find())


def read_package(folder: Path) -> Source:
    """Return the modules of the package in ``folder``."""
    trees = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return Source(folder.name, trees)


def below(name: str, prefix: str) -> bool:
    """Return whether a dotted name is ``prefix`` or lies below it."""
    return name == prefix or name.startswith(f"{prefix}.")


def layer_of(module: str, layers: Layers) -> int | None:
    """Return the number of the layer whose longest entry covers a module, or None if none does.

    An entry covers the module of its name and all below it; ``p.__init__`` covers package ``p`` alone.
    """
    found = [
        (len(entry), number) for number, entries in enumerate(layers) for entry in entries if _covers(entry, module)
    ]
    return max(found)[1] if found else None


def _covers(entry: str, module: str) -> bool:
    return below(module, entry) or entry == f"{module}.__init__"


def homeless(source: Source, layers: Layers) -> list[str]:
    """Return the modules that belong to no layer, and the entries that cover no module."""
    lost = [f"{module} is in no layer" for module in source.trees if layer_of(module, layers) is None]
    idle = [entry for entries in layers for entry in entries if not any(_covers(entry, name) for name in source.trees)]
    return lost + [f"{entry} is in the list of layers, but does not exist" for entry in idle]


def upward(imports: Sequence[Import], layers: Layers, allowed: Collection[tuple[str, str]] = ()) -> list[str]:
    """Return the imports of a module of a higher layer."""
    problems = []
    for one in imports:
        low, high = layer_of(one.by, layers), layer_of(one.what, layers)
        if low is not None and high is not None and low < high and (one.by, one.what) not in allowed:
            problems.append(f"{one}: layer {low} imports layer {high}")
    return problems


def cycles(imports: Sequence[Import], allowed: Collection[tuple[str, str]] = ()) -> list[str]:
    """Return the groups of modules that import each other in a circle when they run."""
    targets: dict[str, set[str]] = {}
    for one in imports:
        if not one.typing and (one.by, one.what) not in allowed:
            targets.setdefault(one.by, set()).add(one.what)
    reach = {module: _reachable(module, targets) for module in targets}
    rings = {tuple(sorted(other for other in reach[m] if m in reach.get(other, ()))) for m in reach if m in reach[m]}
    return [f"import each other in a circle: {', '.join(ring)}" for ring in sorted(rings)]


def _reachable(start: str, targets: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for target in targets.get(waiting.pop(), ()):
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return seen


def forbidden(imports: Sequence[Import], layers: Layers, up_to: int, names: Collection[str]) -> list[str]:
    """Return the imports of the given names in the layers up to ``up_to``."""
    return [
        str(one)
        for one in imports
        if (layer := layer_of(one.by, layers)) is not None
        and layer <= up_to
        and any(below(one.what, name) for name in names)
    ]


def across(imports: Sequence[Import], target: str, allowed: Collection[str] = ()) -> list[str]:
    """Return the imports of package ``target`` from modules that are not below ``allowed``."""
    return [
        str(one) for one in imports if below(one.what, target) and not any(below(one.by, entry) for entry in allowed)
    ]


def hidden(imports: Sequence[Import], allowed: Collection[tuple[str, str]]) -> list[str]:
    """Return the imports inside functions; (module, target) pairs allow them, with "" for any module."""
    return [str(one) for one in imports if one.inside and not _allows(allowed, one)]


def unused(imports: Sequence[Import], allowed: Collection[tuple[str, str]]) -> list[str]:
    """Return the permissions that no import inside a function needs."""
    inside = [one for one in imports if one.inside]
    return [f"{pair} is allowed but not used" for pair in allowed if not any(_allows([pair], one) for one in inside)]


def _allows(allowed: Collection[tuple[str, str]], one: Import) -> bool:
    return any((not by or below(one.by, by)) and below(one.what, what) for by, what in allowed)


@dataclass(frozen=True, slots=True)
class Ban:
    """A dotted name that is neither imported nor used, or a keyword argument ``name=True``, below ``within``."""

    name: str
    within: str = ""
    keyword: bool = False


def banned(source: Source, bans: Sequence[Ban], exempt: Collection[tuple[str, str]] = ()) -> list[str]:
    """Return the uses of banned names; (module, name) pairs are exempt."""
    return [
        f"{module}:{line} uses {ban.name}"
        for module, tree in source.trees.items()
        for ban, line in _uses(tree, [ban for ban in bans if not ban.within or below(module, ban.within)])
        if (module, ban.name) not in exempt
    ]


def _uses(tree: ast.Module, bans: Sequence[Ban]) -> list[tuple[Ban, int]]:
    found = {
        (ban, node.lineno): None
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword | ast.Import | ast.ImportFrom | ast.Attribute | ast.Call)
        for used, keyword in [_used(node)]
        for ban in bans
        if ban.keyword is keyword and any(below(name, ban.name) for name in used)
    }
    return list(found)


def _used(node: ast.keyword | ast.Import | ast.ImportFrom | ast.Attribute | ast.Call) -> tuple[list[str], bool]:
    """Return the dotted names that a node uses, and whether they are keyword arguments that may be true."""
    if isinstance(node, ast.keyword):
        off = isinstance(node.value, ast.Constant) and not node.value.value
        return [node.arg] if node.arg and not off else [], True
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names], False
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names], False
    if isinstance(node, ast.Call):
        return [node.func.id] if isinstance(node.func, ast.Name) else [], False
    parts = _dotted(node)
    return [".".join(parts[start:]) for start in range(len(parts) - 1)], False


def _dotted(node: ast.expr) -> list[str]:
    """Return the names of a chain of attributes, the first one empty if it belongs to no name."""
    if isinstance(node, ast.Attribute):
        return [*_dotted(node.value), node.attr]
    return [node.id if isinstance(node, ast.Name) else ""]
