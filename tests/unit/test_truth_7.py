"""The generator writes the configured schema: types, widths and values."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.contracts.writer import (
    DTYPE_OF,
    rows_are_all_different,
    types_are_those_configured,
    values_are_of_their_types,
)
from verification.evidence import Recorder
from verification.saboteurs.writers import WRITERS, product_writer

pytestmark = pytest.mark.claim("truth-7")
RETYPED = ("writes-float64-as-float32", "writes-bool-as-int8")


def test_the_footers_have_the_configured_types(evidence: Recorder, tmp_path: Path) -> None:
    types_are_those_configured(evidence, product_writer, tmp_path / "product")
    for dtype in DTYPE_OF.values():
        evidence.cover("dtype", dtype)
    for name in RETYPED:
        with evidence.saboteur(name):
            types_are_those_configured(evidence, WRITERS[name], tmp_path / name)


def test_the_values_use_the_width_of_their_types(evidence: Recorder, tmp_path: Path) -> None:
    values_are_of_their_types(evidence, product_writer, tmp_path / "product")
    for name in (*RETYPED, "writes-constant-columns", "repeats-rows-in-every-row-group"):
        with evidence.saboteur(name):
            values_are_of_their_types(evidence, WRITERS[name], tmp_path / name)


def test_no_row_occurs_twice_and_two_engines_agree(evidence: Recorder, tmp_path: Path) -> None:
    rows_are_all_different(evidence, product_writer, tmp_path / "product")
    for name in ("writes-constant-columns", "repeats-rows-in-every-row-group", "same-data-on-two-ranks"):
        with evidence.saboteur(name):
            rows_are_all_different(evidence, WRITERS[name], tmp_path / name)
