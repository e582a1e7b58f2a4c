"""Wrong writers and wrong reports are caught a second time: by another relation, oracle or probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pages import pages
from pyarrow.dataset import dataset, partitioning

from dlio_benchmark.comm import Solo
from dlio_benchmark.metrics.events import RankRecord, StepTimes
from verification.contracts.metrics import BATCH, EPOCHS, Records, Report, product_report, recorded
from verification.contracts.writer import CODECS, PARTED, PARTITIONS, MakeWriter, partitioned, workload_of, written
from verification.evidence import Recorder
from verification.saboteurs.reports import REPORTS
from verification.saboteurs.writers import THREADED, WRITERS, product_writer, product_writer_with

WORDS = {"none": "UNCOMPRESSED", **{codec: codec.upper() for codec in CODECS if codec != "none"}}


# -- files -------------------------------------------------------------------------------------------------------------
def pages_unpack_with_the_codec(evidence: Recorder, make: MakeWriter, codec: str, folder: Path) -> None:
    """Hold that the octets of every page, taken from the raw file, unpack with the codec to the size of the header."""
    found = [page for path in written(make, workload_of(codec=codec), folder) for page in pages(path.read_bytes())]
    evidence.hold(len(found), what="pages looked at", at_least=2 * 3 * 6, unit="pages")
    stubborn = sum(not page.unpacks(WORDS[codec]) for page in found)
    evidence.hold(stubborn, what="pages that do not unpack with the codec", at_most=0, unit="pages")


@pytest.mark.claim("truth-8")
@pytest.mark.parametrize("codec", CODECS)
def test_pages_unpack_with_the_codec(evidence: Recorder, tmp_path: Path, codec: str) -> None:
    pages_unpack_with_the_codec(evidence, product_writer, codec, tmp_path / "product")
    if codec == "lz4":
        with evidence.saboteur("writes-snappy-for-lz4"):
            pages_unpack_with_the_codec(evidence, WRITERS["writes-snappy-for-lz4"], codec, tmp_path / "wrong")


def a_second_engine_finds_no_difference(
    evidence: Recorder, make: MakeWriter, ranks: int, folder: Path, *, again: MakeWriter | None = None
) -> None:
    """Hold that two data sets of one seed, the second by several ranks or another writer, are the same to duckdb."""
    workload = workload_of(files=4)
    written(make, workload, folder / "once")
    written(again or make, workload, folder / "again", ranks)
    first, second = (f"SELECT * FROM read_parquet('{folder}/{name}/**/*.parquet')" for name in ("once", "again"))
    with duckdb.connect() as engine:
        (rows,) = engine.execute(f"SELECT count(*) FROM ({first})").fetchone() or (0,)
        (differing,) = engine.execute(f"SELECT count(*) FROM ({first} EXCEPT ALL {second})").fetchone() or (rows,)
    evidence.hold(rows, what="rows that duckdb reads", at_least=4 * 40, at_most=4 * 40, unit="rows")
    evidence.hold(differing, what="rows that are in one of two equal data sets only", at_most=0, unit="rows")


def a_second_engine_finds_no_row_again(evidence: Recorder, make: MakeWriter, folder: Path) -> None:
    """Hold that files of two ranks have no row in common, as duckdb compares them."""
    written(make, workload_of(files=4), folder, 2)
    rows = f"FROM read_parquet('{folder}/**/*.parquet')"
    with duckdb.connect() as engine:
        (every,) = engine.execute(f"SELECT count(*) {rows}").fetchone() or (0,)
        (different,) = engine.execute(f"SELECT count(*) FROM (SELECT DISTINCT * {rows})").fetchone() or (0,)
    evidence.hold(every - different, what="rows that duckdb finds again", at_most=0, unit="rows")


@pytest.mark.claim("product-3")
def test_a_second_engine_finds_no_row_again(evidence: Recorder, tmp_path: Path) -> None:
    a_second_engine_finds_no_row_again(evidence, product_writer, tmp_path / "product")
    name = "same-data-on-two-ranks"
    with evidence.saboteur(name):
        a_second_engine_finds_no_row_again(evidence, WRITERS[name], tmp_path / name)


@pytest.mark.claim("product-3")
def test_a_second_engine_finds_no_difference(evidence: Recorder, tmp_path: Path) -> None:
    a_second_engine_finds_no_difference(evidence, product_writer, 2, tmp_path / "product")
    for name, ranks in (("seed-ignored", 1), ("data-depends-on-ranks", 2)):
        with evidence.saboteur(name):
            a_second_engine_finds_no_difference(evidence, WRITERS[name], ranks, tmp_path / name)
    threaded = product_writer_with(3)
    a_second_engine_finds_no_difference(evidence, product_writer, 1, tmp_path / "threads", again=threaded)
    for name, make in THREADED.items():
        with evidence.saboteur(name):
            a_second_engine_finds_no_difference(evidence, make(0), 1, tmp_path / name, again=make(3))


def the_folders_are_found_by_others(evidence: Recorder, make: MakeWriter, value: str, folder: Path) -> None:
    """Hold names and rows of the partitions to what pyarrow's data sets make of the names of the folders."""
    column, _ = PARTITIONS[value]
    written(make, partitioned(value, parted=True), folder)
    found = dataset(folder / "train", format="parquet", partitioning=partitioning(flavor="hive"))
    evidence.equal(column.name in found.schema.names, True, what="others find the partition column by its name")
    rows = found.count_rows()
    evidence.hold(rows, what="rows in partitions, as others count", at_least=PARTED, at_most=PARTED, unit="rows")


@pytest.mark.claim("product-14")
@pytest.mark.parametrize("value", ["plain", "slash"])
def test_the_folders_of_partitions_are_found_by_others(evidence: Recorder, tmp_path: Path, value: str) -> None:
    the_folders_are_found_by_others(evidence, product_writer, value, tmp_path / "product")
    for name in ("partition-loses-rows", *["partition-value-not-escaped"] * (value == "slash")):
        with evidence.saboteur(name):
            the_folders_are_found_by_others(evidence, WRITERS[name], value, tmp_path / name)


# -- reports -----------------------------------------------------------------------------------------------------------
def stretched(records: Records, *, load: int = 1, compute: int = 1) -> list[RankRecord]:
    """Return records whose waits and computations took so many times as long."""

    def one(record: RankRecord) -> RankRecord:
        phases = []
        for phase in record.phases:
            times = phase.step_times
            longer = StepTimes(
                [ns * load for ns in times.load_ns], [ns * compute for ns in times.compute_ns], times.barrier_ns
            )
            more = sum(longer.load_ns) + sum(longer.compute_ns) - sum(times.load_ns) - sum(times.compute_ns)
            phases.append(replace(phase, times=longer, end_ns=phase.end_ns + more))
        return replace(record, phases=tuple(phases))

    return list(map(one, records))


def metric(report: Report, records: Records, name: str) -> Sequence[float]:
    found: Mapping[str, Any] = report(records)["metric"]
    values: Sequence[float] = found[name]
    return values


AU, RATE = "train_au_percentage", "train_throughput_samples_per_second"


def utilization_falls_with_waits(evidence: Recorder, report: Report) -> None:
    """Hold that waits which are twice as long make the utilization smaller."""
    records = recorded(Solo())
    pairs = zip(metric(report, records, AU), metric(report, stretched(records, load=2), AU), strict=True)
    for once, twice in pairs:
        evidence.hold(round(once - twice, 3), what="points lost by waiting twice as long", at_least=5, at_most=50)


def utilization_has_no_unit(evidence: Recorder, report: Report) -> None:
    """Hold that a run in which everything takes a thousand times as long has the same utilization."""
    records = recorded(Solo())
    pairs = zip(
        metric(report, records, AU), metric(report, stretched(records, load=1000, compute=1000), AU), strict=True
    )
    for short, long in pairs:
        evidence.hold(round(short - long, 6), what="points gained by another scale", at_least=-0.001, at_most=0.001)


def rate_and_utilization_agree(evidence: Recorder, report: Report, compute_s: float = 0.01) -> None:
    """Hold that the rate is what the utilization leaves of the rate of a run that never waits."""
    records = recorded(Solo())
    for au, rate in zip(metric(report, records, AU), metric(report, records, RATE), strict=True):
        told = rate / (au / 100 * BATCH / compute_s)
        evidence.hold(round(told, 6), what="rate told against utilization told", at_least=0.9999, at_most=1.0001)
    evidence.equal(len(records[0].phases), EPOCHS, what="passes recorded")


@pytest.mark.claim("product-7")
@pytest.mark.parametrize(
    ("name", "relation"),
    [
        ("utilization-without-waits", utilization_falls_with_waits),
        ("rounds-the-wait-away", utilization_has_no_unit),
        ("rate-from-planned-samples", rate_and_utilization_agree),
    ],
)
def test_numbers_keep_their_relations(evidence: Recorder, name: str, relation: Any) -> None:
    relation(evidence, product_report)
    with evidence.saboteur(name):
        relation(evidence, REPORTS[name])
