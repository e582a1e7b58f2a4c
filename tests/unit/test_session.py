"""The session: one workload, one group and one instance of each interface per process."""

from __future__ import annotations

import pytest
from declared_keys import PARQUET

from dlio_benchmark import session
from dlio_benchmark.comm import Solo
from dlio_benchmark.config.model import Workload


class Face:
    """An interface without arguments."""


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_session", session.Session())
    for name in ("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_a_process_that_did_not_begin_has_the_defaults_and_is_alone() -> None:
    assert session.current_workload() == Workload()
    assert session.known_comm() is None
    assert session.current_comm().world.size == 1
    assert session.known_comm() is session.current_comm()


def test_what_begins_is_current_and_drops_older_faces() -> None:
    first, comm = session.face(Face), Solo()
    session.begin(PARQUET, comm)
    assert session.current_workload() is PARQUET
    assert session.current_comm() is comm
    assert session.face(Face) is not first


def test_there_is_one_face_of_a_kind_until_it_is_forgotten() -> None:
    first = session.face(Face)
    assert session.face(Face) is first
    session.forget(Face)
    session.forget(Face)
    assert session.face(Face) is not first
