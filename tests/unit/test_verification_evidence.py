"""What the `evidence` fixture records, and that it records it before it asserts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification.errors import VerificationError
from verification.evidence import Recorder
from verification.journal import decode, encode
from verification.model import EvidenceKind


def test_a_broken_bound_is_recorded_and_then_fails() -> None:
    recorder = Recorder()
    with pytest.raises(AssertionError, match=r"bytes: 11 B is not within \[5, 10\]"):
        recorder.hold(11, what="bytes", at_least=5, at_most=10, unit="B")
    (record,) = recorder.records
    assert (record.held, record.value, record.margin, record.unit) == (False, 11, -1, "B")


def test_a_figure_without_a_bound_is_refused() -> None:
    with pytest.raises(VerificationError, match="holds nothing"):
        Recorder().hold(1, what="bytes")


@given(values=st.lists(st.integers(0, 20), min_size=1))
def test_of_repeated_figures_the_one_nearest_to_its_bound_is_kept(values: list[int]) -> None:
    recorder = Recorder()
    for value in values:
        recorder.hold(value, what="bytes", at_most=20)
    (record,) = recorder.records
    assert (record.value, record.times) == (max(values), len(values))


def test_a_failure_is_kept_whatever_comes_after_it() -> None:
    recorder = Recorder()
    for value in (1, 2, 1):
        try:
            recorder.equal(value, 1, what="value")
        except AssertionError:
            continue
    assert [record.held for record in recorder.records] == [False]


def test_cases_are_counted_by_value() -> None:
    recorder = Recorder()
    for codec in ("zstd", "none", "zstd"):
        recorder.cover("codec", codec)
    assert {(r.what, r.value, r.times) for r in recorder.records} == {("codec", "zstd", 2), ("codec", "none", 1)}


def test_an_error_must_have_its_class_and_name_what_it_should() -> None:
    recorder = Recorder()

    def fail() -> None:
        raise ValueError("column zz is missing in a.parquet")

    recorder.raises(ValueError, fail, naming=("zz", "a.parquet"), what="missing column")
    with pytest.raises(AssertionError, match="does not name"):
        recorder.raises(ValueError, fail, naming=("yy",), what="other column")
    with pytest.raises(AssertionError, match="nothing was raised"):
        recorder.raises(ValueError, lambda: None, what="no error")
    with pytest.raises(ValueError, match="zz"):
        recorder.raises(KeyError, fail, what="another class passes through")


def test_a_caught_saboteur_leaves_one_record_and_no_figures() -> None:
    recorder = Recorder(frozenset({"wrong"}))
    with recorder.saboteur("wrong"):
        recorder.hold(11, what="bytes", at_most=10)
    (record,) = recorder.records
    assert (record.kind, record.what, record.held) == (EvidenceKind.SABOTEUR, "wrong", True)
    assert "11" in record.note
    assert record.value == "bytes"


def test_only_figures_count_as_held() -> None:
    recorder = Recorder()
    recorder.cover("codec", "zstd")
    recorder.caught("wrong", fail_twice)
    assert recorder.held == 0
    recorder.hold(1, what="bytes", at_most=10)
    recorder.equal(2, 2, what="rows")
    assert recorder.held == 2


def test_a_surviving_saboteur_fails_the_test_and_is_recorded() -> None:
    recorder = Recorder()
    with pytest.raises(AssertionError, match="saboteur wrong survived"), recorder.saboteur("wrong"):
        recorder.hold(9, what="bytes", at_most=10)
    assert [record.held for record in recorder.records] == [False]


def test_a_crash_of_the_check_is_no_catch() -> None:
    recorder = Recorder()
    with pytest.raises(ZeroDivisionError), recorder.saboteur("wrong"):
        divide_by_zero()
    assert not recorder.records


def divide_by_zero() -> None:
    raise ZeroDivisionError


def test_other_errors_are_catches_only_if_they_are_named() -> None:
    recorder = Recorder()
    with recorder.saboteur("wrong", by=(ZeroDivisionError,)):
        divide_by_zero()
    assert (recorder.records[0].held, recorder.records[0].value) == (True, "ZeroDivisionError")


def fail_twice() -> None:
    raise ExceptionGroup("two", [AssertionError("a"), AssertionError("b")])


def test_a_group_of_failed_assertions_is_a_catch() -> None:
    recorder = Recorder()
    with recorder.saboteur("wrong"):
        fail_twice()
    assert recorder.records[0].held


def test_a_saboteur_that_is_not_declared_is_refused() -> None:
    with pytest.raises(VerificationError, match="not declared"), Recorder(frozenset()).saboteur("wrong"):
        pass


@given(value=st.integers(-(10**6), 10**6), what=st.text(max_size=20))
def test_evidence_survives_the_journal(value: int, what: str) -> None:
    recorder = Recorder()
    recorder.hold(value, what=what, at_least=-(10**6))
    assert decode(encode(recorder.records[0])) == recorder.records[0]
