"""The layers of the package: every module imports only from its own layer or from lower ones."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from import_rules import (
    Ban,
    Source,
    across,
    banned,
    cycles,
    forbidden,
    hidden,
    homeless,
    read_package,
    unused,
    upward,
)

ROOT = Path(__file__).parents[2]


def _layer(names: str) -> tuple[str, ...]:
    return tuple(f"dlio_benchmark.{name}" for name in names.split())


LAYERS = (
    _layer("__init__ errors common"),
    _layer(
        "config.__init__ config.fields config.duration config.model schema memory values gather batch metrics.events"
    ),
    _layer("config.decode config.rules config.columns config.shape config.reference config.redact config.composed")
    + _layer("plan synth parquet metrics"),
    _layer("storage.base reader.base data_loader.base clock comm board guard watch"),
    _layer("storage reader data_generator data_loader checkpointing comm_mpi config.files launch session cores utils")
    + _layer("lifeline parquet.decode_arrow parquet.decode_block parquet.decode_footer parquet.decode_outline")
    + _layer("parquet.decode_plan parquet.write_file")
    + _layer("engine.agree engine.beside engine.generate"),
    _layer("engine"),
    _layer("report mlpstorage job command main postprocessor witness"),
)
PURE = 2
NOT_IN_PURE = ("os", "pyarrow.parquet", "mpi4py", "torch")

# Imports inside functions, as (module or "", target): why they are not at the top.
LAZY = {
    ("", "hydra"): "takes a third of a second, which help and usage errors must not pay",
    ("", "omegaconf"): "comes with hydra",
    ("", "yaml"): "is not needed to print help",
    ("", "rich"): "draws on terminals only",
    ("", "pyarrow.compute"): "takes a tenth of a second, and plain numbers do without it",
    ("dlio_benchmark.comm", "dlio_benchmark.comm_mpi"): "starts MPI, and only a launched process may do that",
    ("dlio_benchmark.engine.parts", "dlio_benchmark.data_loader.torch"): "PyTorch is an extra, and takes seconds",
    ("dlio_benchmark.command", "dlio_benchmark.config"): "help loads nothing, and the list of keys all of them",
    ("dlio_benchmark.main", "dlio_benchmark"): "help loads nothing, and a rank what its part of the work needs",
    (
        "dlio_benchmark.witness",
        "dlio_benchmark",
    ): "a process that waits in little memory, and seldom has anything to say",
    ("dlio_benchmark.postprocessor", "dlio_benchmark"): "a page and a verification load what they need, help nothing",
    ("dlio_benchmark.mlpstorage.cli", "dlio_benchmark.mlpstorage"): "each command loads what it needs, help nothing",
    ("verification.report.write", "jsonschema"): "comes with the extra for tests",
    ("verification.oracle", "duckdb"): "comes with the extra for tests",
    ("verification.oracle", "polars"): "comes with the extra for tests",
    ("verification.evidence", "pytest"): "contracts are loaded by processes that are measured, where nothing is tested",
    ("verification.plugin", "verification"): "pytest loads the plugin in every run, also where nothing is verified",
}
UPWARD = {("dlio_benchmark.comm", "dlio_benchmark.comm_mpi")}

CLIENTS_OF_THE_PACKAGE = ("verification.targets.native", "verification.contracts", "verification.saboteurs")

BANS = (
    *(Ban(name) for name in ("eval", "exec", "__import__", "os.system", "os.popen")),
    *(Ban(name) for name in ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")),
    *(
        Ban(name)
        for name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.load", "hydra.utils.instantiate")
    ),
    Ban("shell", keyword=True),
    Ban("allow_pickle", keyword=True),
    *(
        Ban("time.time", f"dlio_benchmark.{part}")
        for part in ("metrics", "engine", "reader", "data_loader", "data_generator", "parquet", "clock")
    ),
)
EXEMPT = {
    ("dlio_benchmark.comm_mpi", "pickle"): "values between ranks of one job",
    ("verification.mpi.comm", "pickle"): "values between ranks of one job",
    ("verification.mpi.guard", "pickle"): "values between ranks of one job",
    ("verification.probes.child", "pickle"): "values between a test and the process that it starts",
    ("verification.contracts.forks", "pickle"): "values between a process and its own forks",
}


read = functools.cache(read_package)


@pytest.fixture(params=["dlio_benchmark", "verification"])
def source(request: pytest.FixtureRequest) -> Source:
    return read(ROOT / str(request.param))


@pytest.fixture
def package() -> Source:
    return read(ROOT / "dlio_benchmark")


@pytest.fixture
def harness() -> Source:
    return read(ROOT / "verification")


def test_every_module_has_a_layer(package: Source) -> None:
    assert homeless(package, LAYERS) == []


def test_modules_import_only_their_own_layer_and_lower_ones(package: Source) -> None:
    assert upward(package.imports(), LAYERS, UPWARD) == []


def test_no_modules_import_each_other(source: Source) -> None:
    assert cycles(source.imports(), UPWARD) == []


def test_the_pure_layers_know_no_files_ranks_or_frameworks(package: Source) -> None:
    assert forbidden(package.imports(), LAYERS, PURE, NOT_IN_PURE) == []


def test_the_package_does_not_know_its_harness(package: Source) -> None:
    assert across(package.imports(), "verification") == []


def test_the_harness_knows_the_package_only_where_it_is_the_target(harness: Source) -> None:
    assert across(harness.imports(), "dlio_benchmark", CLIENTS_OF_THE_PACKAGE) == []


def test_imports_stand_at_the_top_except_those_listed_with_a_reason(source: Source) -> None:
    assert hidden(source.imports(), LAZY) == []


def test_every_listed_exception_is_needed(package: Source, harness: Source) -> None:
    imports = [*package.imports(), *harness.imports()]
    assert unused(imports, LAZY) == []
    assert {(one.by, one.what) for one in imports} >= UPWARD


def test_nothing_is_evaluated_unpickled_or_handed_to_a_shell(source: Source) -> None:
    assert banned(source, BANS, EXEMPT) == []


def planted(tmp_path: Path, **modules: str) -> Source:
    """Return a package ``p`` with the given modules; ``a__b`` is module ``p.a.b``."""
    for name, text in modules.items():
        path = tmp_path / "p" / Path(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_package(tmp_path / "p")


TWO = (("p.low",), ("p.high",))


@pytest.mark.parametrize(
    "text",
    [
        "import p.high",
        "from p import high",
        "from p.high import thing",
        "from .high import thing",
        "from . import high",
        "def f():\n    import p.high",
        "if True:\n    from p.high import thing",
        "class A:\n    from p.high import thing",
        "try:\n    import p.high\nexcept ImportError:\n    pass",
    ],
)
def test_the_checker_sees_an_import_of_a_higher_layer(tmp_path: Path, text: str) -> None:
    source = planted(tmp_path, low=text, high="thing = 1")
    (problem,) = upward(source.imports(), TWO)
    assert problem.startswith("p.low:")
    assert problem.endswith("layer 0 imports layer 1")
    assert upward(source.imports(), TWO[::-1]) == []
    assert upward(source.imports(), TWO, {("p.low", "p.high")}) == []


def test_the_checker_follows_relative_imports_out_of_folders(tmp_path: Path) -> None:
    source = planted(tmp_path, low__inner__deep="from ...high import x", high="x = 1")
    assert [one.what for one in source.imports()] == ["p.high"]


def test_the_longest_entry_decides_the_layer(tmp_path: Path) -> None:
    source = planted(tmp_path, low__base="", low__other="import p.high", high="", low__first="import p.low.other")
    assert upward(source.imports(), (("p.low.base",), ("p.high",), ("p.low",))) == []
    assert len(upward(source.imports(), (("p.low.first",), ("p.high",), ("p.low",)))) == 1


def test_the_checker_sees_modules_without_a_layer_and_layers_without_a_module(tmp_path: Path) -> None:
    source = planted(tmp_path, low="", high="")
    assert homeless(source, TWO) == []
    assert homeless(source, (("p.low",),)) == ["p.high is in no layer"]
    assert homeless(source, (*TWO, ("p.ghost",))) == ["p.ghost is in the list of layers, but does not exist"]


def test_the_checker_sees_circles_of_any_length(tmp_path: Path) -> None:
    source = planted(tmp_path, a="import p.b", b="from p import c", c="def f():\n    from .a import x", d="import p.a")
    assert cycles(source.imports()) == ["import each other in a circle: p.a, p.b, p.c"]
    assert cycles(source.imports(), {("p.c", "p.a")}) == []


def test_a_circle_of_types_alone_is_none(tmp_path: Path) -> None:
    circle = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import b"
    source = planted(tmp_path, a=circle, b="import p.a")
    assert cycles(source.imports()) == []
    assert len(upward(source.imports(), (("p.a",), ("p.b",)))) == 1


def test_an_init_entry_covers_the_package_alone(tmp_path: Path) -> None:
    planted(tmp_path, low="")
    (tmp_path / "p" / "__init__.py").touch()
    source = read_package(tmp_path / "p")
    assert homeless(source, (("p.__init__",),)) == ["p.low is in no layer"]


@pytest.mark.parametrize("text", ["import os", "import os.path", "from os import path", "def f():\n    import os"])
def test_the_checker_sees_a_forbidden_import_in_a_pure_layer(tmp_path: Path, text: str) -> None:
    imports = planted(tmp_path, low=text, high=text).imports()
    assert [problem.split(":")[0] for problem in forbidden(imports, TWO, 0, ["os"])] == ["p.low"]
    assert forbidden(planted(tmp_path, low="import ostrich").imports(), TWO, 0, ["os"]) == []


def test_the_checker_sees_imports_of_another_package(tmp_path: Path) -> None:
    imports = planted(tmp_path, low="from q.a import b", high="import q").imports()
    assert [problem.split(":")[0] for problem in across(imports, "q")] == ["p.high", "p.low"]
    assert [problem.split(":")[0] for problem in across(imports, "q", ["p.low"])] == ["p.high"]


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    import q",
        "async def f():\n    import q",
        "class A:\n    def f(self):\n        from q import b",
        "def f():\n    def g():\n        if True:\n            import q",
    ],
)
def test_the_checker_sees_imports_inside_functions(tmp_path: Path, text: str) -> None:
    imports = planted(tmp_path, low=text, high="import q").imports()
    assert [problem.split(":")[0] for problem in hidden(imports, [])] == ["p.low"]
    assert hidden(imports, [("p.low", "q")]) == hidden(imports, [("", "q")]) == []
    assert hidden(imports, [("p.high", "q")]) != []
    assert unused(imports, [("p.low", "q"), ("p.high", "q")]) == ["('p.high', 'q') is allowed but not used"]


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "exec('x = 1')",
        "__import__('os')",
        "import pickle",
        "from pickle import loads",
        "MPI.pickle.loads(b'')",
        "from marshal import loads",
        "yaml.load(text)",
        "from yaml import load",
        "torch.load('x')",
        "np.load('x', allow_pickle=True)",
        "np.load('x', allow_pickle=asked)",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=bool(1))",
        "os.system('ls')",
        "hydra.utils.instantiate(x)",
    ],
)
def test_the_checker_sees_what_is_banned(tmp_path: Path, text: str) -> None:
    source = planted(tmp_path, low=text)
    (problem,) = banned(source, BANS)
    assert problem.startswith("p.low:1 uses ")
    assert banned(source, BANS, {("p.low", problem.split()[-1])}) == []


@pytest.mark.parametrize(
    "text",
    [
        "model.eval()",
        "re.compile('x')",
        "yaml.safe_load(text)",
        "np.load('x', allow_pickle=False)",
        "subprocess.run(['ls'], shell=False)",
        "evaluate(1)",
        "import pickled_cucumbers",
    ],
)
def test_the_checker_lets_harmless_code_pass(tmp_path: Path, text: str) -> None:
    assert banned(planted(tmp_path, low=text), BANS) == []


def test_the_wall_clock_is_banned_only_where_something_is_measured(tmp_path: Path) -> None:
    source = planted(tmp_path, metrics__a="import time\nt = time.time()", report="import time\nt = time.time()")
    assert banned(source, [Ban("time.time", "p.metrics")]) == ["p.metrics.a:2 uses time.time"]
