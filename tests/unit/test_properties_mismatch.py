"""Files that lack what is configured are refused on open, and the message names every column that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import pyarrow as pa
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from property_reading import MODE, PATH, arrow_forms, configured, error_of, read_whole, stored

from dlio_benchmark.common.enumerations import ColumnType, ReadMode
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import DataError, Exit, SchemaMismatchError
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.schema import holds
from verification.contracts.reader import MakeReader
from verification.evidence import Recorder
from verification.saboteurs.readers import READERS
from verification.strategies import SCALARS, Layout, names

GOOD = "good.parquet"


class Fate(Enum):
    """What a file has in the place of a configured column."""

    THERE = "there"
    MISSING = "missing"
    OTHER_TYPE = "other type"
    OTHER_SIZE = "other size"
    TWICE = "twice"


@dataclass(frozen=True, slots=True)
class Case:
    """Configured columns, what became of each, and the fields that the odd file has."""

    columns: tuple[Column, ...]
    fates: tuple[Fate, ...]
    fields: tuple[pa.Field, ...]

    @property
    def wrong(self) -> list[Column]:
        """The columns that are not as they should be."""
        return [column for column, fate in zip(self.columns, self.fates, strict=True) if fate is not Fate.THERE]

    def file(self, rows: int = 3) -> bytes:
        """Return the odd file."""
        schema = pa.schema(self.fields)
        return Layout(2).written(pa.Table.from_arrays([pa.nulls(rows, field.type) for field in schema], schema=schema))


def good_file(columns: Sequence[Column]) -> bytes:
    """Return a file that has all the columns."""
    schema = pa.schema([pa.field(column.name, arrow_forms(column)[0]) for column in columns])
    return Layout(2).written(pa.Table.from_arrays([pa.nulls(3, field.type) for field in schema], schema=schema))


@st.composite
def other_types(draw: st.DrawFn, column: Column) -> pa.DataType:
    """Return Arrow types that do not hold the values of ``column``: scalars, lists, text for bytes."""
    scalars = st.sampled_from(SCALARS)
    kinds = scalars | scalars.map(pa.list_) | scalars.map(lambda kind: pa.struct([("x", kind)]))
    return draw(kinds.filter(lambda kind: not holds(column, kind)))


def _is_fixed_list(column: Column) -> bool:
    return bool(pa.types.is_fixed_size_list(arrow_forms(column)[0]))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Return configured columns of which at least one is not in the file as it should be; the file may have more."""
    columns = draw(configured())
    fates, fields = [], []
    for column in columns:
        form = draw(st.sampled_from(arrow_forms(column)))
        fate = draw(st.sampled_from([one for one in Fate if one is not Fate.OTHER_SIZE or _is_fixed_list(column)]))
        if fate is Fate.OTHER_TYPE:
            form = draw(other_types(column))
        elif fate is Fate.OTHER_SIZE:
            form = pa.list_(form.value_type, form.list_size + draw(st.integers(1, 5)))
        fates.append(fate)
        fields += [pa.field(column.name, form)] * {Fate.MISSING: 0, Fate.TWICE: 2}.get(fate, 1)
    taken = {column.name for column in columns}
    more = draw(st.lists(names().filter(lambda name: name not in taken), max_size=2, unique=True))
    fields += [pa.field(name, pa.int8()) for name in more]
    assume(fields and set(fates) != {Fate.THERE})
    return Case(tuple(columns), tuple(fates), tuple(draw(st.permutations(fields))))


def listed_problems(error: BaseException) -> list[str]:
    """Return the lines of a message that tell of one column each."""
    lines = str(error).split("\n  - ")[1:]
    return [line for line in lines if not line.startswith("columns of the file:")]


@given(case=cases(), mode=st.sampled_from(list(ReadMode)), later=st.booleans())
def test_every_wrong_column_is_named_on_open_and_no_other(case: Case, mode: ReadMode, later: bool) -> None:
    storage = stored({PATH: case.file(), GOOD: good_file(case.columns)})
    reader = ParquetRows(storage, case.columns, mode)
    if later:
        reader.open(GOOD).close()
    storage.reads.clear()
    error = error_of(lambda: reader.open(PATH))
    event(", ".join(sorted({fate.value for fate in case.fates})))
    assert isinstance(error, SchemaMismatchError)
    assert isinstance(error, ValueError)
    assert error.code is Exit.DATA_INVALID
    assert str(error).startswith(PATH)
    problems = listed_problems(error)
    assert [line.startswith(f"{column.name!r}: ") for line, column in zip(problems, case.wrong, strict=True)]
    assert len({offset for _, offset, _ in storage.reads}) == 1, "more than the footer was read"
    reader.open(GOOD).close()


@given(case=cases())
def test_the_message_says_what_was_found_and_what_was_configured(case: Case) -> None:
    error = error_of(lambda: ParquetRows(stored(case.file()), case.columns).open(PATH))
    assert error is not None
    found = {field.name: field.type for field in case.fields}
    wrong = [fate for fate in case.fates if fate is not Fate.THERE]
    for line, column, fate in zip(listed_problems(error), case.wrong, wrong, strict=True):
        said = line.removeprefix(f"{column.name!r}: ")
        if fate is Fate.MISSING:
            assert said.startswith("missing")
        elif fate is Fate.TWICE:
            assert "2 columns of that name" in said
        else:
            assert str(found[column.name]).replace("item:", "element:") in said
            assert str(column.size) in said or not _is_fixed_list(column)
    for name in list(found)[:5]:
        assert repr(name) in str(error)


@given(case=cases())
def test_columns_that_are_not_read_need_not_be_there(case: Case) -> None:
    kept = [replace(column, read=fate is Fate.THERE) for column, fate in zip(case.columns, case.fates, strict=True)]
    assume(any(column.read for column in kept))
    reader = ParquetRows(stored(case.file()), kept)
    assert set(read_whole(reader)) == {column.name for column in kept if column.read}


@given(columns=configured(least=2, odd=False), typo=st.sampled_from(["swap", "case", "space"]))
def test_a_name_that_is_nearly_right_is_no_match_and_the_right_one_is_offered(columns: list[Column], typo: str) -> None:
    wanted = replace(columns[0], name="features")
    near = {"swap": "faetures", "case": "Features", "space": "features "}[typo]
    rest = [column for column in columns[1:] if column.name not in (near, "features")]
    body = good_file([replace(wanted, name=near), *rest])
    with pytest.raises(SchemaMismatchError, match=f"'features': missing; did you mean {near!r}"):
        ParquetRows(stored(body), [wanted, *rest]).open(PATH)


@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    size=st.integers(2, 5),
    mode=st.sampled_from(list(MODE)),
    group=st.integers(1, 12),
    large=st.booleans(),
)
def test_lists_of_other_lengths_are_refused_when_they_are_read(
    lengths: list[int], size: int, mode: str, group: int, large: bool
) -> None:
    kind = (pa.large_list if large else pa.list_)(pa.float32())
    rows = [[float(number) for number in range(length)] for length in lengths]
    body = Layout(group).written(pa.table({"x": pa.array(rows, kind)}))
    reader = ParquetRows(stored(body), [Column("x", ColumnType.FLOAT32, size)], MODE[mode])
    if set(lengths) == {size}:
        assert read_whole(reader) == {"x": rows}
        return
    odd = next(length for length in lengths if length != size)
    error = error_of(lambda: read_whole(reader))
    assert isinstance(error, DataError)
    assert str(error).startswith(PATH)
    assert "'x'" in str(error)
    assert f"configured with {size}" in str(error), odd


@given(
    folder=st.sampled_from(["other=1", "key", "key=", "key=x", "key=1.5", "key=300"]), mode=st.sampled_from(list(MODE))
)
def test_partition_columns_must_stand_in_the_path_with_their_type(folder: str, mode: str) -> None:
    body = Layout(2).written(pa.table({"x": [1, 2, 3]}))
    columns = [Column("x", ColumnType.INT64), Column("key", ColumnType.INT8)]
    path = f"train/{folder}/f.parquet"
    reader = ParquetRows(stored({path: body, "train/key=7/f.parquet": body}), columns, MODE[mode], partitions=["key"])
    error = error_of(lambda: reader.open(path))
    assert isinstance(error, SchemaMismatchError)
    assert str(error).startswith(path)
    assert "'key'" in str(error)
    assert read_whole(reader, "train/key=7/f.parquet") == {"x": [1, 2, 3], "key": [7, 7, 7]}


# -- the claim --------------------------------------------------------------------------------------------------------
FIXED = tuple(
    Column(name, kind) for name, kind in zip("pqr", (ColumnType.INT64, ColumnType.STRING, ColumnType.BOOL), strict=True)
)
MISMATCHES = {
    "one column missing": Case(
        FIXED, (Fate.THERE, Fate.MISSING, Fate.THERE), (pa.field("p", pa.int64()), pa.field("r", pa.bool_()))
    ),
    "all columns missing": Case(FIXED, (Fate.MISSING,) * 3, (pa.field("z", pa.int64()),)),
    "other type": Case(
        FIXED,
        (Fate.OTHER_TYPE, Fate.THERE, Fate.OTHER_TYPE),
        (pa.field("p", pa.int32()), pa.field("q", pa.string()), pa.field("r", pa.int8())),
    ),
}


def is_refused_by_name(evidence: Recorder, make: MakeReader, case: Case, *, later: bool) -> None:
    """Hold that the odd file is refused on open with every wrong column, also after a good one."""
    reader = make(stored({PATH: case.file(), GOOD: good_file(case.columns)}), case.columns, ReadMode.ROW_GROUP)
    if later:
        reader.open(GOOD).close()
    wanted = (PATH, *(repr(column.name) for column in case.wrong))
    evidence.raises(ValueError, lambda: reader.open(PATH), naming=wanted, what="a file of another schema")


@pytest.mark.claim("truth-5")
@pytest.mark.parametrize("position", ["first file", "later file"])
@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_a_mismatch_is_told_in_any_position(evidence: Recorder, mismatch: str, position: str) -> None:
    case, later = MISMATCHES[mismatch], position == "later file"
    is_refused_by_name(evidence, ParquetRows, case, later=later)
    evidence.cover("mismatch", mismatch)
    evidence.cover("position", position)
    wrong = ["skips-the-schema-check", "vague-schema-error"]
    wrong += ["checks-only-the-first-file"] * later
    wrong += ["names-only-the-first-missing-column"] * (len(case.wrong) > 1)
    for name in wrong:
        with evidence.saboteur(name):
            is_refused_by_name(evidence, READERS[name], case, later=later)
