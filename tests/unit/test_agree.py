"""All ranks go on together or end together, and one of them knows why."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from dlio_benchmark.comm import Simulated, Solo
from dlio_benchmark.engine.agree import at_length, everywhere, on_root
from dlio_benchmark.errors import (
    CollectiveMismatchError,
    DataMissingError,
    DlioError,
    Exit,
    InterruptedRunError,
    PeerFailedError,
)

T = TypeVar("T")


def ended(comm: Simulated, failing: set[int]) -> tuple[str, Exit, bool, str]:
    def action() -> int:
        if comm.world.rank in failing:
            msg = f"no file on rank {comm.world.rank}"
            raise DataMissingError(msg)
        return comm.world.rank

    try:
        return str(everywhere(comm, "look", action)), Exit.OK, True, ""
    except DlioError as error:
        return type(error).__name__, error.code, error.agreed, str(error)


def test_the_values_of_all_ranks_come_in_rank_order() -> None:
    assert Simulated.run(3, lambda comm: ended(comm, set())) == [("[0, 1, 2]", Exit.OK, True, "")] * 3


@pytest.mark.parametrize("failing", [{0}, {1}, {1, 2}, {0, 1, 2}])
def test_the_first_failing_rank_reports_and_all_end_with_its_code(failing: set[int]) -> None:
    first = min(failing)
    for rank, (kind, code, agreed, text) in enumerate(Simulated.run(3, lambda comm: ended(comm, failing))):
        assert kind == ("DataMissingError" if rank == first else "PeerFailedError")
        assert (code, agreed) == (Exit.DATA_MISSING, True)
        assert f"no file on rank {first}" in text


def test_what_rank_0_finds_every_rank_gets() -> None:
    assert Simulated.run(3, lambda comm: on_root(comm, "look", lambda: comm.world.rank + 7)) == [7, 7, 7]


def test_what_rank_0_cannot_do_ends_every_rank() -> None:
    def work(comm: Simulated) -> tuple[str, Exit]:
        def action() -> int:
            raise DataMissingError("no manifest")

        try:
            on_root(comm, "look", action)
        except PeerFailedError as error:
            return str(error), error.code
        except DataMissingError as error:
            return f"own, agreed: {error.agreed}", error.code
        return "", Exit.OK

    own, *others = Simulated.run(3, work)
    assert own == ("own, agreed: True", Exit.DATA_MISSING)
    assert others == [("rank 0 failed: no manifest", Exit.DATA_MISSING)] * 2


def test_an_error_that_one_rank_meets_alone_is_not_agreed() -> None:
    assert not DataMissingError("alone").agreed


def test_a_rank_that_fails_in_long_work_does_not_wait_for_the_others() -> None:
    told = threading.Event()

    def work(comm: Simulated) -> str:
        def action() -> int:
            if comm.world.rank == 1:
                raise DataMissingError("gone")
            assert told.wait(60)
            return 0

        try:
            at_length(comm, "work", action)
        except DataMissingError as error:
            told.set()  # the other rank, still at work, goes on only now
            return f"agreed: {error.agreed}"
        except CollectiveMismatchError:
            return "left alone"
        return ""

    assert Simulated.run(2, work) == ["left alone", "agreed: False"]


@pytest.mark.parametrize("together", [everywhere, at_length, on_root])
def test_an_interrupted_rank_does_not_stay_to_agree(together: Callable[..., object]) -> None:
    def action() -> int:
        raise InterruptedRunError("SIGTERM")

    class Alone(Solo):
        """A rank whose collectives would never return."""

        def gather(self, value: T, what: str) -> list[T]:
            raise AssertionError(what)

        def share(self, value: T, what: str) -> T:
            raise AssertionError(what)

    with pytest.raises(InterruptedRunError) as caught:
        together(Alone(), "work", action)
    assert not caught.value.agreed
