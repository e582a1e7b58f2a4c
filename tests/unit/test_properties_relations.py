"""Changes that must not change what is read: layout, writer, mode, threads, ranks, interruption, other columns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from property_reading import MODE, PATH, read_whole, rows_reader, stored, written

from dlio_benchmark.clock import RealClock
from dlio_benchmark.common.enumerations import ColumnType, ReadMode, ShuffleScope
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_loader.ahead import Budget
from dlio_benchmark.data_loader.base import Loader, Source
from dlio_benchmark.data_loader.direct import DirectLoader
from dlio_benchmark.data_loader.threads import ThreadsLoader
from dlio_benchmark.metrics.events import Tally
from dlio_benchmark.plan.epoch import EpochPlan, Shuffling
from dlio_benchmark.plan.world import World
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.memory import MemoryStorage
from dlio_benchmark.utils.config import ConfigArguments, LoadConfig
from verification import relations
from verification.strategies import (
    Access,
    Layout,
    accesses,
    layouts,
    modelled_tables,
    numbered,
    parquet_sections,
    schemas,
    uneven_files,
    without_codec,
)

COLUMNS = (Column("row", ColumnType.INT64), Column("c2", ColumnType.FLOAT32, 4), Column("c1", ColumnType.STRING))
NAMES = tuple(column.name for column in COLUMNS)
WHOLE = Access(NAMES, "row_group", group_window=1, block_bytes=1 << 24, verify=False)

shufflings = st.builds(
    Shuffling,
    files=st.none() | st.integers(0, 99),
    samples=st.none() | st.integers(0, 99),
    scope=st.sampled_from(ShuffleScope),
)


def data_set(rows: Sequence[int], layout: Layout, name: str = "{}.parquet") -> MemoryStorage:
    """Return files of ``rows`` rows each; a row's number says which row of the data set it is."""
    firsts = [0, *itertools.accumulate(rows)]
    tables = [numbered(count, first=first) for count, first in zip(rows, firsts, strict=False)]
    return stored({name.format(number): written(table, layout) for number, table in enumerate(tables)})


def loader_of(storage: MemoryStorage, mode: str = "row_group", threads: int = 0, window: int = 1) -> Loader:
    source = Source(ParquetRows(storage, COLUMNS, MODE[mode], group_window=window), RealClock())
    return ThreadsLoader(source, threads, Budget(5000, 3)) if threads else DirectLoader(source)


def batches_read(loader: Loader, plan: EpochPlan, name: str = "{}.parquet") -> list[list[int]]:
    """Return the numbers of the rows of each batch, after seeing that the other columns belong to them."""
    found = []
    for batch in loader.batches(plan, name.format, Tally()):
        ids = batch.column("row").tolist()
        assert batch.to_arrow()["c1"].to_pylist() == [f"text {number}" for number in ids]
        assert batch.column("c2").tolist() == [[float(number)] * 4 for number in ids]
        found.append(ids)
    loader.close()
    return found


def flat(batches: Sequence[Sequence[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


@given(drawn=modelled_tables(schema=schemas(max_columns=3)), layout=layouts(), access=accesses(["unused"]))
def test_layout_does_not_change_the_content(drawn: Any, layout: Layout, access: Access) -> None:
    plainest = read_whole(rows_reader(stored(written(drawn.table, without_codec(layout))), None, access))
    other = read_whole(rows_reader(stored(written(drawn.table, layout)), None, access))
    assert not relations.unchanged("the layout", repr(plainest), repr(other))


@given(rows=st.integers(1, 40), layout=layouts())
def test_the_writer_does_not_change_the_content(
    tmp_path_factory: pytest.TempPathFactory, rows: int, layout: Layout
) -> None:
    table = numbered(rows).drop_columns(["c2"])
    path = tmp_path_factory.mktemp("writer") / "f.parquet"
    polars.DataFrame(table).write_parquet(path, row_group_size=7)
    bodies = {"pyarrow": written(table, layout), "polars": path.read_bytes()}
    assert not relations.equal_by_form(
        {name: read_whole(ParquetRows(stored(body), None)) for name, body in bodies.items()}
    )


@given(order=st.permutations(NAMES), layout=layouts(), access=accesses(NAMES))
def test_the_order_of_the_columns_does_not_change_their_content(
    order: list[str], layout: Layout, access: Access
) -> None:
    body = written(numbered(30), layout)
    by_name = {column.name: column for column in COLUMNS}
    usual = read_whole(rows_reader(stored(body), COLUMNS, access))
    other = read_whole(rows_reader(stored(body), [by_name[name] for name in order], access))
    assert list(other) == list(order)
    assert not relations.unchanged("the order", usual, {name: other[name] for name in NAMES})


@given(
    rows=uneven_files(),
    layout=layouts(),
    batch=st.integers(1, 9),
    shuffling=shufflings,
    mode=st.sampled_from(list(MODE)),
    threads=st.integers(1, 3),
    window=st.integers(1, 3),
)
def test_mode_threads_and_windows_do_not_change_the_samples(
    rows: tuple[int, ...], layout: Layout, batch: int, shuffling: Shuffling, mode: str, threads: int, window: int
) -> None:
    storage = data_set(rows, layout)
    plan = EpochPlan(np.array(rows), batch, shuffling=shuffling, most_steps=None)
    usual = batches_read(loader_of(storage, mode, window=window), plan)
    assert not relations.unchanged("threads", usual, batches_read(loader_of(storage, mode, threads, window), plan))
    other = batches_read(loader_of(storage), replace(plan, batch=1))
    if not plan.rows_left_out:
        assert not relations.same_multiset(flat(usual), flat(other))
    assert not relations.partition(usual, range(sum(rows)), left_out=plan.rows_left_out)
    if shuffling.samples is None and shuffling.files is None:
        assert flat(usual) == list(range(len(plan) * batch))


@given(rows=uneven_files(), layout=layouts(), batch=st.integers(1, 9), shuffling=shufflings, ranks=st.integers(1, 4))
def test_ranks_share_an_epoch(
    rows: tuple[int, ...], layout: Layout, batch: int, shuffling: Shuffling, ranks: int
) -> None:
    storage = data_set(rows, layout)
    plans = [EpochPlan(np.array(rows), batch, World(rank, ranks), shuffling) for rank in range(ranks)]
    parts = [batches_read(loader_of(storage), plan) for plan in plans]
    assert len({len(part) for part in parts}) == 1
    assert {len(one) for part in parts for one in part} <= {batch}
    assert not relations.partition([flat(part) for part in parts], range(sum(rows)), left_out=plans[0].rows_left_out)
    assert plans[0].rows_left_out < batch * ranks


@given(
    seeds=st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), layout=layouts(), scope=st.sampled_from(ShuffleScope)
)
def test_seeds_change_the_order_and_nothing_else(seeds: tuple[int, int], layout: Layout, scope: ShuffleScope) -> None:
    rows = (20, 20, 20)
    storage = data_set(rows, replace(layout, row_group_size=2))  # of so many row groups no two seeds make one order
    first, second = (EpochPlan(np.array(rows), 6, shuffling=Shuffling(seed, seed, scope)) for seed in seeds)
    one, again = batches_read(loader_of(storage), first), batches_read(loader_of(storage), first)
    other = batches_read(loader_of(storage), second)
    assert not relations.unchanged("repeating", one, again)
    assert not relations.same_multiset(flat(one), flat(other))
    assert (one == other) == (seeds[0] == seeds[1])


@given(rows=uneven_files(), shuffling=shufflings, stop=st.integers(0, 20), threads=st.integers(0, 2))
def test_an_interrupted_epoch_begins_again_where_it_was(
    rows: tuple[int, ...], shuffling: Shuffling, stop: int, threads: int
) -> None:
    storage = data_set(rows, Layout(7))
    plan = EpochPlan(np.array(rows), 4, shuffling=shuffling)
    whole = batches_read(loader_of(storage), plan)
    interrupted = loader_of(storage, threads=threads)
    stream = interrupted.batches(plan, "{}.parquet".format, Tally())
    head = [batch.column("row").tolist() for batch in itertools.islice(stream, stop)]
    stream.close()  # type: ignore[attr-defined]
    interrupted.close()
    tail = batches_read(loader_of(storage, threads=threads), plan)[len(head) :]
    assert not relations.resumed(whole, head, tail)


@given(rows=uneven_files(), layout=layouts())
def test_names_and_folders_of_files_do_not_change_the_samples(rows: tuple[int, ...], layout: Layout) -> None:
    plan = EpochPlan(np.array(rows), 1)
    names = ("{}.parquet", "train/0/img_{}_of_9.parquet")
    forms = {name: batches_read(loader_of(data_set(rows, layout, name)), plan, name) for name in names}
    assert not relations.equal_by_form(forms)


def footer_growth(few: MemoryStorage, more: MemoryStorage) -> int:
    """Return by how much the footer of the second file is longer."""
    lengths = [int.from_bytes(one.files[PATH][-8:-4], "little") for one in (few, more)]
    return lengths[1] - lengths[0]


@given(layout=layouts(rows=30), access=accesses(NAMES), front=st.booleans())
def test_a_column_that_is_not_asked_for_costs_no_byte_beyond_the_footer(
    layout: Layout, access: Access, front: bool
) -> None:
    table = numbered(30)
    wide = pa.array([bytes(200)] * 30)
    more = table.add_column(0, "unread", wide) if front else table.append_column("unread", wide)
    wanted = [column for column in COLUMNS if column.name in access.columns]
    taken, asked = [], []
    storages = [stored(written(one, layout)) for one in (table, more)]
    for storage in storages:
        file = rows_reader(storage, wanted, access).open(PATH)
        taken.append(sum(file.read(index).bytes_read for index in range(len(file.shapes))))
        opening = min(len(storage.files[PATH]), 1 << 16)
        asked.append(sum(length for _, _, length in storage.reads) - opening)
    assert not relations.unchanged("a column that is not read", *taken)
    assert not relations.unchanged("a column that is not read", *asked)
    assert footer_growth(*storages) > 0


@given(codec=st.sampled_from(["none", "zstd", "snappy"]), access=accesses(NAMES))
def test_twice_the_rows_take_twice_the_bytes_and_no_more_at_once(codec: str, access: Access) -> None:
    dice = np.random.default_rng(1)

    def cost(rows: int) -> tuple[int, int]:
        table = pa.table({"x": dice.random(rows), "y": dice.random(rows)})
        body = Layout(500, codec=codec).written(table)
        wanted = [Column("x", ColumnType.FLOAT64)]
        file = rows_reader(stored(body), wanted, replace(access, block_bytes=4000)).open(PATH)
        reads = [file.read(index) for index in range(len(file.shapes))]
        return sum(read.bytes_read for read in reads), max(read.block.nbytes for read in reads)

    (few, few_peak), (many, many_peak) = cost(4000), cost(8000)
    assert not relations.proportional("twice the rows", few, many, factor=2, tolerance=0.05)
    assert not relations.unchanged("twice the rows", few_peak, many_peak)


def configured(config: Any, fields: Mapping[str, Any] | None = None) -> ConfigArguments:
    """Return the arguments that ``config`` gives, and then ``fields`` set one by one."""
    found = ConfigArguments()
    LoadConfig(found, config)
    for key, value in (fields or {}).items():
        setattr(found, f"parquet_{key}", value)
    return found


@given(section=parquet_sections())
def test_all_forms_of_a_section_are_the_same_configuration(section: dict[str, Any]) -> None:
    def nested(content: Any) -> Any:
        return {"dataset": {"format": "parquet", "parquet": content}}

    forms = {
        "nested": configured(nested(section)),
        "another order": configured(nested(dict(reversed(section.items())))),
        "text": configured(yaml.safe_load(yaml.safe_dump(nested(section)))),
        "OmegaConf": configured(OmegaConf.create(nested(section))),
        "flat fields": configured(nested({}), section),
    }
    assert not relations.equal_by_form({name: form.workload() for name, form in forms.items()})


@pytest.mark.parametrize("mode", ReadMode)
def test_reading_a_file_again_asks_for_the_same_bytes(mode: ReadMode) -> None:
    storage = stored(Layout(7, codec="zstd").written(numbered(30)))
    reader = ParquetRows(storage, COLUMNS, mode)
    passes = []
    for _ in range(2):
        storage.reads.clear()
        file = reader.open(PATH)
        rows = [file.read(index).block.rows for index in range(len(file.shapes))]
        passes.append((rows, list(storage.reads)))
    assert not relations.unchanged("reading again", *passes)
