"""Opening a file of another schema is a ValueError that names the file and every column."""

from __future__ import annotations

import pytest

from dlio_benchmark.reader.parquet_reader import ParquetRows
from verification.contracts.reader import MISMATCHES, POSITIONS, Mismatch, every_mismatch_is_named_on_open
from verification.evidence import Recorder
from verification.saboteurs.readers import READERS

WRONG = ("skips-the-schema-check", "vague-schema-error")


@pytest.mark.claim("truth-5")
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("case", MISMATCHES, ids=lambda case: case.kind.replace(" ", "-"))
def test_every_mismatch_is_named_when_the_file_is_opened(evidence: Recorder, case: Mismatch, position: str) -> None:
    every_mismatch_is_named_on_open(evidence, ParquetRows, case, position)
    evidence.cover("mismatch", case.kind)
    evidence.cover("position", position)
    wrong = [*WRONG, *["checks-only-the-first-file"] * (position == "later file")]
    wrong += ["names-only-the-first-missing-column"] * (len(case.named) > 2 and case.kind != "other type")
    for name in wrong:
        with evidence.saboteur(name):
            every_mismatch_is_named_on_open(evidence, READERS[name], case, position)
