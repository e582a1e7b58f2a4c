"""The reference page follows from the declarations, and the copy in the repository is current."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
from declared_keys import KEYS

from dlio_benchmark.config.fields import declaration
from dlio_benchmark.config.model import Column
from dlio_benchmark.config.reference import listing, page

ROOT = Path(__file__).parents[2]


def test_the_page_in_the_repository_is_current() -> None:
    made = "python -m dlio_benchmark.config.reference > docs/reference.md"
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == page(), f"make it again: {made}"


@functools.cache
def rows_of(section: str) -> dict[str, str]:
    """Return the rows of a section's table, by key."""
    text = page().split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return {row.split("`")[1]: row for row in rows}


@pytest.mark.parametrize("path", KEYS)
def test_every_key_has_a_row_that_says_what_it_means_and_what_it_takes(path: str) -> None:
    section, _, name = f"workload.{path}".rpartition(".")
    key = KEYS[path][1]
    row = rows_of(section)[name]
    assert key.doc in row
    assert ("shapes data" in row) == key.shapes_data
    assert ("no effect" in row) == (not key.offered)
    for bound in (key.least, key.most):
        assert bound is None or f"{bound:g}" in row


def test_every_key_of_a_column_has_a_row() -> None:
    rows = rows_of("workload.dataset.parquet.columns[]")
    assert list(rows) == [field.name for field in dataclasses.fields(Column)]
    assert all(declaration(field).doc in rows[field.name] for field in dataclasses.fields(Column))


def test_the_listing_has_one_line_per_key() -> None:
    names = [line.split()[0] for line in listing().splitlines()]
    assert set(names) >= {f"workload.{path}" for path in KEYS}
    assert len(names) == len(set(names)) == len(KEYS) + len(dataclasses.fields(Column))


@pytest.mark.parametrize("word", ["parquet (none, snappy, gzip, zstd, lz4)", "gzip 1 to 9", "threads"])
def test_the_page_says_what_is_offered(word: str) -> None:
    assert word in page()
