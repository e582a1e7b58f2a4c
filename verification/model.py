"""The vocabulary of verification: what is claimed, what was measured, and what follows from it.

All values are frozen.  There is deliberately no value that says "somebody should look at this".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum

Number = int | float


class Level(Enum):
    """How binding a claim is: the verdict of a run rests on the musts."""

    MUST = "must"
    SHOULD = "should"


class Kind(Enum):
    """Which table of the report a claim belongs to."""

    TRUTH = "truth"
    ARTIFACT = "artifact"
    LINK = "link"
    REQUIREMENT = "requirement"
    SUMMARY = "summary"
    ANTI_PATTERN = "anti-pattern"
    SMOKE = "smoke"
    END_TO_END = "end-to-end"
    PRODUCT = "product"


class Method(Enum):
    """What kind of observation shows a claim."""

    VALUE = "value"
    BYTES = "bytes"
    MEMORY = "memory"
    FAULT = "fault"
    METADATA = "metadata"
    PROCESS = "process"
    STATIC = "static"
    DERIVED = "derived"


class Outcome(Enum):
    """How one check ended at one number of ranks."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    VACUOUS = "vacuous"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    NOT_RUN = "not run"


class Status(Enum):
    """What the evidence says about a claim."""

    VERIFIED = "VERIFIED"
    FAILED = "FAILED"
    VACUOUS = "VACUOUS"
    THIN = "THIN"
    NOT_RUN = "NOT RUN"
    NO_CHECK = "NO CHECK"
    TIMEOUT = "TIMEOUT"
    CRASHED = "CRASHED"
    EXPECTED_FAILURE = "EXPECTED FAILURE"
    UNEXPECTED_PASS = "UNEXPECTED PASS"  # a status, not a credential  # noqa: S105
    EXPIRED = "EXPIRED"
    NOT_APPLICABLE = "NOT APPLICABLE"
    ADAPTER_BROKEN = "ADAPTER BROKEN"
    OUTDATED = "OUTDATED"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure named by a claim must keep to; ``rule`` says it in words, the numbers bind."""

    unit: str
    rule: str
    at_least: Number | None = None
    at_most: Number | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence about the product, and everything that has to be seen before it counts."""

    id: str
    text: str
    kind: Kind
    level: Level
    method: Method
    revision: int = 1
    ranks: tuple[int, ...] = (1,)
    needs: frozenset[str] = frozenset()
    checks: int = 1
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    saboteurs: tuple[str, ...] = ()
    catches: int = 1
    must_cover: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rests_on: tuple[str, ...] = ()
    requirement: str = ""
    subject: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_a_sum(self) -> bool:
        """Whether it says no more than the claims that it rests on, so that it needs no test of its own."""
        return bool(self.rests_on) and not (self.saboteurs or self.must_cover or self.bounds)


class EvidenceKind(Enum):
    """Whether a record is a figure, a count of generated cases, or the trial of a saboteur."""

    FIGURE = "figure"
    COVER = "cover"
    SABOTEUR = "saboteur"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation of a check: a figure and its bounds, a count of cases, or a saboteur caught or not.

    ``times`` is how often the same thing was held; the figure kept is the one nearest to (or furthest over) its
    bound.  ``margin`` is the distance to the nearest bound in ``unit``: negative if the bound was broken.
    """

    kind: EvidenceKind
    what: str
    held: bool
    value: object = None
    at_least: Number | None = None
    at_most: Number | None = None
    unit: str = ""
    margin: Number | None = None
    times: int = 1
    rank: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One test at one number of ranks: how it ended on each rank and what it observed."""

    id: str
    ranks: int
    outcome: Outcome
    claims: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    by_rank: Mapping[int, str] = field(default_factory=dict)
    detail: str = ""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """A failure of one target that is known, with its reason and the day on which it stops being accepted.

    ``witness`` is a text that the failing check must show, so that another failure is not taken for this one.
    """

    claim: str
    target: str
    status: Status
    reason: str
    expires: date
    witness: str
    condition: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a verdict depends on beside the evidence: the day, the target, and whether its adapter works."""

    today: date
    target: str = "native"
    capabilities: frozenset[str] | None = None
    adapter_works: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of a claim, why, and the checks it was computed from."""

    claim: Claim
    status: Status
    reasons: tuple[str, ...]
    checks: tuple[Check, ...] = ()
