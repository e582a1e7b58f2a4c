"""The sabotages fit the sources, and leave no truth, artifact or link out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sabotage.__main__ import Sabotage, sabotages, uncovered
from verification.catalogue import load

ROOT = Path(__file__).parents[2]
ALL = sabotages()


@pytest.mark.parametrize("sabotage", ALL, ids=[one.name for one in ALL])
def test_the_text_to_replace_is_there_once(sabotage: Sabotage) -> None:
    assert (ROOT / sabotage.file).read_text(encoding="utf-8").count(sabotage.old) == 1
    assert sabotage.old != sabotage.new


def test_every_truth_artifact_and_link_is_sabotaged() -> None:
    assert uncovered(ALL) == []
    assert {claim for one in ALL for claim in one.claims} <= load().claims.keys()
    assert len(ALL) >= 20
