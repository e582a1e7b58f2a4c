"""From journals to checks: one `Check` per test and number of ranks, over all ranks, processes and attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from verification.journal import SUPERVISOR, Line, decode
from verification.model import Check, Evidence, EvidenceKind, Outcome

Key = tuple[str, int]
Writer = tuple[Path, str, int, int]
STACK_LIMIT = 20_000
ENDS = (0, 1, 5)
"""How pytest ends if it ran what it was told to: all passed, some failed, nothing collected."""
FATAL = {"Fatal Python error": Outcome.CRASHED, "Timeout (": Outcome.TIMEOUT}


@dataclass(frozen=True, slots=True)
class Stretch:
    """The time that one rank spent in one test, in seconds since the epoch."""

    check: str
    ranks: int
    rank: int
    start: float
    end: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What journals say: the checks, whether every process finished, why not, and when things happened."""

    checks: tuple[Check, ...]
    complete: bool
    gaps: tuple[str, ...]
    timeline: tuple[Stretch, ...]
    sessions: tuple[Mapping[str, Any], ...]


@dataclass(slots=True)
class _Draft:
    """A check while its lines are read; ``settled`` once something final was said."""

    claims: dict[str, int] = field(default_factory=dict)
    outcome: Outcome = Outcome.NOT_RUN
    seconds: float = 0.0
    by_rank: dict[int, str] = field(default_factory=dict)
    detail: list[str] = field(default_factory=list)
    evidence: dict[int, tuple[Evidence, ...]] = field(default_factory=dict)
    started: bool = False
    ended: bool = False
    lost: bool = False


class _Reader:
    """Takes lines in and keeps one draft per test and number of ranks."""

    def __init__(self) -> None:
        self.drafts: dict[Key, _Draft] = {}
        self.local: dict[tuple[str, int, int, str], list[Line]] = {}

    def take(self, line: Line) -> None:
        handler = getattr(self, f"_on_{line.event}", None)
        if handler is not None:
            handler(line)

    def _draft(self, line: Line, check: str) -> _Draft:
        size = int(line.body.get("check_ranks", line.size))  # of a serial test that ran among ranks
        return self.drafts.setdefault((check, size), _Draft())

    def _on_collected(self, line: Line) -> None:
        for row in line["checks"]:
            for size in row["sizes"]:
                self.drafts.setdefault((row["id"], size), _Draft()).claims.update(row["claims"])

    def _on_left_out(self, line: Line) -> None:
        for row in line["checks"]:
            for size in row["sizes"]:
                draft = self.drafts.setdefault((row["id"], size), _Draft())
                draft.claims.update(row["claims"])
                if not draft.started:
                    draft.detail = [line["reason"]]

    def _on_start(self, line: Line) -> None:
        draft = self._draft(line, line["id"])
        draft.started = True
        draft.claims.update(line["claims"])

    def _on_evidence(self, line: Line) -> None:
        self._draft(line, line["id"]).evidence[line.rank] = tuple(
            replace(decode(record), rank=line.rank) for record in line["records"]
        )

    def _on_local(self, line: Line) -> None:
        self.local.setdefault((line["id"], line.size, line.attempt, str(line.folder)), []).append(line)

    def _on_phase(self, line: Line) -> None:
        if line.rank != 0:
            return
        draft = self._draft(line, line["id"])
        draft.seconds += float(line["seconds"])
        for rank, word in line["ranks"].items():
            if draft.by_rank.get(int(rank), "passed") == "passed":
                draft.by_rank[int(rank)] = word
        _take_outcome(draft, line)

    def _on_end(self, line: Line) -> None:
        if line.rank == 0:
            self._draft(line, line["id"]).ended = True

    def _on_lost(self, line: Line) -> None:
        draft = self._draft(line, line["id"])
        if not draft.lost:
            draft.lost, draft.outcome, draft.by_rank = True, Outcome(line["outcome"]), {}
            draft.detail = []
            attempt = int(line.body.get("of_attempt", line.attempt))
            for said in self.local.get((line["id"], line.size, attempt, str(line.folder)), []):
                draft.by_rank[said.rank] = said["outcome"]
                draft.detail.append(f"rank {said.rank} {said['outcome']}:\n{said['detail']}")
            _take_stacks(draft, line.folder, attempt)
        draft.detail.insert(0, str(line["detail"]))
        for rank, word in line["ranks"].items():
            draft.by_rank.setdefault(int(rank), word)


def _take_outcome(draft: _Draft, line: Line) -> None:
    if draft.lost:
        return
    word = Outcome(line["outcome"])
    if draft.outcome in (Outcome.NOT_RUN, Outcome.PASSED):
        draft.outcome = word
    elif word is Outcome.FAILED:
        draft.outcome = Outcome.FAILED
    else:
        return
    if word is Outcome.FAILED:
        draft.outcome = Outcome.VACUOUS if line["vacuous"] else Outcome.FAILED
        draft.outcome = draft.outcome if line["when"] == "call" else Outcome.ERROR
    if line["detail"]:
        draft.detail.append(line["detail"])


def _take_stacks(draft: _Draft, folder: Path, attempt: int) -> None:
    for path in sorted(folder.glob(f"*-attempt{attempt}-rank*.stacks.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")[:STACK_LIMIT]
        if not text.strip():
            continue
        rank = int(path.name.rpartition("-rank")[2].partition(".")[0])
        for mark, outcome in FATAL.items():
            if mark in text:
                draft.by_rank[rank] = outcome.value
                draft.outcome = outcome
        draft.detail.append(f"stacks of rank {rank}:\n{text}")


def collect(lines: Iterable[Line]) -> Collected:
    """Return what the lines of one or more journals say; what is not said counts as not run."""
    ordered = sorted(lines, key=lambda line: (line.t, line.rank))
    reader = _Reader()
    for line in sorted(ordered, key=lambda line: line.event == "lost"):  # local reports come before the loss
        reader.take(line)
    gaps = tuple(_gaps(ordered))
    checks = tuple(_check(key, draft) for key, draft in sorted(reader.drafts.items()))
    sessions = tuple(
        {"stream": line.stream, "rank": line.rank, "size": line.size, "attempt": line.attempt, "t": line.t, **line.body}
        for line in ordered
        if line.event == "session"
    )
    return Collected(checks, not gaps, gaps, tuple(_timeline(ordered)), sessions)


def _check(key: Key, draft: _Draft) -> Check:
    outcome, evidence = draft.outcome, _joined(draft.evidence)
    if outcome is Outcome.FAILED and _only_blind(evidence):
        outcome = Outcome.VACUOUS
    if draft.started and not draft.ended and not draft.lost:
        outcome = Outcome.CRASHED
        draft.detail.insert(0, "the process ended during this test")
    return Check(
        id=key[0],
        ranks=key[1],
        outcome=outcome,
        claims=draft.claims,
        seconds=round(draft.seconds, 6),
        by_rank=dict(sorted(draft.by_rank.items())),
        detail="\n".join(draft.detail),
        evidence=evidence,
    )


def _only_blind(evidence: tuple[Evidence, ...]) -> bool:
    """Return whether a failed check found nothing wrong but a saboteur that it could not catch."""
    return any(e.kind is EvidenceKind.SABOTEUR and not e.held for e in evidence) and all(
        e.held for e in evidence if e.kind is EvidenceKind.FIGURE
    )


def _joined(evidence: Mapping[int, tuple[Evidence, ...]]) -> tuple[Evidence, ...]:
    """Return figures of all ranks, and of each count and trial the one that says most."""
    figures: list[Evidence] = []
    single: dict[tuple[EvidenceKind, str, str], Evidence] = {}
    for rank in sorted(evidence):
        for record in evidence[rank]:
            if record.kind is EvidenceKind.FIGURE:
                figures.append(record)
                continue
            key = (record.kind, record.what, str(record.value))
            before = single.get(key)
            if before is None or record.times > before.times or (before.held and not record.held):
                single[key] = record
    return (*figures, *single.values())


def _gaps(lines: list[Line]) -> Iterable[str]:
    """Say which process never wrote its finish; of several attempts of one job the last one counts."""
    last: dict[tuple[Path, str], int] = {}
    for line in lines:
        place = (line.folder, line.stream)
        last[place] = max(last.get(place, 0), line.attempt)
    opened: set[Writer] = set()
    finished: set[Writer] = set()
    for line in lines:
        if line.attempt == last[line.folder, line.stream]:
            writer = (line.folder, line.stream, line.rank, line.size)
            (finished if line.event == "finish" else opened).add(writer)
            if line.stream != SUPERVISOR:
                opened |= {(line.folder, line.stream, rank, line.size) for rank in range(line.size)}
            if line.event == "finish" and line.body.get("exit", 0) not in ENDS:
                yield f"{line.folder.name}/{line.stream}: pytest ended with {line.body['exit']}"
    for folder, stream, rank, size in sorted(opened - finished, key=str):
        who = f"rank {rank} of {size}" if stream != SUPERVISOR else "the supervisor"
        yield f"{folder.name}/{stream}: {who} did not finish"
    yield from dict.fromkeys(f"{line.folder.name}: {line['gap']}" for line in lines if line.event == "gap")
    if not lines:
        yield "the journal is empty"


def _timeline(lines: list[Line]) -> Iterable[Stretch]:
    begun: dict[tuple[str, int, int, Path], float] = {}
    for line in lines:
        if line.event == "start":
            begun[line["id"], line.size, line.rank, line.folder] = line.t
        elif line.event == "end":
            start = begun.pop((line["id"], line.size, line.rank, line.folder), line.t)
            yield Stretch(line["id"], line.size, line.rank, start, line.t, str(line["outcome"]))
    for (check, size, rank, _), start in begun.items():
        yield Stretch(check, size, rank, start, lines[-1].t, "lost")
