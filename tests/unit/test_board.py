"""What ranks post can be read back by another process, and is judged by whether anybody moves."""

from __future__ import annotations

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.board import FROZEN_NS, ROW_BYTES, Board, Row, State, judged, missing_of, spelled, stalled, table

SECOND = 10**9
NOW = 1000 * SECOND

counts = st.integers(0, 2**40)
short_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
rows = st.builds(
    Row,
    pid=st.integers(1, 2**22),
    state=st.sampled_from(State),
    code=st.integers(0, 255),
    operations=counts,
    done=counts,
    moved_ns=st.integers(0, 2**62),
    posted_ns=st.integers(0, 2**62),
    stage=short_text,
    waiting=short_text,
    host=short_text,
    segment=short_text,
)


def moving(rank: int) -> Row:
    return Row(pid=rank + 1, operations=5, moved_ns=NOW, posted_ns=NOW, stage="train", host="a")


def waiting(rank: int, *, operations: int = 5, since_s: int = 0) -> Row:
    moved_ns = NOW - since_s * SECOND
    return Row(
        pid=rank + 1, operations=operations, moved_ns=moved_ns, posted_ns=NOW, stage="train", waiting="x", host="a"
    )


def still(rank: int, since_s: int) -> Row:
    return Row(pid=rank + 1, operations=4, moved_ns=NOW - since_s * SECOND, posted_ns=NOW, stage="train", host="a")


@given(row=rows)
def test_a_row_is_read_as_it_was_posted(row: Row) -> None:
    assert Row.unpack(row.pack()) == row


@given(text=st.text(max_size=400))
def test_a_row_has_room_for_any_text(text: str) -> None:
    packed = Row(pid=1, stage=text, waiting=text, host=text, segment=text).pack()
    assert len(packed) == ROW_BYTES
    assert Row.unpack(packed) is not None


@given(row=rows, at=st.integers(0, 297), bit=st.integers(0, 7))
def test_a_torn_row_is_not_believed(row: Row, at: int, bit: int) -> None:
    packed = bytearray(row.pack())
    packed[at] ^= 1 << bit
    assert Row.unpack(bytes(packed)) is None


@given(row=rows, now_ns=st.integers(0, 2**60))
def test_ages_cross_to_another_clock_and_back(row: Row, now_ns: int) -> None:
    assert row.shifted(-now_ns).shifted(now_ns) == row


def test_another_process_reads_the_board_by_its_path() -> None:
    board = Board(2, Board.make(2, "some-mark"))
    board.put(1, moving(1))
    code = (
        "import sys; from dlio_benchmark.board import Board\n"
        "fd = Board.find(sys.argv[1], 'some-mark')\n"
        "rows = Board(2, fd).rows()\n"
        "assert list(rows) == [1] and rows[1].stage == 'train', rows\n"
        "assert Board.find(sys.argv[1], 'another') is None and Board.find(sys.argv[1], '') is None\n"
    )
    subprocess.run([sys.executable, "-c", code, board.path], check=True, stdin=subprocess.DEVNULL, timeout=60)
    board.close()


def test_a_path_that_leads_elsewhere_is_no_board() -> None:
    with open(os.devnull, "rb") as other:
        assert Board.find(f"/proc/{os.getpid()}/fd/{other.fileno()}", "mark") is None
    assert Board.find("", "mark") is None
    assert Board.find("/proc/0/fd/0", "mark") is None


def test_only_the_first_process_may_speak() -> None:
    board = Board(1, Board.make(1, "claimed"))
    code = (
        "import sys; from dlio_benchmark.board import Board\n"
        "print(Board(1, Board.find(sys.argv[1], 'claimed')).claim())\n"
    )
    command = [sys.executable, "-c", code, board.path]

    def other() -> str:
        done = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60, capture_output=True, text=True)
        return done.stdout.strip()

    assert other() == "True"
    assert board.claim()
    assert other() == "False"
    board.close()


@given(size=st.integers(1, 8), slow=st.integers(0, 7), since_s=st.integers(11, 500))
def test_a_slow_rank_that_moves_never_ends_a_run(size: int, slow: int, since_s: int) -> None:
    posted = {rank: waiting(rank, since_s=since_s) for rank in range(size)}
    posted[slow % size] = moving(slow % size)
    assert judged(posted, size, NOW, 10 * SECOND) is None


@given(size=st.integers(2, 8), hung=st.sets(st.integers(0, 7), min_size=1, max_size=4), since_s=st.integers(10, 500))
def test_ranks_that_others_wait_for_past_the_deadline_are_named(size: int, hung: set[int], since_s: int) -> None:
    missing = sorted({rank % size for rank in hung})
    posted = {rank: still(rank, since_s) if rank in missing else waiting(rank, since_s=since_s) for rank in range(size)}
    stuck = judged(posted, size, NOW, 10 * SECOND)
    assert stuck is not None
    assert list(stuck.missing) == missing
    assert f"missing: {spelled(missing)}" in str(stalled(stuck, posted, size, NOW))


def test_a_rank_that_stopped_posting_is_missing_though_it_said_it_waits() -> None:
    frozen = Row(pid=2, operations=5, moved_ns=NOW - 60 * SECOND, posted_ns=NOW - 2 * FROZEN_NS, waiting="x")
    posted = {0: waiting(0), 1: frozen}
    assert missing_of(posted, 2, NOW) == (1,)
    assert "does not answer" in table(posted, 2, NOW)[0]


def test_a_rank_in_an_earlier_operation_is_missing() -> None:
    assert missing_of({0: waiting(0, operations=7), 1: waiting(1, operations=6)}, 2, NOW) == (1,)


def test_a_rank_that_never_posted_is_missing() -> None:
    posted = {0: waiting(0, since_s=20)}
    stuck = judged(posted, 2, NOW, 10 * SECOND)
    assert stuck is not None
    assert stuck.missing == (1,)
    assert "rank 1: has posted nothing" in table(posted, 2, NOW)


def test_a_deadline_of_nought_waits_for_ever() -> None:
    assert judged({0: waiting(0, since_s=10**6)}, 2, NOW, 0) is None


def test_a_table_of_many_ranks_shows_the_missing_ones_first() -> None:
    posted = {rank: waiting(rank) for rank in range(1000)}
    posted[777] = still(777, 30)
    lines = table(posted, 1000, NOW)
    assert lines[0].startswith("rank 777 on host a")
    assert lines[-1] == "and 936 more ranks"


@given(ranks=st.sets(st.integers(0, 40), min_size=1))
def test_spelled_ranks_name_each_once(ranks: set[int]) -> None:
    text = spelled(sorted(ranks)).removeprefix("ranks ").removeprefix("rank ")
    spans = [tuple(map(int, part.split("-"))) for part in text.split(", ")]
    assert [rank for span in spans for rank in range(span[0], span[-1] + 1)] == sorted(ranks)
