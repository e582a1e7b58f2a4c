"""Small wrongs of reading ahead: at the bounds of the budget, in the numbers of loads, and where a plan ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_ahead import BLOCK_BYTES, BLOCK_ROWS, Files, ahead_of, begun, finished

from dlio_benchmark.batch import Block
from dlio_benchmark.clock import FakeClock
from dlio_benchmark.common.enumerations import ShuffleScope
from dlio_benchmark.data_loader import ahead as ahead_module
from dlio_benchmark.data_loader.ahead import Ahead, Budget, Load, Opening, Slot
from dlio_benchmark.data_loader.base import Source
from dlio_benchmark.errors import DataMissingError
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Shuffling, Visit
from dlio_benchmark.plan.world import World

ONE_EACH = Budget(bytes=10**6, loads=99, load_bytes=0)


def of(blocks: list[int], budget: Budget = ONE_EACH, *, openings: int = 2, broken: str = "") -> tuple[Ahead, Source]:
    files = Files(blocks, frozenset(broken.split()))
    return ahead_of(files, budget, openings), Source(files, FakeClock())


def has_job(ahead: Ahead) -> bool:
    return ahead.has_job


def names(loads: list[Load]) -> list[str]:
    return [f"{load.file.path}/{piece.block}" for load in loads for piece in load.pieces]


# -- the budget --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("budget_bytes", "many"), [(0, 1), (2, 2), (3, 3), (2.9, 2)])
def test_loads_are_begun_until_their_bytes_are_those_of_the_budget(budget_bytes: float, many: int) -> None:
    ahead, source = of([9], Budget(bytes=int(budget_bytes * BLOCK_BYTES), loads=9, load_bytes=0))
    loads = begun(ahead, source)
    assert len(loads) == many
    ahead.release(loads[0])
    assert len(begun(ahead, source)) == 1
    assert not has_job(ahead)


def test_a_load_that_is_released_gives_its_rows_back() -> None:
    ahead, source = of([9], Budget(loads=1, rows=2 * BLOCK_ROWS + 1, load_bytes=0))
    loads = begun(ahead, source)
    assert len(loads) == 3
    for _ in range(3):
        ahead.release(loads.pop(0))
        loads += begun(ahead, source)
        assert len(loads) == 3


@pytest.mark.parametrize(("loads", "rows", "many"), [(1, 0, 1), (2, 0, 2), (1, 2 * BLOCK_ROWS, 2), (3, BLOCK_ROWS, 3)])
def test_as_many_loads_are_begun_as_the_budget_has_or_as_hold_few_rows(loads: int, rows: int, many: int) -> None:
    ahead, source = of([9], Budget(loads=loads, rows=rows, load_bytes=0))
    assert len(begun(ahead, source)) == many


@pytest.mark.parametrize(
    ("scope", "small_bytes", "many"),
    [(None, 10, 3), (ShuffleScope.ROW_GROUP, 10, 3), (ShuffleScope.WINDOW, 10, 5), (ShuffleScope.WINDOW, 9, 3)],
)
def test_two_small_loads_more_are_begun_where_rows_are_moved(
    scope: ShuffleScope | None, small_bytes: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ahead_module._UNEVEN_BYTES == 16 << 20
    monkeypatch.setattr(ahead_module, "_UNEVEN_BYTES", small_bytes)
    files, shuffling = Files([9]), Shuffling() if scope is None else Shuffling(samples=1, scope=scope)
    ahead = Ahead(replace(files.plan, shuffling=shuffling), str, Budget(loads=3, load_bytes=0), 1)
    assert len(begun(ahead, Source(files, FakeClock()))) == many


@pytest.mark.parametrize(
    ("load_bytes", "budget_bytes", "together"), [(0, 99, 1), (19, 99, 1), (20, 99, 2), (99, 30, 3)]
)
def test_blocks_are_put_together_up_to_the_bytes_of_a_load(load_bytes: int, budget_bytes: int, together: int) -> None:
    ahead, source = of([6], Budget(bytes=budget_bytes, loads=1, load_bytes=load_bytes))
    (load,) = begun(ahead, source)
    assert (len(load.pieces), load.bytes, load.rows) == (together, together * BLOCK_BYTES, together * BLOCK_ROWS)


def test_a_load_counts_the_rows_of_its_pieces_that_are_wanted() -> None:
    files = Files([3])
    ahead = Ahead(EpochPlan(np.array([3 * BLOCK_ROWS]), 1, World(1, 2)), str, Budget(), 1)
    (load,) = begun(ahead, Source(files, FakeClock()))
    assert [(piece.block, piece.start, piece.stop) for piece in load.pieces] == [(1, 1, 2), (2, 0, 2)]
    assert load.rows == 3


def test_by_default_two_loads_of_four_mebibytes_in_a_gibibyte_are_in_flight() -> None:
    budget = Budget()
    assert (budget.bytes, budget.loads, budget.rows, budget.load_bytes) == (1 << 30, 2, 0, 4 << 20)


# -- jobs --------------------------------------------------------------------------------------------------------------
def test_there_is_a_job_while_a_load_fits_or_a_file_may_be_opened() -> None:
    ahead, source = of([2, 1], Budget(loads=1, load_bytes=0), openings=1)
    assert has_job(ahead)
    opening = ahead.job()
    assert isinstance(opening, Opening)
    assert not has_job(ahead)
    assert ahead.job() is None
    finished(opening, source)
    load = ahead.job()
    assert isinstance(load, Load)
    assert has_job(ahead)  # the second file may be opened
    second = ahead.job()
    assert isinstance(second, Opening)
    finished(second, source)
    assert not has_job(ahead)
    assert ahead.job() is None
    ahead.release(load)
    assert has_job(ahead)
    ahead.stop()
    assert not has_job(ahead)
    assert ahead.job() is None


def test_a_plan_that_is_left_has_no_job_though_files_could_be_opened() -> None:
    ahead, _ = of([1] * 9)
    ahead.stop()
    assert ahead.is_over
    assert not has_job(ahead)
    assert ahead.job() is None


@pytest.mark.parametrize("openings", [1, 2, 3])
def test_so_many_files_are_opened_ahead(openings: int) -> None:
    ahead, _ = of([1] * 9, openings=openings)
    found = [ahead.job() for _ in range(openings)]
    assert [one.path for one in found if isinstance(one, Opening)] == [str(file) for file in range(openings)]
    assert ahead.job() is None


def test_the_load_that_is_waited_for_comes_before_the_files_of_later() -> None:
    ahead, source = of([3, 1, 1], Budget(loads=2, load_bytes=0), openings=1)
    jobs = []
    for _ in range(4):
        job = ahead.job()
        assert job is not None
        jobs.append(type(finished(job, source)))
    assert jobs == [Opening, Load, Opening, Load]


# -- numbers and slots -------------------------------------------------------------------------------------------------
def test_loads_are_numbered_in_the_order_of_the_plan_and_the_end_has_the_number_after_them() -> None:
    ahead, source = of([2, 1])
    early = ahead.slot(0)
    loads = begun(ahead, source)
    assert names(loads) == ["0/0", "0/1", "1/0"]
    slots = [early, *(ahead.slot(number) for number in range(1, 4))]
    assert [slot.load for slot in slots] == [*loads, None]
    assert [slot.done.locked() for slot in slots] == [True, True, True, False]
    assert [load.slot for load in loads] == slots[:3]
    assert ahead.is_over
    for load, slot in zip(loads, slots, strict=False):
        finished(load, source)
        assert not slot.done.locked()
        assert load.slot is None
        load.hand_over()
    assert [slot.error for slot in slots] == [None] * 4
    assert not ahead._half_known


@pytest.mark.parametrize("blocks", [[], [1], [1, 2]])
def test_a_plan_ends_once_all_of_it_is_begun(blocks: list[int]) -> None:
    ahead, source = of(blocks)
    loads = begun(ahead, source)
    assert len(loads) == sum(blocks)
    assert ahead.is_over
    end = ahead.slot(len(loads))
    assert (end.load, end.error, end.done.locked()) == (None, None, False)


def test_a_plan_that_is_left_ends_with_the_next_load() -> None:
    ahead, source = of([9], Budget(loads=2, load_bytes=0))
    begun(ahead, source)
    assert not ahead.is_over
    assert ahead.slot(2).done.locked()


def test_who_waits_for_a_load_of_a_plan_that_is_left_is_told() -> None:
    ahead, source = of([9], Budget(loads=2, load_bytes=0))
    begun(ahead, source)
    waited_for = ahead.slot(2)
    assert waited_for.done.locked()
    ahead.stop()
    assert (waited_for.load, waited_for.error, waited_for.done.locked()) == (None, None, False)
    ahead.stop()


def test_a_file_that_cannot_be_opened_is_the_error_of_the_load_that_would_come_next() -> None:
    ahead, source = of([2, 1, 1], broken="1")
    assert names(begun(ahead, source)) == ["0/0", "0/1"]
    assert ahead.is_over
    end = ahead.slot(2)
    assert isinstance(end.error, DataMissingError)
    assert not end.done.locked()


def test_a_file_whose_opening_ended_in_an_error_is_not_read_even_if_it_is_open() -> None:
    ahead, source = of([2])
    opening = ahead.job()
    assert isinstance(opening, Opening)
    opening.do(source)
    opening.error = RuntimeError("no thread can be started")
    opening.finish()
    assert begun(ahead, source) == []
    assert ahead.slot(0).error is opening.error
    file = opening.file
    assert file is not None
    assert ahead.stop() == [file]


def test_a_plan_that_cannot_be_walked_is_the_error_of_the_load_that_would_come_next() -> None:
    files = Files([1, 1])
    ahead, source = Ahead(files.plan, ["0"].__getitem__, ONE_EACH, 1), Source(files, FakeClock())
    assert names(begun(ahead, source)) == ["0/0"]
    end = ahead.slot(1)
    assert isinstance(end.error, IndexError)
    assert not end.done.locked()


# -- files -------------------------------------------------------------------------------------------------------------
def test_only_the_first_load_of_a_file_tells_what_opening_it_took() -> None:
    ahead, source = of([2, 1])
    loads = begun(ahead, source)
    assert [load.opened is None for load in loads] == [False, True, False]
    assert loads[0].opened == Tally(files=1, footer_bytes=1)


def test_a_file_is_given_back_with_the_last_of_its_loads_whatever_their_order() -> None:
    ahead, source = of([3])
    first, second, third = begun(ahead, source)
    for load in (third, first):
        load.do(source)
        assert load.finish() is None
    second.do(source)
    assert second.finish() is first.file
    assert first.opening.unused() is None


def test_leaving_gives_back_the_files_that_nobody_reads_and_the_others_with_their_last_load() -> None:
    ahead, source = of([2, 1, 1], Budget(loads=1, load_bytes=0))
    (load,) = begun(ahead, source)
    left = ahead.stop()
    assert [file.path for file in left] == ["1", "2"]
    assert ahead.stop() == []
    assert load.finish() is load.file


def test_a_file_that_is_open_only_when_the_epoch_was_left_is_given_back() -> None:
    ahead, source = of([1])
    opening = ahead.job()
    assert isinstance(opening, Opening)
    assert ahead.stop() == []
    opening.do(source)
    file = opening.file
    assert file is not None
    assert opening.finish() is file
    assert opening.finish() is None


# -- what the storage took ---------------------------------------------------------------------------------------------
def load_of(*requests: int) -> Load:
    ahead, source = of([1])
    (load,) = begun(ahead, source)
    load.runs.extend(((Block(1), 0, 1), Tally(requests=many)) for many in requests)
    return load


@pytest.mark.parametrize(
    ("requests", "memory_ns"), [((), 10_000), ((0,), 10_000), ((1,), 10_000), ((2, 1), 30_000), ((7,), 70_000)]
)
def test_a_load_has_waited_if_a_request_of_it_took_more_than_ten_microseconds(
    requests: tuple[int, ...], memory_ns: int
) -> None:
    load = load_of(*requests)
    assert [load.has_waited(took_ns) for took_ns in (0, memory_ns, memory_ns + 1)] == [False, False, True]


def test_opening_a_file_is_no_sign_of_a_storage_that_lets_wait() -> None:
    assert Opening(Visit(0, 0, 1), "0").has_waited(10**9) is False


def test_a_slot_is_not_done_before_something_is_handed_over() -> None:
    slot = Slot()
    assert (slot.done.locked(), slot.load, slot.error) == (True, None, None)
