"""What every decoder of a configuration promises: nothing unknown is taken, and all problems are told at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from verification.evidence import Recorder

Tree = Mapping[str, Any]
Decode = Callable[[Tree], object]


@dataclass(frozen=True, slots=True)
class Problem:
    """A value that must be refused: where it stands, and what the message must name."""

    kind: str
    path: str
    value: Any
    named: tuple[str, ...]


PROBLEMS = (
    Problem("unknown codec", "dataset.compression", "brotli", ("dataset.compression", "brotli", "zstd", "snappy")),
    Problem(
        "unknown dtype", "dataset.parquet.columns", [{"name": "a", "dtype": "floot"}], ("dtype", "floot", "float32")
    ),
    Problem("unknown key", "dataset.compresion", "zstd", ("dataset.compresion", "compression")),
    Problem(
        "duplicate column",
        "dataset.parquet.columns",
        [{"name": "a"}, {"name": "a"}],
        ("dataset.parquet.columns", "'a'"),
    ),
    Problem("bad number", "dataset.parquet.row_group_size", 0, ("dataset.parquet.row_group_size", "1")),
)


def good_tree() -> dict[str, Any]:
    """Return a workload that is valid."""
    parquet = {"columns": [{"name": "a", "dtype": "float32"}, {"name": "b", "dtype": "string"}]}
    return {"framework": "pytorch", "dataset": {"format": "parquet", "parquet": parquet}}


def with_problem(tree: Tree, problem: Problem) -> dict[str, Any]:
    """Return ``tree`` with the problem in it."""
    changed: dict[str, Any] = copy.deepcopy(dict(tree))
    *sections, name = problem.path.split(".")
    at = changed
    for section in sections:
        at = at.setdefault(section, {})
    at[name] = problem.value
    return changed


def the_problem_is_refused(evidence: Recorder, decode: Decode, problem: Problem) -> None:
    """Hold that a value is refused with a message that names the key and what is accepted."""
    decode(good_tree())
    evidence.raises(
        ValueError, lambda: decode(with_problem(good_tree(), problem)), naming=problem.named, what=problem.kind
    )
    evidence.cover("problem", problem.kind)


def all_problems_are_told(evidence: Recorder, decode: Decode) -> None:
    """Hold that several problems are told in one message."""
    tree = good_tree()
    chosen = [problem for problem in PROBLEMS if problem.kind != "unknown dtype"]
    for problem in chosen:
        tree = with_problem(tree, problem)
    named = tuple(problem.path for problem in chosen)
    evidence.raises(ValueError, lambda: decode(tree), naming=named, what="several problems at once")
