"""Tests that show a claim well, and in every way that shows nothing."""

import os

import pytest

from verification.mpi import launch


@pytest.mark.claim("sample-1")
def test_honest(evidence):
    evidence.hold(5, what="size", at_least=4, at_most=6, unit="B")
    evidence.cover("kind", "a")
    with evidence.saboteur("wrong-on-rank-1"):
        raise AssertionError("caught")


@pytest.mark.claim("sample-2")
def test_skipped():
    pytest.skip("not today")


@pytest.mark.claim("sample-3")
def test_emptied(evidence):
    pass


@pytest.mark.claim("sample-4")
def test_wrong(evidence):
    evidence.hold(9, what="size", at_least=4, at_most=6, unit="B")


@pytest.mark.claim("sample-5")
def test_thin(evidence):
    evidence.hold(5, what="size", at_least=4, at_most=6, unit="B")
    with evidence.saboteur("wrong-on-rank-1"):
        raise AssertionError("caught")


@pytest.mark.claim("sample-6")
def test_blind(evidence):
    evidence.hold(5, what="size", at_least=4, at_most=6, unit="B")
    with evidence.saboteur("wrong-on-rank-1"):
        pass


@pytest.mark.claim("sample-7")
def test_loose(evidence):
    evidence.hold(9, what="size", at_most=100, unit="B")
    with evidence.saboteur("wrong-on-rank-1"):
        raise AssertionError("caught")


@pytest.mark.claim("sample-8")
def test_counts_only(evidence):
    evidence.cover("kind", "a")
    with evidence.saboteur("wrong-on-rank-1"):
        raise AssertionError("caught")


def test_runs_once():
    with open(os.environ["CASE_COUNT"], "a") as count:
        count.write("x")


def test_once_means_alone():
    """A serial test, and what it starts, must not wait for ranks that do not run it."""
    assert launch.told_size(os.environ) is None
