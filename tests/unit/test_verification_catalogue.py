"""The claims as data: what is shipped is whole, and what is malformed is refused with every problem named."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.binding import claims_in
from verification.catalogue import load
from verification.errors import CatalogueError
from verification.model import Kind, Level, Status

GOOD = """
schema = 1
[claim.sample-1]
text = "t"
kind = "product"
level = "must"
method = "value"
revision = 1
saboteurs = ["wrong"]
[saboteur]
wrong = { part = "reader", wrong = "is wrong" }
"""


def loaded(folder: Path, text: str, expected: str = "schema = 1") -> object:
    (folder / "claims").mkdir()
    (folder / "expected").mkdir()
    (folder / "claims" / "a.toml").write_text(text)
    (folder / "expected" / "a.toml").write_text(expected)
    return load(folder / "claims", folder / "expected")


def test_all_rows_of_the_first_verification_are_declared() -> None:
    claims = load().claims
    assert {f"truth-{i}" for i in range(1, 11)} <= claims.keys()
    assert {f"artifact-{i}" for i in range(1, 6)} | {f"link-{i}" for i in range(1, 10)} <= claims.keys()
    assert {"TRAIN-05", "TRAIN-06", "end-to-end-1"} | {f"summary-{i}" for i in range(1, 11)} <= claims.keys()
    assert sum(claim.kind is Kind.ANTI_PATTERN for claim in claims.values()) == 4


def test_every_claim_can_fail() -> None:
    for claim in load().claims.values():
        assert claim.saboteurs or claim.rests_on, claim.id
        assert claim.level in Level


def test_at_least_fifty_saboteurs_are_declared() -> None:
    assert len(load().saboteurs) >= 50


def test_a_selection_brings_what_it_rests_on() -> None:
    assert [claim.id for claim in load().select(["truth-10"])] == ["truth-10", "end-to-end-1"]


def test_a_pattern_that_selects_nothing_is_an_error() -> None:
    with pytest.raises(CatalogueError, match="truht-1: no claim has such an id"):
        load().select(["truht-1"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("schema = 1", "schema = 2"), "schema must be 1"),
        (('text = "t"', ""), "text is missing"),
        (('"must"', '"maybe"'), "'maybe' is not one of must, should"),
        (('kind = "product"', 'kind = "rumour"'), "'rumour' is not one of"),
        (("revision = 1", "revision = 0"), "revision: must be a whole number of at least 1"),
        (("revision = 1", "revision = true"), "revision: must be a whole number"),
        (("revision = 1", "revision = 1\nranks = []"), "ranks: must be a list of whole numbers"),
        (("revision = 1", "revision = 1\nstatus = 'VERIFIED'"), "unknown key status"),
        (("revision = 1", "revision = 1\nhuman = true"), "unknown key human"),
        (("revision = 1", 'revision = 1\nrests_on = ["sample-2"]'), "rests on sample-2, which is not declared"),
        (("revision = 1", 'revision = 1\nrests_on = ["sample-1"]'), "rests on itself"),
        (('["wrong"]', '["absent"]'), "saboteur absent is not declared"),
        (('["wrong"]', '["wrong", "wrong"]'), "must be a list of different texts"),
        (("sample-1", '"sample"'), "an id is words and a number"),
        (("revision = 1", 'revision = 1\nbounds = { x = { unit = "B" } }'), "bounds:"),
        (("revision = 1", "revision = 1\nmust_cover = { codec = 1 }"), "must_cover: must be a list"),
        (('part = "reader", ', ""), "must say part and wrong"),
        (("[claim.sample-1]", "[claims.sample-1]"), "unknown table claims"),
    ],
)
def test_a_malformed_catalogue_is_refused(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(CatalogueError) as caught:
        loaded(tmp_path, GOOD.replace(*change))
    assert problem in str(caught.value)


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError) as caught:
        loaded(tmp_path, GOOD.replace('"must"', '"maybe"').replace('text = "t"', "").replace('["wrong"]', "1"))
    assert len(caught.value.problems) == 3


EXPECTED = """
schema = 1
[[expected]]
claim = "sample-1"
target = "other"
status = "FAILED"
reason = "known"
expires = 2027-01-01
witness = "test_a"
"""


def test_an_expectation_says_why_until_when_and_what_must_be_seen(tmp_path: Path) -> None:
    known = loaded(tmp_path, GOOD, EXPECTED)
    assert known.expectations[0].status is Status.FAILED  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", ['reason = "known"\n', "expires = 2027-01-01\n", 'witness = "test_a"\n'])
def test_an_expectation_without_reason_expiry_or_witness_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(CatalogueError, match="must say"):
        loaded(tmp_path, GOOD, EXPECTED.replace(line, ""))


def test_the_claims_of_a_module_are_read_from_its_text() -> None:
    known = load()
    marked = '@pytest.mark.claim("truth-1", \'truth-2\')\n\n@pytest.mark.claim(\n    "link-1"\n)\ntruth-3'
    assert claims_in(marked, known) == {name: known.claims[name].revision for name in ("link-1", "truth-1", "truth-2")}
    assert claims_in("def test_it(): pass", known) == {}
    for unclear in ("name", 'f"artifact-{number}"', '"truth-1", name', '"truth-99"', ""):
        assert claims_in(f"pytest.mark.claim({unclear})", known).keys() == known.claims.keys(), unclear
