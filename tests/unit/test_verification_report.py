"""The report says what the evidence says, in every form; the gate and the lint object to everything else."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from verification.catalogue import Catalogue, Saboteur, load
from verification.cli import main
from verification.collect import Collected, Stretch
from verification.errors import VerificationError
from verification.gate import Demands, objections
from verification.judge import judge
from verification.lint import lint, orphans, unknown_or_untried
from verification.matrix import matrix
from verification.model import (
    Check,
    Circumstances,
    Claim,
    Evidence,
    EvidenceKind,
    Kind,
    Level,
    Method,
    Outcome,
    Status,
)
from verification.report import Origin, build, write
from verification.report.html import html
from verification.report.junit import junit
from verification.report.markdown import markdown
from verification.report.summary import job_summary
from verification.report.write import validate

NOW = Circumstances(today=date(2026, 6, 1))
ORIGIN = Origin(revision="abc", moment=datetime(2026, 6, 1, tzinfo=UTC))
CLAIM = Claim("truth-1", "a | truth <b>", Kind.TRUTH, Level.MUST, Method.BYTES, saboteurs=("wrong",))
KNOWN = Catalogue({"truth-1": CLAIM}, {"wrong": Saboteur("wrong", "reader", "is wrong")})
FIGURE = Evidence(EvidenceKind.FIGURE, "bytes", True, 7, at_most=10, unit="B", margin=3)
CHECK = Check(
    "tests/t.py::test_a",
    1,
    Outcome.PASSED,
    {"truth-1": 1},
    by_rank={0: "passed"},
    evidence=(FIGURE, Evidence(EvidenceKind.SABOTEUR, "wrong", True, "bytes")),
)
LINE = Stretch("tests/t.py::test_a", 1, 0, 1.0, 2.0, "passed")


def collected(*checks: Check, gaps: tuple[str, ...] = ()) -> Collected:
    return Collected(checks, not gaps, gaps, (LINE,), ())


GREEN = build(KNOWN, collected(CHECK), NOW, ORIGIN)
RED = build(KNOWN, collected(replace(CHECK, outcome=Outcome.FAILED, detail="x\x00y ]]>")), NOW, ORIGIN)
CUT = build(KNOWN, collected(CHECK, gaps=("rank 1 of 2 did not finish",)), NOW, ORIGIN)
LOOSE = build(KNOWN, collected(CHECK, replace(CHECK, id="t.py::b", claims={}, outcome=Outcome.CRASHED)), NOW, ORIGIN)


def test_only_a_complete_run_without_anything_red_passes() -> None:
    assert [result["status"] for result in (GREEN, RED, CUT, LOOSE)] == ["passed"] + ["gaps_found"] * 3
    assert build(Catalogue({}, {}), collected(CHECK), NOW, ORIGIN)["status"] == "gaps_found"


@pytest.mark.parametrize("result", [GREEN, RED, CUT, LOOSE])
def test_every_result_fits_the_schema_and_every_form_can_be_made(result: dict[str, object], tmp_path: Path) -> None:
    paths = write(result, tmp_path)
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / "verification.json").read_text()) == result
    ET.parse(tmp_path / "junit.xml")


def test_a_result_that_leaves_something_to_a_human_is_refused() -> None:
    with pytest.raises(VerificationError, match="human_verification"):
        validate({**GREEN, "human_verification": ["look at it"]})


def test_the_markdown_has_the_form_of_the_first_verification() -> None:
    text = markdown(GREEN)
    head = text.split("---\n")[1]
    for line in ("phase: 11-comprehensive-parquet-support", "status: passed", "score: 1/1 must-haves verified"):
        assert line in head
    assert "gaps: []\nhuman_verification: []" in head
    assert (
        "| 1 | a \\| truth <b> | VERIFIED | bytes 7 B (at most 10, margin 3); 1 check(s); 1/1 saboteurs caught |"
        in text
    )


def test_a_gap_is_named_with_its_reason() -> None:
    text = markdown(RED)
    assert "status: gaps_found" in text
    assert '- claim: "truth-1"\n    status: "FAILED"' in text


def test_junit_counts_claims_failed_tests_and_an_incomplete_journal() -> None:
    def counts(result: dict[str, object]) -> tuple[str | None, ...]:
        suite = ET.fromstring(junit(result))[0]
        return tuple(suite.get(key) for key in ("tests", "failures", "errors", "skipped"))

    assert counts(GREEN) == ("1", "0", "0", "0")
    assert counts(RED) == ("1", "1", "0", "0")
    assert counts(CUT) == ("2", "0", "1", "0")
    assert counts(LOOSE) == ("2", "1", "0", "0")


def test_the_job_summary_is_cut_to_the_limit() -> None:
    assert len(job_summary(RED, limit=700).encode()) <= 700
    assert "the rest is in VERIFICATION.md" in job_summary(RED, limit=700)
    assert job_summary(GREEN).startswith("# ✅ Verification")


def test_the_page_is_self_contained_and_escapes_what_it_shows() -> None:
    page = html(RED)
    assert "a | truth &lt;b&gt;" in page
    assert "<b>truth" not in page
    for outside in ("http://", "https://", "<script", "url("):
        assert outside not in page
    assert page.index("Gaps found") < page.index("truth-1")


def test_the_page_plots_what_was_measured() -> None:
    growth = replace(FIGURE, what="growth of the peak from 8 to 64 row groups", value=0.5, unit="row groups")
    peak = replace(FIGURE, what="peak with 64 row groups", value=2.5, at_most=16, unit="row groups")
    check = replace(CHECK, evidence=(*CHECK.evidence, FIGURE, growth, peak))
    page = html(build(KNOWN, collected(check), NOW, replace(ORIGIN, previous=RED)))
    assert "truth-1: bytes: 7 B at most 10, held 2 times" in page
    for title in (
        "Bytes read against bytes needed",
        "Peak memory",
        "Saboteurs caught",
        "What each rank did",
        "last runs",
    ):
        assert title in page
    assert "rank 0 of 1: 1 s in 1 tests" in page


def test_claims_that_lack_the_same_stand_together() -> None:
    other = Claim("truth-2", "another", Kind.TRUTH, Level.MUST, Method.BYTES, saboteurs=("wrong",))
    page = html(build(Catalogue({"truth-1": CLAIM, "truth-2": other}, {}), collected(), NOW, ORIGIN))
    assert '<a href="#truth-1">truth-1</a>, <a href="#truth-2">truth-2</a>: no test is bound to this claim' in page


def test_a_second_run_is_compared_with_the_first() -> None:
    again = build(KNOWN, collected(CHECK), NOW, replace(ORIGIN, previous=RED))
    assert again["re_verification"]["gaps_closed"] == ["truth-1"]
    back = build(KNOWN, collected(), NOW, replace(ORIGIN, previous=again))
    assert back["re_verification"]["regressions"] == ["truth-1"]
    assert len(back["history"]) == 3


def test_the_gate_reads_the_result() -> None:
    assert objections(GREEN, Demands()) == []
    assert objections(RED, Demands()) == ["truth-1: FAILED"]
    assert objections(CUT, Demands()) == ["incomplete: rank 1 of 2 did not finish"]
    assert objections(LOOSE, Demands()) == ["t.py::b: crashed (a test without a claim)"]
    assert objections(GREEN, Demands(ranks=(2,))) == ["nothing ran with 2 rank(s)"]
    gone = {**GREEN, "claims": []}
    assert "truth-1: was declared before and is gone" in objections(gone, Demands(), GREEN)
    assert "truth-1: was VERIFIED, is FAILED" in objections(RED, Demands(), GREEN)
    unbound = build(KNOWN, collected(), NOW, ORIGIN)
    assert objections(unbound, Demands()) == ["truth-1: NO CHECK"]
    assert objections(unbound, Demands(not_run=1)) == []


def test_the_gate_takes_no_part_for_the_whole() -> None:
    part = build(KNOWN, collected(CHECK), NOW, replace(ORIGIN, scope=["truth-*"]))
    assert objections(part, Demands()) == ["the result is about truth-* only; --partial would take it for enough"]
    assert objections(part, Demands(partial=True)) == []
    assert objections({**part, "target": "other"}, Demands()) == []  # of which only some claims can be seen


def test_tests_that_were_skipped_did_not_run_with_any_number_of_ranks() -> None:
    skipped = replace(CHECK, id="t.py::b", ranks=2, claims={}, outcome=Outcome.SKIPPED)
    result = build(KNOWN, collected(CHECK, skipped), NOW, ORIGIN)
    assert objections(result, Demands(ranks=(1, 2))) == ["nothing ran with 2 rank(s)"]


def test_the_matrix_shows_claims_by_targets() -> None:
    other = {**RED, "target": "upstream"}
    assert "| truth-1 | VERIFIED | FAILED |" in matrix([GREEN, other])
    assert json.loads(matrix([GREEN, other], as_json=True))["targets"] == ["native", "upstream"]


def test_lint_finds_claims_that_nothing_shows_and_saboteurs_that_nobody_tries() -> None:
    assert orphans(KNOWN, {}) == ["truth-1: 0 test(s) are bound to it, 1 are wanted"]
    assert orphans(KNOWN, {"truth-1": {"t.py::a": [2]}}) == ["truth-1: no test runs with [1] rank(s)"]
    assert orphans(KNOWN, {"truth-1": {"t.py::a": [1]}}) == []
    assert unknown_or_untried(KNOWN, [("trial", "rogue")]) == [
        "saboteur rogue is tried but not declared",
        "saboteur wrong is declared but never tried",
    ]
    assert unknown_or_untried(KNOWN, [("word", "wrong")]) == []


def test_the_kill_score_is_a_claim_of_its_own() -> None:
    score = replace(CLAIM, id="product-8", saboteurs=("wrong",), subject={"computed": "kill score"})
    known = Catalogue({"product-8": score}, KNOWN.saboteurs)
    same = replace(CHECK, id="tests/t.py::test_b")
    other = replace(same, evidence=(FIGURE, Evidence(EvidenceKind.SABOTEUR, "wrong", True, "rows")))
    once, again, twice = (build(known, collected(CHECK, *more), NOW, ORIGIN) for more in ((), (same,), (other,)))
    assert [r["kill_score"]["caught_twice"] for r in (once, again, twice)] == [0, 0, 1]
    assert [r["claims"][0]["status"] for r in (once, again, twice)] == ["FAILED", "FAILED", "VACUOUS"]


@pytest.mark.claim("product-9")
def test_a_report_that_lies_is_found_out(evidence) -> None:  # type: ignore[no-untyped-def]
    def honest(result: dict[str, object]) -> None:
        verdicts = judge([CLAIM], [], NOW)
        shown = {row["id"]: row["status"] for row in result["claims"]}  # type: ignore[attr-defined]
        evidence.equal(shown, {key: v.status.value for key, v in verdicts.items()}, what="statuses as judged")

    honest(build(KNOWN, collected(), NOW, ORIGIN))
    with evidence.saboteur("report-that-claims-unshown-truths"):
        honest(GREEN)

    def blames(check: Check, status: Status) -> None:
        (row,) = build(KNOWN, collected(check), NOW, ORIGIN)["claims"]
        evidence.equal(row["status"], status.value, what=f"status after {check.outcome.value}")

    skipped = replace(CHECK, outcome=Outcome.SKIPPED)
    blames(skipped, Status.NOT_RUN)
    with evidence.saboteur("report-that-counts-skipped-as-passed"):
        blames(replace(skipped, outcome=Outcome.PASSED), Status.NOT_RUN)
    hidden = replace(CHECK, outcome=Outcome.FAILED, ranks=2, by_rank={0: "passed", 1: "failed"})
    blames(hidden, Status.FAILED)
    with evidence.saboteur("report-that-hides-a-failed-rank"):
        blames(replace(hidden, outcome=Outcome.PASSED, ranks=1), Status.FAILED)


@pytest.mark.claim("product-8")
def test_a_check_that_cannot_fail_is_called_vacuous(evidence) -> None:  # type: ignore[no-untyped-def]
    blind = Evidence(EvidenceKind.SABOTEUR, "wrong", False)

    def seen(check: Check) -> None:
        (row,) = build(KNOWN, collected(check), NOW, ORIGIN)["claims"]
        evidence.equal(row["status"], "VACUOUS", what="status of a claim whose check cannot fail")

    seen(replace(CHECK, evidence=(FIGURE, blind)))
    with evidence.saboteur("check-that-cannot-fail"):
        seen(CHECK)


@pytest.mark.claim("product-9")
def test_the_gate_finds_out_a_report_that_lies(evidence) -> None:  # type: ignore[no-untyped-def]
    def closed(*checks: Check) -> None:
        found = objections(build(KNOWN, collected(*checks), NOW, ORIGIN), Demands())
        evidence.hold(len(found), what="objections of the gate", at_least=1, unit="objections")

    skipped = replace(CHECK, outcome=Outcome.SKIPPED)
    hidden = replace(CHECK, outcome=Outcome.FAILED, ranks=2, by_rank={0: "passed", 1: "failed"})
    wrong = {
        "report-that-claims-unshown-truths": ((), (CHECK,)),
        "report-that-counts-skipped-as-passed": ((skipped,), (replace(skipped, outcome=Outcome.PASSED),)),
        "report-that-hides-a-failed-rank": ((hidden,), (replace(hidden, outcome=Outcome.PASSED, ranks=1),)),
    }
    for name, (honest, lying) in wrong.items():
        closed(*honest)
        with evidence.saboteur(name):
            closed(*lying)


@pytest.mark.claim("product-8")
def test_a_claim_without_a_trial_is_vacuous(evidence) -> None:  # type: ignore[no-untyped-def]
    def seen(*trials: Evidence) -> None:
        verdict = judge([CLAIM], [replace(CHECK, evidence=(FIGURE, *trials))], NOW)["truth-1"]
        evidence.equal(verdict.status, Status.VACUOUS, what="status of a claim whose check was never seen to fail")

    seen()
    with evidence.saboteur("check-that-cannot-fail"):
        seen(Evidence(EvidenceKind.SABOTEUR, "wrong", True))


def test_the_command_line_lists_explains_and_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["list", "--claims", "truth-*"]) == 0
    assert capsys.readouterr().out.count("truth-") == 10 + 0
    write(RED, tmp_path)
    assert main(["why", "truth-1", "--out", str(tmp_path)]) == 1
    assert "because" in capsys.readouterr().out
    assert main(["gate", str(tmp_path / "verification.json")]) == 1
    assert main(["why", "truth-99", "--out", str(tmp_path)]) == 2
    assert main(["report", str(tmp_path / "absent"), "--out", str(tmp_path)]) == 1
    assert "no journal found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["gate", "OTHER"], "schema"),
        (["gate", "LIST"], "schema"),
        (["matrix", "LIST"], "schema"),
        (["why", "truth-1", "--out", "FILE/below"], "FILE/below"),
        (["report", "JOURNAL", "--out", "FILE"], "FILE"),
        (["run", "--out", "FILE/below"], "FILE/below"),
        (["run", "--target", "a'b", "--out", "OUT"], "a'b"),
        (["matrix", "--exchange", "a'b"], "a'b"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_in_a_line(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {"OTHER": "{}", "LIST": "[]", "FILE": "", "JOURNAL": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for stage in ("black_box", "unit", "mpi", "end_to_end", "meta"):
        (tmp_path / "tests" / stage).mkdir(parents=True)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1


def test_a_profile_that_nobody_declared_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--profile", "nope"])
    assert ended.value.code == 2
    assert "'nope'" in capsys.readouterr().err


def test_a_source_that_is_no_python_is_a_problem_of_the_lint(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text("def broken(:\n")
    problems = lint(tmp_path, KNOWN, (1,))
    assert any("test_it.py:1: invalid syntax" in problem for problem in problems), problems


def test_the_shipped_claims_without_evidence_verify_nothing() -> None:
    result = build(load(), collected(), NOW, ORIGIN)
    assert result["score"]["verified"] == 0
    validate(result)
