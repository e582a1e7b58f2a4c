"""The pytest plugin: `@pytest.mark.claim("truth-4")`, the `evidence` fixture, ranks, and the journal.

Three entrances give one kind of journal: `pytest` (collective tests are launched in one batch per number of ranks),
`mpirun -n N pytest` (all ranks in step, serial tests once), and pytest-xdist for the serial part.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pytest

from verification import catalogue
from verification.binding import MARKERS, bind, claims_of, sizes_of
from verification.errors import CatalogueError
from verification.evidence import Recorder
from verification.journal import Journal, clear
from verification.keeper import Choice, Keeper
from verification.mpi import launch
from verification.mpi.batch import Batches
from verification.mpi.deaths import announce, await_watch

KEEPER = pytest.StashKey[Keeper]()
ATTEMPT = "DLIO_VERIFICATION_ATTEMPT"
DEFAULT_OUT = ".verification"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("verification", "claims and evidence")
    group.addoption("--claims", default="", metavar="IDS", help="run only tests that show these claims (a,b-*)")
    group.addoption("--verification-out", default=DEFAULT_OUT, metavar="DIR", help="where the journal is written")
    group.addoption("--mpi-ranks", default="2", metavar="N,..", help="ranks of mpi tests that do not name their own")
    group.addoption("--no-mpi", action="store_true", help="leave mpi tests out; their claims are then NOT RUN")
    group.addoption("--phase-limit", type=float, default=60.0, metavar="S", help="seconds for one phase of an mpi test")
    group.addoption("--launch-limit", type=float, default=1800.0, metavar="S", help="seconds for one launch of ranks")
    group.addoption("--verification-claims", default="", metavar="DIR", help="the folder of the catalogue of claims")
    group.addoption(
        "--verification-bindings", default="", metavar="FILE", help="with --collect-only: write who shows what"
    )
    group.addoption("--verification-select", default="", help=argparse.SUPPRESS)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Find out which process this is, and register what it needs."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if config.option.collectonly and not config.option.verification_select:
        config.pluginmanager.register(_Binder(config, _catalogue(config)), "verification-binder")
        return
    told = launch.told_size(os.environ)
    if told is not None:
        _on_a_rank(config, told)
    elif hasattr(config, "workerinput"):
        _alone(config, str(config.workerinput["workerid"]))
    else:
        clear(_out(config))
        _alone(config, "main")


def _alone(config: pytest.Config, stream: str) -> None:
    out, known = _out(config), _catalogue(config)
    keeper = Keeper(Journal(out, stream), known, _choice(config, _usual_sizes(config)), None)
    config.stash[KEEPER] = keeper
    config.pluginmanager.register(keeper, "verification-keeper")
    config.pluginmanager.register(Batches(config, keeper, out), "verification-batches")


def _on_a_rank(config: pytest.Config, told: int) -> None:
    from verification.mpi.plugin import InStep  # noqa: PLC0415 - starts MPI, which only a launched process may

    if getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("pytest-xdist cannot be used under an MPI launcher; leave out -n")
    out, attempt = _out(config), int(os.environ.get(ATTEMPT, "-1"))
    agreement = InStep(config, told)
    if attempt < 0 and agreement.rank == 0:
        clear(out)
    agreement.guard.comm.barrier()
    if attempt >= 0:
        announce(out, attempt, agreement.rank)
    journal = Journal(out, "mpi", rank=agreement.rank, size=agreement.size, attempt=max(0, attempt))
    keeper = Keeper(journal, _catalogue(config), _choice(config, (agreement.size,)), agreement)
    agreement.attach(journal)
    if attempt >= 0:
        await_watch(out, attempt)
    config.stash[KEEPER] = keeper
    config.pluginmanager.register(keeper, "verification-keeper")
    config.pluginmanager.register(agreement, "verification-in-step")


def _usual_sizes(config: pytest.Config) -> tuple[int, ...]:
    return tuple(sorted({int(size) for size in config.option.mpi_ranks.split(",")}))


def _choice(config: pytest.Config, usual: tuple[int, ...]) -> Choice:
    select = config.option.verification_select
    only = frozenset(Path(select).read_text(encoding="utf-8").splitlines()) if select else None
    patterns = tuple(part.strip() for part in config.option.claims.split(",") if part.strip())
    return Choice(usual, patterns, only)


def _out(config: pytest.Config) -> Path:
    out = config.rootpath / str(config.option.verification_out)
    if not out.exists():
        out.mkdir(parents=True, exist_ok=True)
        if out.name == DEFAULT_OUT:
            (out / ".gitignore").write_text("*\n", encoding="utf-8")
    return out


def _catalogue(config: pytest.Config) -> catalogue.Catalogue:
    own = config.option.verification_claims
    try:
        return catalogue.load(config.rootpath / own, config.rootpath / own / "none") if own else catalogue.load()
    except CatalogueError as error:
        raise pytest.UsageError(str(error)) from None


class _Binder:
    """Checks the claim marks of a run that only collects, and writes them down on request."""

    def __init__(self, config: pytest.Config, known: catalogue.Catalogue) -> None:
        self._known = known
        self._usual = _usual_sizes(config)
        self._path = str(config.option.verification_bindings)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse marks that name no claim."""
        try:
            bind(items, self._known)
        except CatalogueError as error:
            raise pytest.UsageError(str(error)) from None
        found: dict[str, dict[str, tuple[int, ...]]] = {}
        for item in items:
            for claim in claims_of(item):
                found.setdefault(claim, {})[item.nodeid] = sizes_of(item, self._usual)
        if self._path:
            Path(self._path).write_text(json.dumps(found), encoding="utf-8")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the journal."""
    keeper = config.stash.get(KEEPER, None)
    if keeper is not None:
        keeper.journal.close()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Take over from pytest-mpi's hooks, so that ``--with-mpi`` is not needed; its marks and fixtures stay."""
    manager = session.config.pluginmanager
    for plugin in list(manager.get_plugins()):
        if type(plugin).__module__ == "pytest_mpi":
            manager.unregister(plugin)


@pytest.fixture(scope="session")
def evidence(request: pytest.FixtureRequest) -> Recorder:
    """Records what the running test sees; one object for the session, so that it can be used with `given`."""
    keeper = request.config.stash.get(KEEPER, None)
    if keeper is None:
        raise pytest.UsageError("the verification plugin is not active")
    return keeper.recorder


@pytest.fixture(scope="session")
def guard(request: pytest.FixtureRequest) -> Any:
    """The guard of this rank: scopes, limits and the communicator."""
    keeper = request.config.stash.get(KEEPER, None)
    if keeper is None or keeper.agreement is None:
        raise pytest.UsageError("guard and comm exist on ranks only: mark the test with pytest.mark.mpi")
    return keeper.agreement.guard


@pytest.fixture
def comm(guard: Any) -> Any:
    """A communicator that cannot hang a test; fresh after any failure."""
    return guard.comm


@pytest.fixture
def shared_tmp_path(guard: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all ranks of a test."""
    own = str(tmp_path_factory.mktemp("shared")) if guard.rank == 0 else None
    return Path(guard.comm.bcast(own))
