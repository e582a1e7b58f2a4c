"""Small wrongs of loaders: what a piece is counted as, which task it is in, and where its values lie in a parcel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from measured import SlowPieces

from dlio_benchmark.batch import Block
from dlio_benchmark.clock import FakeClock
from dlio_benchmark.common.enumerations import ShuffleScope
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.data_loader.base import Preprocessing, Source
from dlio_benchmark.data_loader.parcel import parcel_of, unpacked
from dlio_benchmark.data_loader.synthetic import SyntheticLoader
from dlio_benchmark.data_loader.tasks import Desk, Task, tasks
from dlio_benchmark.memory import Pieces
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Piece, Shuffling, Visit
from dlio_benchmark.plan.order import Order
from dlio_benchmark.plan.world import World
from dlio_benchmark.reader.base import BlockRead, BlockShape
from dlio_benchmark.reader.null import NullFile, NullReader
from dlio_benchmark.values import Parted

MIB = 1 << 20
ROWS = 10
NUMBERS = Block(ROWS, {"n": np.arange(ROWS)})


# -- what is counted ---------------------------------------------------------------------------------------------------
@dataclass
class Slow:
    """A reader whose every step takes a time of its own; it is its one file as well."""

    clock: FakeClock
    block: Block = NUMBERS
    decode: str = "full"
    path: str = "f"
    footer_bytes: int = 5
    shapes: Sequence[BlockShape] = (BlockShape(ROWS, 2, 300, 400),)

    def open(self, path: str) -> Slow:
        self.clock.advance(1_000)
        return self

    def read(self, index: int) -> BlockRead:
        self.clock.advance(10_000)
        return BlockRead(self.block, 2, bytes_requested=310, bytes_read=305, requests=7, io_ns=11, decode_ns=13)

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def source() -> Source:
    clock = FakeClock(5)
    work = Preprocessing(Duration("constant", (1e-3,)), clock, np.random.default_rng(0))
    return Source(Slow(clock), clock, work, SlowPieces(clock))


def test_opening_is_counted_as_a_file_with_its_footer_and_its_time(source: Source) -> None:
    assert source.open("f")[1] == Tally(files=1, footer_bytes=5, io_ns=1_000)


def test_what_a_piece_took_stands_in_its_place(source: Source) -> None:
    counted = Tally(
        rows=3,
        row_groups=2,
        blocks=1,
        requests=7,
        bytes_promised=300,
        bytes_requested=310,
        bytes_read=305,
        io_ns=11,
        decode_ns=13,
        preprocess_ns=3_000_000,
    )
    file, _ = source.open("f")
    run, tally = source.read(file, Piece(0, 2, 5))
    assert run == (NUMBERS, 2, 5)
    assert tally == counted
    (block, start, stop), tally = source.read(file, Piece(0, 2, 5, key=9))
    counted.shuffle_ns = 200  # the rows, and the piece that they are taken from
    assert tally == counted
    assert (block.rows, start, stop) == (3, 0, 3)


class Taking(Slow):
    """A reader that takes rows itself, which takes 17 ns."""

    def read_rows(self, index: int, rows: np.ndarray[Any, Any]) -> BlockRead:
        """Say which rows were asked for, as values of a column."""
        self.clock.advance(10_000)
        block = Block(len(rows), {"asked": rows})
        return BlockRead(block, 2, 310, 305, 7, io_ns=11, decode_ns=13, shuffle_ns=17)


def test_a_reader_that_can_take_rows_is_asked_to(source: Source) -> None:
    file = Taking(source.clock)  # type: ignore[arg-type]  # a clock for tests
    (block, start, stop), tally = source.read(file, Piece(0, 2, 5, key=9))
    assert block.columns["asked"].tolist() == Order(ROWS, 9)[2:5].tolist()
    assert (start, stop) == (0, 3)
    assert (tally.rows, tally.io_ns, tally.decode_ns, tally.shuffle_ns) == (3, 11, 13, 17)
    some = np.array([7, 1])
    (block, start, stop), _ = source.read(file, Piece(0, 0, 2, rows=some))
    assert block.columns["asked"].tolist() == [7, 1]
    assert (start, stop) == (0, 2)
    (block, start, stop), tally = source.read(file, Piece(0, 2, 5))
    assert (block, start, stop, tally.shuffle_ns) == (NUMBERS, 2, 5, 0)


def test_working_out_the_order_counts_as_shuffling(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    file, original = Taking(source.clock), Piece.chosen  # type: ignore[arg-type]  # a clock for tests

    def late(piece: Piece, rows: int) -> Any:
        file.clock.advance(1_000)
        return original(piece, rows)

    monkeypatch.setattr(Piece, "chosen", late)
    _, tally = source.read(file, Piece(0, 2, 5, key=9))
    assert tally.shuffle_ns == 17 + 1_000


def test_joining_the_parts_of_a_block_counts_as_decoding(source: Source) -> None:
    file, _ = source.open("f")
    assert isinstance(file, Slow)
    file.block = Block(ROWS, Parted({"n": [np.arange(5), np.arange(5)]}))
    _, tally = source.read(file, Piece(0, 0, ROWS))
    assert (tally.decode_ns, tally.shuffle_ns) == (13 + 100, 0)


class Watching(FakeClock):
    """Notes how many pieces of memory are lent while somebody sleeps."""

    def __init__(self, memory: Pieces) -> None:
        super().__init__()
        self.memory, self.lent = memory, 0

    def sleep(self, seconds: float) -> None:
        self.lent = len(self.memory._lent)
        super().sleep(seconds)


@pytest.mark.parametrize("key", [None, 9])
def test_what_was_read_is_let_go_before_samples_are_worked_on_if_it_was_copied(key: int | None) -> None:
    memory = Pieces()
    clock = Watching(memory)

    class Fresh(Slow):
        def read(self, index: int) -> BlockRead:
            parts = [memory.empty(ROWS // 2, np.dtype("i4")) for _ in range(2)]
            return replace(super().read(index), block=Block(ROWS, Parted({"n": parts})))

    work = Preprocessing(Duration("constant", (1e-3,)), clock, np.random.default_rng(0))
    run, _ = Source(Fresh(clock), clock, work, memory).read(Fresh(clock), Piece(0, 0, ROWS, key=key))
    assert clock.lent == 1
    assert list(run[0].columns) == ["n"]


def test_pieces_of_one_key_share_the_rows_of_their_block_in_another_order(source: Source) -> None:
    file, _ = source.open("f")
    runs = [source.read(file, piece)[0] for piece in (Piece(0, 0, 4, key=9), Piece(0, 4, ROWS, key=9))]
    found = [value for block, start, stop in runs for value in block.columns["n"][start:stop].tolist()]
    assert [stop - start for _, start, stop in runs] == [4, 6]
    assert sorted(found) == list(range(ROWS))
    assert found != sorted(found)


def test_rows_of_the_synthetic_loader_are_counted() -> None:
    tally = Tally()
    assert [len(batch) for batch in SyntheticLoader().batches(EpochPlan(np.array([25]), 6), str, tally)] == [6] * 4
    assert tally == Tally(rows=24)


# -- tasks -------------------------------------------------------------------------------------------------------------
DEALT = [
    ([16 * MIB], 1.0, ["0"]),
    ([16 * MIB + 1], 1.0, ["0 1/2", "0 2/2"]),
    ([48 * MIB], 1.0, ["0 1/3", "0 2/3", "0 3/3"]),
    ([32 * MIB], 0.5, ["0"]),
    ([6 * MIB], 3.0, ["0 1/2", "0 2/2"]),
    ([MIB // 2] * 4, 1.0, ["0+1", "2+3"]),
    ([MIB // 2, MIB // 2 + 1, MIB // 2 - 1, 1], 1.0, ["0", "1+2", "3"]),
    ([MIB, MIB], 1.0, ["0", "1"]),
    ([1] * 33, 1.0, ["+".join(map(str, range(at, min(at + 16, 33)))) for at in (0, 16, 32)]),
    ([5, 5, 17 * MIB, 5, 5], 1.0, ["0+1", "2 1/2", "2 2/2", "3+4"]),
    ([17 * MIB, 5, 17 * MIB], 1.0, ["0 1/2", "0 2/2", "1", "2 1/2", "2 2/2"]),
]


def said(task: Task) -> str:
    files = "+".join(path for path, _ in task.visits)
    return files if task.shares == 1 else f"{files} {task.share + 1}/{task.shares}"


@pytest.mark.parametrize(("rows", "row_bytes", "dealt"), DEALT)
def test_small_visits_are_dealt_together_and_large_ones_in_shares(
    rows: list[int], row_bytes: float, dealt: list[str]
) -> None:
    found = list(tasks(EpochPlan(np.array(rows), 1), str, row_bytes=row_bytes))
    assert [said(task) for task in found] == dealt
    assert all(task.shares > 1 or task.share == 0 for task in found)
    assert {task.turn for task in found} == {0}


def test_a_visit_is_as_large_as_the_rows_of_it_that_are_read() -> None:
    plan = EpochPlan(np.array([40 * MIB]), 1, World(1, 4))
    assert [said(task) for task in tasks(plan, str, row_bytes=1.0, turn=3)] == ["0"]
    assert [said(task) for task in tasks(plan, str, row_bytes=2.0, turn=3)] == ["0 1/2", "0 2/2"]
    assert {task.turn for task in tasks(plan, str, row_bytes=1.0, turn=3)} == {3}


def test_a_task_travels_without_the_list_of_files_and_keeps_the_rest_of_the_plan() -> None:
    plan = EpochPlan(np.full(99, 10), 7, World(1, 2), Shuffling(1, 2, ShuffleScope.ROW_GROUP), 3)
    (first, *_) = tasks(plan, str, row_bytes=1.0)
    rule = first.plan
    assert rule.rows.nbytes == 0
    assert rule.rows.base is None
    assert (rule.batch, rule.world, rule.shuffling, rule.most_steps) == (7, plan.world, plan.shuffling, 3)


@pytest.mark.parametrize(("blocks", "shares"), [(7, 3), (6, 3), (2, 3), (1, 1), (9, 1), (16, 5)])
def test_shares_of_a_visit_are_its_pieces_in_order_and_nearly_equal(blocks: int, shares: int) -> None:
    file = NullReader(10 * blocks, 10).open("f")
    plan = EpochPlan(np.array([10 * blocks]), 1)
    (visit,) = plan.visits()
    dealt = [Task(0, (("f", visit),), plan, share, shares).pieces(visit, file) for share in range(shares)]
    assert [piece for pieces in dealt for piece in pieces] == [Piece(block, 0, 10) for block in range(blocks)]
    assert {len(pieces) for pieces in dealt} <= {blocks // shares, -(-blocks // shares)}


def test_a_task_is_the_whole_of_its_visits_unless_it_says_otherwise() -> None:
    plan = EpochPlan(np.array([20]), 1)
    (visit,) = plan.visits()
    assert len(Task(0, (("f", visit),), plan).pieces(visit, NullReader(20, 10).open("f"))) == 2


@dataclass
class Counting:
    """Opens files of 40 rows in 4 blocks, and notes what it opens and what is closed."""

    decode: str = "none"
    log: list[str] = field(default_factory=list)

    def open(self, path: str) -> NullFile:
        self.log.append(f"open {path}")
        return Counted(path, self.log)


class Counted(NullFile):
    def __init__(self, path: str, log: list[str]) -> None:
        super().__init__(path, NullReader(40, 10).open(path).shapes)
        self.log = log

    def close(self) -> None:
        self.log.append(f"close {self.path}")


PLAN = EpochPlan(np.array([40]), 1)


def share(turn: int, path: str, number: int, shares: int = 2) -> Task:
    return Task(turn, ((path, Visit(0, 0, 40)),), PLAN, number, shares)


def test_a_desk_keeps_a_file_for_the_next_share_of_it_in_the_same_pass_only() -> None:
    reader = Counting()
    desk = Desk(Source(reader, FakeClock()))
    desk.work(share(1, "a", 0))
    assert reader.log == ["open a"]
    desk.work(share(1, "a", 1))
    assert reader.log == ["open a", "close a"]
    desk.work(share(2, "a", 0))
    desk.work(share(3, "a", 0))
    assert reader.log[2:] == ["open a", "close a", "open a"]
    desk.work(share(3, "b", 0))
    assert reader.log[5:] == ["close a", "open b"]
    desk.close()
    desk.close()
    assert reader.log[7:] == ["close b"]


def test_a_desk_keeps_the_file_of_every_share_but_the_last() -> None:
    reader = Counting()
    desk = Desk(Source(reader, FakeClock()))
    for number in range(4):
        desk.work(share(1, "a", number, 4))
        assert reader.log == ["open a", "close a"][: 1 + (number == 3)]


def test_a_desk_brings_the_runs_of_all_visits_and_counts_them() -> None:
    desk = Desk(Source(Counting(), FakeClock()))
    visits = (("a", Visit(0, 5, 40)), ("b", Visit(1, 0, 15)))
    runs, tally = desk.work(Task(0, visits, PLAN))
    assert [(start, stop) for _, start, stop in runs] == [(5, 10), (0, 10), (0, 10), (0, 10), (0, 10), (0, 5)]
    assert tally == Tally(rows=50, row_groups=6, blocks=6, files=2)
    runs, tally = desk.work(share(1, "a", 1))
    assert [(start, stop) for _, start, stop in runs] == [(0, 10)] * 2
    assert tally == Tally(rows=20, row_groups=2, blocks=2, files=1)


# -- parcels -----------------------------------------------------------------------------------------------------------
def test_values_lie_in_a_parcel_one_after_the_other_at_multiples_of_64_bytes() -> None:
    columns = {"a": np.arange(9.0), "t": pa.array(["text"] * 9), "b": np.ones(9, np.int8), "c": np.ones((9, 3))}
    block = Block(9, columns)
    parcel = parcel_of([(block, 0, 9), (block, 2, 5)])
    memory = np.zeros(parcel.bytes + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    parcel.pack(memory[begin : begin + parcel.bytes])
    places = []
    for unpacked_block, _, _ in unpacked(memory[begin : begin + parcel.bytes], parcel.layouts()):
        values = unpacked_block.columns
        assert values["t"].to_pylist() == ["text"] * unpacked_block.rows
        places.append([values[name].ctypes.data - memory.ctypes.data - begin for name in "abc"])
    assert places[0] == [0, 128, 192]
    assert places[1][0] % 64 == 0
    assert np.diff(places[1]).tolist() == [64, 64]
    streams = [layout.stream for layout in parcel.layouts()]
    assert [start % 64 for start, _ in streams] == [0, 0]
    assert streams[0][0] == 192 + 9 * 3 * 8 + (-9 * 3 * 8) % 64
    assert places[1][0] == -(-streams[0][1] // 64) * 64
    assert parcel.bytes == -(-streams[1][1] // 64) * 64
