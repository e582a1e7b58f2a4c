"""A composed configuration as ranks share it: apart from what composes it, so that one rank alone loads Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dlio_benchmark.config.redact import Redactor


@dataclass(frozen=True, slots=True)
class Composed:
    """A composed configuration.

    Attributes:
        workload: the content of ``workload``, resolved, as plain containers.
        run_dir: Hydra's run folder, as given or by default.
        subfolder: folder below it for the record, or None for no record.
        typed: dotted keys below ``workload`` that the command line names.
        record: texts of config, hydra and overrides for the record, unresolved; values of secret keys are hidden.
        printed: the job configuration as YAML, likewise.
    """

    workload: Mapping[str, Any]
    run_dir: str
    subfolder: str | None
    typed: frozenset[str]
    record: Mapping[str, str]
    printed: str

    def redacted(self, redactor: Redactor) -> Composed:
        """Return this without the secrets that ``redactor`` knows, in what is kept and shown."""
        record = {name: redactor.text(text) for name, text in self.record.items()}
        return replace(self, record=record, printed=redactor.text(self.printed))
