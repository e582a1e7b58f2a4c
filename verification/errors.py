"""Everything that the harness raises on purpose."""

from __future__ import annotations

from collections.abc import Iterable


class VerificationError(Exception):
    """Base of the harness's own errors."""


class CatalogueError(VerificationError, ValueError):
    """The claims or expectations are not well formed; the message lists every problem."""

    def __init__(self, problems: Iterable[str], headline: str = "the catalogue of claims is not valid") -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([headline, *(f"  - {problem}" for problem in self.problems)]))


class JournalError(VerificationError):
    """No journal can be read at the given place."""


class LaunchError(VerificationError):
    """MPI ranks cannot be started here; the message says what is missing."""


class ProbeError(VerificationError):
    """A probe cannot measure on this machine, or failed its calibration."""


class GuardError(VerificationError, RuntimeError):
    """Base of what a guarded communicator raises inside a test."""


class PeerLeftError(GuardError):
    """Another rank ended the test while this one waited for it in a collective."""


class OverdueError(GuardError):
    """A collective was not complete before the deadline of its phase."""
