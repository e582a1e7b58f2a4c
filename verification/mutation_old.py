"""Mutants of the product: one small change each, and whether the fast tests notice it.

    python -m verification.mutation --sample 200 --seed 1 --out mutants.json

Works on copies of the tree, never on the tree itself.  What takes long to import is imported once; each mutant is a
fork of that process which runs the tests of its module until the first one fails.  A mutant that no test notices
is a survivor: to be killed by a new test, or judged to change neither data, bytes, memory nor verdicts.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("dlio_benchmark", "verification", "tests", "conftest.py", "pyproject.toml")
PRELOADED = (
    "numpy",
    "pyarrow",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pyarrow.dataset",
    "hypothesis",
    "duckdb",
    "polars",
)
MEMORY_BYTES = 12 << 30
OPTIONS = ("-x", "-q", "--no-mpi", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
ALWAYS = ("test_noticed.py", "test_reader_machine.py")
UNTRIED = ("dlio_benchmark/data_loader/torch.py",)
"""Modules whose tests start processes of their own, which takes longer than all others together."""
TOLD = "told.txt"
ROUNDTRIP = ("test_properties_row_groups.py", "test_properties_mismatch.py", "test_properties_roundtrip.py")
READING = (*ROUNDTRIP, "test_properties_relations.py", "test_parquet_rows.py", "test_properties_faults.py")
DECODING = ("test_decode_levels.py", "test_decode_headers.py", "test_decode_codecs.py")
ENCODING = ("test_encode.py", "test_encode_levels.py", "test_write_plan.py", "test_write_pipeline.py")
TESTS: dict[str, tuple[str, ...]] = {
    "dlio_benchmark/reader": (*READING, "test_faces.py", "test_calibration_readers.py"),
    "dlio_benchmark/parquet/decode": (*DECODING, *READING, "test_thrift.py"),
    "dlio_benchmark/parquet": (*ENCODING, "test_thrift.py", "test_parquet_files.py"),
    "dlio_benchmark/data_generator": ("test_parquet_files.py", "test_job.py", "test_faces.py"),
    "dlio_benchmark/plan": ("test_order.py", "test_epoch_plan.py", "test_layout.py", "test_loaders.py", "test_job.py"),
    "dlio_benchmark/metrics/summary": ("test_summary.py", "test_train_loop.py", "test_job.py"),
    "dlio_benchmark/data_loader": ("test_loaders.py", "test_parcel.py", "test_job.py"),
}

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


@dataclass(frozen=True, slots=True)
class Mutant:
    """Change number ``number`` of a module, counted in the order of its syntax tree."""

    path: str
    number: int
    line: int
    change: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: ``killed``, ``timeout`` or ``survived``."""

    mutant: Mutant
    fate: str
    seconds: float


Change = tuple[str, Callable[[], None]]


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
        yield f"without {keyword.arg}=", lambda place=place: node.keywords.pop(place)  # type: ignore[misc]


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
        found.append(("not dropped", lambda: node.__setattr__("op", ast.UAdd())))
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        found.append(("return None", lambda: setattr(node, "value", ast.Constant(None))))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        found.append(("call dropped", lambda: setattr(node, "value", ast.Constant(None))))
    elif isinstance(node, ast.Call):
        found += _without_keyword(node)
    yield from (change for change in found if change is not None)


def _walked(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that matter: no annotations, no words of errors, no protocols, no texts."""
    if isinstance(node, (ast.Raise, ast.JoinedStr)) or _is_protocol(node) or _is_message(node):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walked(child)


def _is_protocol(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Protocol" for b in node.bases)


def _is_message(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "msg"


def _all_changes(tree: ast.Module) -> Iterator[tuple[int, Change]]:
    line = 1
    for node in _walked(tree):
        line = getattr(node, "lineno", line)
        for change in _changes_of(node):
            yield line, change


def mutants(path: str, root: Path = ROOT) -> list[Mutant]:
    """Return all mutants of a module, given by its path in the tree."""
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    return [Mutant(path, number, line, said) for number, (line, (said, _)) in enumerate(_all_changes(tree))]


def mutated(mutant: Mutant, source: str) -> str:
    """Return the source of a module with the change of ``mutant``."""
    tree = copy.deepcopy(ast.parse(source))
    for number, (_, (_, apply)) in enumerate(_all_changes(tree)):
        if number == mutant.number:
            apply()
            break
    return ast.unparse(ast.fix_missing_locations(tree))


def tests_of(path: str, root: Path) -> list[str]:
    """Return the test files that judge the module at ``path``."""
    named = [root / "tests" / "unit" / name for name in (*ALWAYS, *TESTS[_group(path)])]
    return [str(one) for one in named if one.exists()]


def _group(path: str) -> str:
    return max((prefix for prefix in TESTS if path.startswith(prefix)), key=len)


def judged(mutant: Mutant, root: Path, limit_s: float) -> Verdict:
    """Return what the tests say of ``mutant`` in the copy of the tree at ``root``, which is restored afterwards."""
    path = root / mutant.path
    source = path.read_text(encoding="utf-8")
    path.write_text(mutated(mutant, source), encoding="utf-8")
    begin = time.monotonic()
    try:
        fate = _run(tests_of(mutant.path, root), root, limit_s)
    finally:
        path.write_text(source, encoding="utf-8")
    return Verdict(mutant, fate, round(time.monotonic() - begin, 1))


def _run(tests: Sequence[str], root: Path, limit_s: float) -> str:
    pid = os.fork()
    if not pid:
        _in_fork(tests, root)
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "timeout"


def _in_fork(tests: Sequence[str], root: Path) -> None:
    code = 70
    try:
        os.setsid()
        os.chdir(root)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        told = os.open(root / TOLD, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        for number in range(3):
            os.dup2(told, number)
        for name in [name for name in sys.modules if name.partition(".")[0] == "verification"]:
            del sys.modules[name]  # the tests import that of the copy
        sys.path[:0] = [str(root), str(root / "tests" / "unit")]
        os.environ |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "DLIO_HYPOTHESIS_PROFILE": "mpi"}
        sys.dont_write_bytecode = True
        code = pytest.main([*OPTIONS, f"--rootdir={root}", *tests])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _copied(folder: Path) -> Path:
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def _modules() -> list[str]:
    found = (path for prefix in TESTS for path in (ROOT / prefix).parent.rglob("*.py"))
    paths = {str(path.relative_to(ROOT)) for path in found}
    return sorted(path for path in paths if path not in UNTRIED and any(path.startswith(prefix) for prefix in TESTS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge mutants, print each survivor, and write all verdicts as JSON; 1 if the unchanged tree fails its tests."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sample", type=int, default=0, help="how many mutants to draw; 0 takes all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="modules whose path contains this")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for the tests of one mutant")
    parser.add_argument("--trust-tests", action="store_true", help="do not see first that the tests pass unchanged")
    parser.add_argument("--out", default="mutants.json")
    chosen = parser.parse_args(arguments)
    modules = _modules()
    everything = [mutant for path in modules if chosen.only in path for mutant in mutants(path)]
    many = min(chosen.sample or len(everything), len(everything))
    drawn = random.Random(chosen.seed).sample(everything, many)  # noqa: S311 - no secret
    print(f"{len(everything)} mutants in {len(modules)} modules, {len(drawn)} of them are tried", flush=True)
    for name in PRELOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        roots = [_copied(Path(folder) / str(number)) for number in range(chosen.workers)]
        groups = [] if chosen.trust_tests else sorted({_group(mutant.path) for mutant in drawn})
        if failing := [
            group for group in groups if _run(tests_of(group, roots[0]), roots[0], chosen.limit) != "survived"
        ]:
            print(f"the tests of {', '.join(failing)} fail without any change: their verdicts would mean nothing")
            return 1
        verdicts = _judge_all(drawn, roots, chosen.limit)
    Path(chosen.out).write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1), encoding="utf-8")
    survived = sum(verdict.fate == "survived" for verdict in verdicts)
    print(f"{len(verdicts) - survived} of {len(verdicts)} were noticed, {survived} survived")
    return 0


def _judge_all(drawn: Sequence[Mutant], roots: Sequence[Path], limit_s: float) -> list[Verdict]:
    idle: SimpleQueue[Path] = SimpleQueue()
    for root in roots:
        idle.put(root)

    def one(mutant: Mutant) -> Verdict:
        root = idle.get()
        try:
            verdict = judged(mutant, root, limit_s)
        finally:
            idle.put(root)
        if verdict.fate != "killed":
            print(f"{verdict.fate} {mutant.path}:{mutant.line}: {mutant.change} ({verdict.seconds} s)", flush=True)
        return verdict

    with ThreadPoolExecutor(len(roots)) as pool:
        return list(pool.map(one, drawn))


if __name__ == "__main__":
    raise SystemExit(main())
