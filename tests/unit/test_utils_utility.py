"""The small functions, the group of ranks and the metrics under DLIO's names."""

from __future__ import annotations

import argparse
import datetime
import logging
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark import session
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import MPIState
from dlio_benchmark.config.model import Workload
from dlio_benchmark.plan.world import World
from dlio_benchmark.utils.statscounter import StatsCounter
from dlio_benchmark.utils.utility import (
    DLIOMPI,
    LOG_TS_FORMAT,
    OUTPUT_LEVEL,
    DLIOLogger,
    NoGroupError,
    PerfTrace,
    Profile,
    add_padding,
    gen_random_tensor,
    str2bool,
    utcnow,
)


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_session", session.Session())
    for name in ("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_the_time_is_local_and_has_microseconds() -> None:
    before = datetime.datetime.now(datetime.UTC).astimezone().replace(tzinfo=None)
    got = datetime.datetime.strptime(utcnow(), LOG_TS_FORMAT)  # noqa: DTZ007 - a local time without a zone
    after = datetime.datetime.now(datetime.UTC).astimezone().replace(tzinfo=None)
    assert before <= got <= after
    assert utcnow(format="%Y") == str(got.year)


@given(n=st.integers(0, 10**9), digits=st.integers(0, 12))
def test_padding_keeps_the_number_and_fills_the_digits(n: int, digits: int) -> None:
    assert add_padding(n) == str(n)
    assert int(add_padding(n, digits)) == n
    assert len(add_padding(n, digits)) == max(digits, len(str(n)))


@pytest.mark.parametrize(("word", "value"), [("Yes", True), ("t", True), ("1", True), ("NO", False), ("f", False)])
def test_words_of_a_command_line_are_yes_or_no(word: str, value: bool) -> None:
    assert str2bool(word) is value


def test_another_word_is_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be yes or no, got 'maybe'"):
        str2bool("maybe")


@given(
    shape=st.lists(st.integers(0, 5), max_size=3).map(tuple),
    dtype=st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool"]),
    seed=st.integers(0, 2**32),
)
def test_a_random_array_has_its_shape_and_type_and_is_repeated_by_its_seed(
    shape: tuple[int, ...], dtype: str, seed: int
) -> None:
    array = gen_random_tensor(shape, dtype, seed=seed)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert np.array_equal(array, gen_random_tensor(shape, dtype, seed=seed))
    assert np.array_equal(array, gen_random_tensor(shape, dtype, rng=np.random.default_rng(seed)))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint64"])
def test_a_random_array_is_random(dtype: str) -> None:
    one, other = (gen_random_tensor(256, dtype, seed=seed) for seed in (1, 2))
    assert len(np.unique(one)) > 10
    assert not np.array_equal(one, other)
    assert not np.array_equal(gen_random_tensor(256, dtype), gen_random_tensor(256, dtype))


def test_a_random_array_may_be_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        gen_random_tensor(3, "float32", writeable=False)[0] = 1


def test_the_tracer_changes_nothing() -> None:
    tracer = Profile("reader")

    @tracer.log
    def double(x: int) -> int:
        return 2 * x

    assert double(4) == 8
    assert list(tracer.iter([1, 2])) == [1, 2]
    with pytest.raises(KeyError), Profile(cat="a", name="b") as region:
        region.update(image_size=5).flush()
        raise KeyError
    PerfTrace.initialize_log("file").finalize()
    tracer.reset()


def test_the_logger_knows_its_level() -> None:
    assert DLIOLogger.get_instance() is logging.getLogger("DLIO")
    assert logging.getLevelName(OUTPUT_LEVEL) == "OUTPUT"
    DLIOLogger.reset()


class Ranks(Solo):
    """Rank 2 of four ranks on two hosts; gathering adds up from what the test says the others have."""

    def __init__(self, others: list[Any]) -> None:
        super().__init__()
        self.world = World(2, 4)
        self.others = others

    def hosts(self) -> list[str]:
        return ["a", "a", "b", "b"]

    def gather(self, value: Any, what: str) -> list[Any]:
        return [*self.others[:2], value, *self.others[2:]]


def test_the_group_is_seen_from_a_rank() -> None:
    session.begin(Workload(), Ranks([5, 7, 1]))
    mpi = DLIOMPI.get_instance()
    assert mpi.mpi_state is MPIState.MPI_INITIALIZED
    assert (mpi.rank(), mpi.size()) == (2, 4)
    assert (mpi.local_rank(), mpi.npernode(), mpi.ranks_per_node(), mpi.nnodes(), mpi.node()) == (0, 2, 2, 2, 1)
    assert (mpi.reduce(10), mpi.allreduce_min(10)) == (23, 1)
    assert mpi.comm() is session.current_comm()
    mpi.finalize()


def test_a_process_alone_is_in_its_group_when_it_asks_for_it() -> None:
    mpi = DLIOMPI.get_instance()
    assert mpi.mpi_state is MPIState.UNINITIALIZED
    mpi.initialize()
    assert (mpi.mpi_state, mpi.rank(), mpi.size()) == (MPIState.MPI_INITIALIZED, 0, 1)


def test_values_are_exchanged_between_all_ranks() -> None:
    session.begin(Workload(), Ranks([[0, 1, 2, 3], [10, 11, 12, 13], [30, 31, 32, 33]]))
    mpi = DLIOMPI.get_instance()
    mpi.initialize()
    assert mpi.alltoall([20, 21, 22, 23]) == [2, 12, 22, 32]


def test_a_worker_knows_its_rank_but_has_no_group() -> None:
    mpi = DLIOMPI()
    mpi.set_parent_values(3, 8)
    assert (mpi.rank(), mpi.size(), mpi.ranks_per_node()) == (3, 8, 1)
    assert (mpi.reduce(4), mpi.allreduce_min(4), mpi.node()) == (4, 4, 0)
    with pytest.raises(NoGroupError, match="worker"):
        mpi.comm()


def test_there_is_one_instance_until_it_is_reset() -> None:
    first = DLIOMPI.get_instance()
    assert DLIOMPI.get_instance() is first
    DLIOMPI.reset()
    assert DLIOMPI.get_instance() is not first


def block(compute: list[float], proc: list[float], first: int, last: int, elapsed: float) -> Any:
    return types.SimpleNamespace(
        output={1: {"compute": {"block1": compute}, "proc": {"block1": proc}, "au": {}, "throughput": {}}},
        metric_start_step=first,
        metric_end_step=last,
        batch_size=16,
        start_timestamp=0.0,
        end_timestamp=elapsed,
    )


def test_the_metrics_of_a_block_follow_the_published_formulas() -> None:
    counter = block([0.05] * 6, [0.1] * 6, 1, 4, 10.0)
    StatsCounter.compute_metrics_train(counter, 1, 1)
    assert counter.output[1]["throughput"]["block1"] == pytest.approx(4 * 16 / 9.8)
    assert counter.output[1]["au"]["block1"] == pytest.approx(100 * 0.2 / 9.8)


@pytest.mark.parametrize(
    "counter",
    [
        block([0.3], [0.4], 1, 0, 1.0),
        block([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], 3, 2, 5.0),
        block([0.1, 0.2], [0.3, 0.3], 0, 1, 0.0),
        block([], [], 1, -1, 5.0),
    ],
)
def test_a_block_without_steps_or_time_that_count_has_metrics_of_zero(counter: Any) -> None:
    StatsCounter.compute_metrics_train(counter, 1, 1)
    assert counter.output[1]["throughput"]["block1"] == counter.output[1]["au"]["block1"] == 0.0


def test_a_step_of_a_new_block_leaves_the_others_as_they_are() -> None:
    kept = {"block1": [0.1]}
    counter: Any = types.SimpleNamespace(
        output={1: {"proc": {**kept}, "compute": {**kept}}}, start_time_loading=0.0, start_time_compute=1.0
    )
    StatsCounter.batch_processed(counter, 1, 1, 2)
    StatsCounter.batch_processed(counter, 1, 2, 2)
    for name in ("proc", "compute"):
        assert counter.output[1][name]["block1"] == [0.1]
        assert len(counter.output[1][name]["block2"]) == 2
    assert counter.output[1]["proc"]["block2"][0] == counter.output[1]["compute"]["block2"][0] + 1.0
