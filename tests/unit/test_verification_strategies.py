"""The public strategies draw what they promise, and the oracles tell data apart."""

from __future__ import annotations

import io
import math
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification import faults, oracle, relations, strategies


def written(table: pa.Table, layout: strategies.Layout) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file, **layout.arguments(table))
    file.seek(0)
    return file


@given(table=strategies.tables(), layout=strategies.layouts())
def test_every_drawn_table_can_be_written_and_read_back(table: pa.Table, layout: strategies.Layout) -> None:
    found = pq.ParquetFile(written(table, layout)).read().to_pylist()
    assert oracle.first_difference(found, table.to_pylist()) == ""


ONE_ROW = pa.table({"c": pa.array([[True, False]], pa.list_(pa.bool_()))})
ONE_LIST = pa.table({"c": pa.array([[1]], pa.list_(pa.int8()))})


@pytest.mark.parametrize(
    ("table", "layout", "kept"),
    [
        (ONE_ROW, {"data_page_size": 64}, strategies.Layout(2, page_version="2.0", page_bytes=64)),
        (ONE_LIST, {"data_page_size": 1}, strategies.Layout(1, dictionary=True, page_bytes=1)),
    ],
)
def test_what_layouts_leave_out_is_what_pyarrow_cannot_read_back(
    table: pa.Table, layout: dict[str, object], kept: strategies.Layout
) -> None:
    file = io.BytesIO()
    pq.write_table(table, file, **{**kept.arguments(table), **layout})
    found = pq.ParquetFile(file).read().to_pylist()
    assert found != table.to_pylist(), "pyarrow reads this now: take the exception out of Layout.arguments"
    assert pq.ParquetFile(written(table, kept)).read().to_pylist() == table.to_pylist()


@given(schema=strategies.schemas())
def test_names_are_different(schema: pa.Schema) -> None:
    assert len(set(schema.names)) == len(schema.names)


@given(st.data())
def test_selections_are_parts_of_the_columns(data: st.DataObject) -> None:
    columns = data.draw(strategies.name_lists())
    chosen = data.draw(strategies.selections(columns))
    assert chosen
    assert set(chosen) <= set(columns)
    assert len(set(chosen)) == len(chosen)


@given(strategies.geometries())
def test_geometries_are_possible(geometry: strategies.Geometry) -> None:
    assert min(geometry.files, geometry.rows_per_file, geometry.batch, geometry.ranks, geometry.row_group_size) >= 1


@given(strategies.parquet_sections())
def test_sections_hold_known_keys_only(section: dict[str, object]) -> None:
    assert section.keys() <= {"columns", "row_group_size", "read_mode", "partition_by"}


TABLE = pa.table({"a": [1, 2, 3], "b": [0.5, float("nan"), -0.0], "c": ["x", None, "y"]})


@pytest.mark.parametrize("codec", strategies.CODECS)
def test_the_footer_is_read_with_the_words_of_the_configuration(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path, compression=codec, row_group_size=2)
    footer = oracle.footer(path)
    assert (footer.rows, footer.row_groups) == (3, (2, 1))
    assert oracle.codecs([path]) == {codec: 6}
    assert footer.needed(["a"]) + footer.needed(["b", "c"]) == sum(sum(g.values()) for g in footer.stored_bytes)


@pytest.mark.parametrize("reader", [oracle.rows, oracle.rows_by_duckdb, oracle.rows_by_polars])
def test_three_engines_see_the_same_rows(tmp_path: Path, reader: object) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path)
    assert oracle.first_difference(reader(path), TABLE.to_pylist()) == ""  # type: ignore[operator]


def test_equality_of_data_is_strict() -> None:
    assert oracle.equal(math.nan, math.nan)
    assert not oracle.equal(0.0, -0.0)
    assert not oracle.equal(1, True)
    assert not oracle.equal({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert oracle.equal([1, {"a": None}], [1, {"a": None}])
    assert oracle.first_difference([1, 2], [1]) == "found 2 rows, expected 1"
    assert oracle.first_difference([1, 2], [1, 3]) == "row 1: found 2, expected 3"


@given(items=st.lists(st.integers()), seed=st.randoms())
def test_order_does_not_matter_to_multisets(items: list[int], seed: Random) -> None:
    shuffled = list(items)
    seed.shuffle(shuffled)
    assert relations.same_multiset(shuffled, items) == ""
    assert relations.same_multiset([*items, 1], items)


@given(items=st.lists(st.integers(), unique=True, min_size=1), parts=st.integers(1, 4))
def test_parts_that_share_or_lose_are_no_partition(items: list[int], parts: int) -> None:
    split = [items[i::parts] for i in range(parts)]
    assert relations.partition(split, items) == ""
    assert relations.partition([*split, items[:1]], items)
    assert relations.partition([part[1:] for part in split], items)
    assert relations.partition([items[1:]], items, left_out=1) == ""


def test_broken_relations_are_told_in_a_sentence() -> None:
    assert relations.unchanged("the codec", 1, 2) == "the codec changed 1 into 2"
    assert relations.unchanged("the codec", 1, 1) == ""
    assert relations.proportional("twice the rows", 100, 204, factor=2, tolerance=0.05) == ""
    assert "expected 200" in relations.proportional("twice the rows", 100, 300, factor=2, tolerance=0.05)
    assert relations.fixed_point(lambda n: min(n + 1, 5), 4) == ""
    assert relations.fixed_point(lambda n: n + 1, 0)
    assert relations.resumed([1, 2, 3], [1], [2, 3]) == ""
    assert "item 1" in relations.resumed([1, 2, 3], [1], [3])
    assert relations.equal_by_form({"nested": 1, "flat": 1}) == ""
    assert "flat gives 2" in relations.equal_by_form({"nested": 1, "flat": 2})
    assert relations.equal_by_form({})


@pytest.mark.parametrize("damage", faults.DAMAGES, ids=lambda damage: damage.kind)
@given(seed=st.integers(0, 10_000))
def test_damage_changes_the_file_and_never_goes_unseen_with_checksums(damage: faults.Damage, seed: int) -> None:
    file = io.BytesIO()
    pq.write_table(TABLE, file, write_page_checksum=True)
    content = file.getvalue()
    damaged = damage.apply(content, Random(seed))
    assert damaged != content or damage.may_be_harmless
    if not damage.may_be_harmless:
        with pytest.raises((pa.ArrowException, OSError)):
            pq.ParquetFile(io.BytesIO(damaged), page_checksum_verification=True).read()


def test_every_kind_of_damage_that_a_claim_wants_exists() -> None:
    assert {
        "flipped bit",
        "truncated",
        "zeroed range",
        "garbled footer",
        "empty",
        "not parquet",
    } <= faults.BY_KIND.keys()
