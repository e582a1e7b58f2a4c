"""What the marks on a test say: its claims, and the numbers of ranks it runs with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import pytest

from verification.catalogue import Catalogue
from verification.errors import CatalogueError
from verification.model import Claim

CLAIMS = pytest.StashKey[dict[str, int]]()
MARKERS = (
    "claim(*ids): the claims that this test shows",
    "mpi(min_size=2): runs on several ranks, in step",
    "ranks(*sizes): the numbers of ranks that this mpi test runs with",
    "phase_limit(seconds): how long one phase of this mpi test may take",
    "mpi_skip: left out under MPI",
    "mpi_break: left out under MPI",
    "mpi_xfail: expected to fail under MPI",
)


def bind(items: Iterable[pytest.Item], catalogue: Catalogue) -> None:
    """Note on each item the claims it shows, with their revisions.

    Raises:
        CatalogueError: if a mark names no claim or a claim that does not exist; all such marks are listed.
    """
    problems = []
    for item in items:
        bound: dict[str, int] = {}
        for mark in item.iter_markers("claim"):
            if not mark.args or mark.kwargs:
                problems.append(f"{item.nodeid}: a claim mark takes ids and nothing else")
            for identity in mark.args:
                claim = catalogue.claims.get(identity)
                if claim is None:
                    problems.append(f"{item.nodeid}: no claim has the id {identity!r}{_nearest(identity, catalogue)}")
                else:
                    bound[identity] = claim.revision
        item.stash[CLAIMS] = bound
    if problems:
        raise CatalogueError(problems, "tests are bound to claims that do not exist")


def _nearest(identity: object, catalogue: Catalogue) -> str:
    close = get_close_matches(str(identity), catalogue.claims, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def claims_of(item: pytest.Item) -> dict[str, int]:
    """Return the claims that ``item`` is bound to, with the revisions it was bound at."""
    return item.stash.get(CLAIMS, {})


def shows(item: pytest.Item, claims: Iterable[Claim]) -> bool:
    """Return whether ``item`` is bound to one of ``claims``."""
    return any(claim.id in claims_of(item) for claim in claims)


MARK = re.compile(r"mark\.claim\(([^)]*)\)")
NAME = re.compile(r"""["']([^"']+)["']""")


def claims_in(source: str, catalogue: Catalogue) -> dict[str, int]:
    """Return the claims that a text marks tests with, for a module that was never imported whole.

    A mark whose ids are not written out as they are declared could be any, so all claims are returned then.
    """
    found: set[str] = set()
    for mark in MARK.finditer(source):
        names, rest = set(NAME.findall(mark[1])), NAME.sub("", mark[1]).strip(", \t\n")
        is_written_out = names and not rest and names <= catalogue.claims.keys()
        found |= names if is_written_out else set(catalogue.claims)
    return {name: catalogue.claims[name].revision for name in sorted(found)}


def is_collective(item: pytest.Item) -> bool:
    """Return whether ``item`` runs on several ranks in step."""
    return item.get_closest_marker("mpi") is not None


def min_size(item: pytest.Item) -> int:
    """Return the smallest number of ranks that ``item`` can run with."""
    return max((int(mark.kwargs.get("min_size", 1)) for mark in item.iter_markers("mpi")), default=1)


def sizes_of(item: pytest.Item, usual: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of ranks that ``item`` runs with: its own, else the ``usual`` ones that are enough for it."""
    if not is_collective(item):
        return (1,)
    own = item.get_closest_marker("ranks")
    if own is not None:
        return tuple(sorted({int(size) for size in own.args}))
    least = min_size(item)
    return tuple(size for size in usual if size >= least) or (least,)


def as_rows(items: Iterable[pytest.Item], sizes: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Return the claim-bound ones of ``items`` as a journal lists them."""
    return [
        {"id": item.nodeid, "claims": claims_of(item), "sizes": list(sizes[item.nodeid])}
        for item in items
        if claims_of(item)
    ]
