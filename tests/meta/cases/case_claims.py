"""Tests that show claims well, and in every way that shows nothing."""

import os

import pytest


def mode():
    return os.environ.get("CASE_MODE", "honest")


@pytest.mark.claim("sample-1")
def test_shows_the_claim(evidence):
    if mode() == "skipped":
        pytest.skip("not today")
    if mode() == "emptied":
        return
    evidence.hold(9 if mode() == "wrong" else 5, what="size", at_least=4, at_most=6, unit="B")
    for kind in ("a",) if mode() == "thin" else ("a", "b"):
        evidence.cover("kind", kind)


@pytest.mark.claim("sample-1")
def test_catches_the_saboteur(evidence):
    evidence.equal(1, 1, what="one")
    with evidence.saboteur("wrong-on-rank-1"):
        assert mode() == "blind", "caught"


def test_runs_once():
    with open(os.environ["CASE_COUNT"], "a") as count:
        count.write("x")
