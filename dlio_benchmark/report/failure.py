"""What a run leaves when it fails: ``failure.json``, instead of ``summary.json`` if it ended before its time.

A result that does not carry its proof is written, too, and the record of the failure stands beside it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dlio_benchmark import __version__
from dlio_benchmark.config.redact import Redactor
from dlio_benchmark.errors import (
    CannotCreateError,
    Exit,
    InterruptedRunError,
    PeerFailedError,
    RankLostError,
    StalledError,
)
from dlio_benchmark.guard import Failure, Guard
from dlio_benchmark.report.log import local_time
from dlio_benchmark.report.strict_json import write_json

LAUNCH_VARIABLE = "DLIO_LAUNCH_ID"
FAILURE = "failure.json"
SUMMARY = "summary.json"
_RESULT = re.compile(r"(summary|failure|[0-9]+_output|[0-9]+_per_epoch_stats)\.json(\.[0-9]+\.partial)?")
_SHARED = (InterruptedRunError.__name__, RankLostError.__name__, StalledError.__name__)
_STATES: Mapping[int, str] = {Exit.INTERRUPTED: "interrupted", Exit.TERMINATED: "interrupted"}


@dataclass(slots=True)
class Recorder:
    """Writes how a run ended into ``folder`` and adds it to ``log``, once these are known.

    Of several ranks that fail the record of the last one stays; what many meet at once only rank 0 adds to the log.
    ``launch`` ties what is written to this launch, and ``redactor`` knows the secrets that must not be in it.
    """

    launch: str = ""
    redactor: Redactor = field(default_factory=Redactor)
    folder: str | None = None
    log: str | None = None

    @classmethod
    def of(cls, launch: str, environ: Mapping[str, str], argv: Iterable[str]) -> Recorder:
        """Return a recorder that knows the secrets of the environment and of the command line."""
        return cls(launch, Redactor.of(environ, argv))

    def learn(self, environ: Mapping[str, str], overrides: Iterable[str], tree: Any) -> None:
        """Know the secrets of a configuration, too."""
        self.redactor = Redactor.of(environ, overrides, tree)

    def __call__(self, failure: Failure) -> None:
        """Write the record; that it cannot be written does not hide the failure itself."""
        if failure.error == PeerFailedError.__name__:
            return
        if self.log is not None and (failure.rank == 0 or failure.error not in _SHARED):
            with contextlib.suppress(OSError), open(self.log, "a", encoding="utf-8", errors="replace") as file:
                file.write(f"[ERROR] {self.redactor.text(str(failure))}\n")
        if self.folder is None:
            return
        record = {
            "complete": False,
            "state": _STATES.get(failure.code, "failed"),
            **asdict(failure),
            "launch": self.launch,
            "version": __version__,
            "ended": local_time(),
        }
        with contextlib.suppress(CannotCreateError):
            write_json(self.folder, FAILURE, self.redactor.tree(record))


class RecordingGuard(Guard):
    """A guard that leaves a record of the failure, and says it without the secrets in it."""

    def __init__(self, recorder: Recorder, *, debug: bool = False) -> None:
        super().__init__(debug=debug, record=recorder)
        self.recorder = recorder

    def say(self, text: str) -> None:
        """Write one block to standard error."""
        super().say(self.recorder.redactor.text(text))


def forget_earlier(folder: str) -> None:
    """Remove the results of an earlier run from ``folder``, so that none is taken for those of this one.

    Raises:
        CannotCreateError: if they cannot be removed.
    """
    try:
        for name in filter(_RESULT.fullmatch, os.listdir(folder)):
            os.unlink(os.path.join(folder, name))
    except OSError as error:
        msg = f"{error.filename}: cannot remove the result of an earlier run: {error.strerror}"
        raise CannotCreateError(msg) from error
