"""Pieces of memory come back when the last view is gone, and are used again."""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import pickle
import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.memory import Pieces


def test_a_piece_is_used_again_once_no_view_of_it_is_left() -> None:
    memory = Pieces()
    first = memory.empty(1000, np.dtype("<f4"))
    place, part = first.__array_interface__["data"][0], first[10:20]
    del first
    other = memory.empty(1000, np.dtype("<f4"))
    assert other.__array_interface__["data"][0] != place
    del part
    assert memory.empty(1000, np.dtype("<f4")).__array_interface__["data"][0] == place


def test_the_piece_that_was_used_last_is_used_next_and_the_one_that_waits_longest_is_given_back() -> None:
    memory, mib = Pieces(), 1 << 20
    held = [memory.empty(mib, np.dtype("u1")) for _ in range(2)]
    places = [one.__array_interface__["data"][0] for one in held]
    held.pop()
    held.pop()
    assert memory.empty(mib, np.dtype("u1")).__array_interface__["data"][0] == places[0]
    memory = Pieces()
    for size in (2 * mib, 3 * mib):
        memory.reserve(size)
    larger = memory.reserve(4 * mib)
    assert memory.idle_bytes == 3 * mib
    del larger


@given(st.lists(st.tuples(st.integers(0, 100_000), st.booleans()), max_size=30))
def test_pieces_in_use_never_overlap(steps: list[tuple[int, bool]]) -> None:
    memory = Pieces()
    held: list[tuple[int, memoryview]] = []
    for number, (size, keep) in enumerate(steps):
        piece = memory.reserve(size)
        assert len(piece) == size
        np.frombuffer(piece, np.uint8)[:] = number
        held.append((number, piece))
        del piece
        if not keep:
            held.pop(number * 7 % len(held))
    assert all(set(piece.tolist()) <= {number} for number, piece in held)


@given(st.lists(st.lists(st.integers(1, 200_000), min_size=1, max_size=5), min_size=1, max_size=12))
def test_all_pieces_have_at_most_twice_what_was_in_use_at_once(rounds: list[list[int]]) -> None:
    memory = Pieces()
    most = 0
    for sizes in rounds:
        held = [memory.reserve(size) for size in sizes]
        # A piece is less than half as large again as what was asked for, and whole pages.
        most = max(most, sum(size + size // 2 + mmap.PAGESIZE for size in sizes))
        assert memory.idle_bytes + sum(sizes) <= most * 2
        held.clear()
        assert memory.idle_bytes <= most * 2


def test_pieces_come_back_from_any_thread() -> None:
    memory = Pieces()
    held = [memory.reserve(5000)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert memory.idle_bytes == 2 * mmap.PAGESIZE


def test_a_circle_that_is_collected_gives_its_piece_back() -> None:
    memory = Pieces()
    circle: list[object] = [memory.reserve(5000)]
    circle.append(circle)
    del circle
    gc.collect()
    assert memory.idle_bytes == 2 * mmap.PAGESIZE


def test_a_copy_for_another_process_begins_empty() -> None:
    memory = Pieces()
    memory.reserve(10)
    copy: Pieces = pickle.loads(pickle.dumps(memory))
    assert copy.idle_bytes == 0
    assert len(copy.reserve(10)) == 10


def _fill(memory: Pieces, octet: int) -> None:
    np.frombuffer(memory.reserve(5000), np.uint8)[:] = octet


def test_processes_that_were_forked_write_into_pieces_of_their_own() -> None:
    memory = Pieces()
    memory.reserve(5000)  # from now on it waits, here and in the other process
    other = multiprocessing.get_context("fork").Process(target=_fill, args=(memory, 7))
    other.start()
    other.join()
    assert other.exitcode == 0
    assert bytes(memory.reserve(5000)) == bytes(5000)
