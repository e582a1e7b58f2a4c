"""Each link between two parts is wired: what is changed at one end is seen at the other, and a cut is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cuts import (
    Cut,
    arguments_for,
    emptied,
    sample_of_the_reader,
    unknown_options,
    without_parquet,
    written_by_the_generator,
)

from dlio_benchmark import session
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import Compression, DatasetType, FormatType
from dlio_benchmark.config.model import Workload
from dlio_benchmark.data_generator import generator_factory, parquet_generator
from dlio_benchmark.data_generator.generator_factory import GeneratorFactory
from dlio_benchmark.engine import parts
from dlio_benchmark.errors import DlioError
from dlio_benchmark.parquet import encode
from dlio_benchmark.reader import parquet_reader, reader_factory
from dlio_benchmark.reader.reader_factory import ReaderFactory
from dlio_benchmark.utils.config import ConfigArguments, LoadConfig
from verification import oracle
from verification.contracts.job import COLUMNS, run_job, the_section_arrives, tree_of
from verification.evidence import Recorder
from verification.saboteurs.configs import LOADS

NARROW = [COLUMNS[2], COLUMNS[0]]


@pytest.fixture(autouse=True)
def own_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Begin each test with the defaults, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    session.begin(Workload(), Solo())
    yield
    session.begin(Workload(), Solo())


def noticed(evidence: Recorder, name: str, cut: Callable[[Cut], None], check: Callable[[], None]) -> None:
    """Hold a check, and that it fails when the link is cut."""
    check()
    with pytest.MonkeyPatch.context() as patch, evidence.saboteur(name, by=(DlioError,)):
        cut(patch)
        check()


@pytest.mark.claim("link-1")
def test_the_reader_follows_the_arguments(evidence: Recorder, tmp_path: Path) -> None:
    (path, *_) = run_job(tree_of(tmp_path), tmp_path).files

    def check() -> None:
        for columns in (list(COLUMNS), NARROW):
            arguments_for(tmp_path, columns=[dict(column) for column in columns])
            found = list(sample_of_the_reader(path))
            evidence.equal(found, [column["name"] for column in columns], what="columns of a sample")

    noticed(evidence, "cut-reader-from-config", without_parquet, check)


@pytest.mark.claim("link-2")
def test_the_generator_follows_the_arguments(evidence: Recorder, tmp_path: Path) -> None:
    turns = iter(range(10))

    def check() -> None:
        for columns, size in ((list(COLUMNS), 8), (NARROW, 15)):
            folder = tmp_path / str(next(turns))
            arguments_for(folder, columns=[dict(column) for column in columns], row_group_size=size)
            footers = written_by_the_generator(folder)
            evidence.equal([footer.rows for footer in footers], [40] * 3, what="rows written")
            for footer in footers:
                evidence.equal(list(footer.types), [column["name"] for column in columns], what="columns of a file")
                evidence.equal(footer.row_groups[0], size, what="rows of the first row group")

    noticed(evidence, "cut-generator-from-config", without_parquet, check)


@pytest.mark.claim("link-3")
def test_the_map_of_codecs_is_what_is_written(evidence: Recorder, tmp_path: Path) -> None:
    turns = iter(range(100))

    def check() -> None:
        evidence.equal(len(parquet_generator.COMPRESSION_MAP), 5, what="codecs of the map")
        for codec, name in parquet_generator.COMPRESSION_MAP.items():
            folder = tmp_path / str(next(turns))
            ran = run_job(tree_of(folder, compression=codec.value), folder)
            words = {"NONE": "none"}.get(name, name.lower())
            evidence.equal(set(oracle.codecs(ran.files)), {words}, what="codecs in the footers")

    def map_says_none(patch: Cut) -> None:
        patch.setattr(parquet_generator, "COMPRESSION_MAP", dict.fromkeys(parquet_generator.COMPRESSION_MAP, "NONE"))

    def writer_knows_one(patch: Cut) -> None:
        same = dict.fromkeys(encode.CODECS, encode.CODECS[Compression.SNAPPY])
        patch.setattr(encode, "CODECS", {**same, Compression.NONE: encode.CODECS[Compression.NONE]})

    noticed(evidence, "cut-compression-map", map_says_none, check)
    noticed(evidence, "cut-compression-map", writer_knows_one, check)


@pytest.mark.claim("link-4")
def test_the_section_reaches_the_arguments(evidence: Recorder) -> None:
    section = {"columns": NARROW, "row_group_size": 5, "read_mode": "row_group", "partition_by": "b"}
    config = {"dataset": {"format": "parquet", "parquet": section}}
    the_section_arrives(evidence, LoadConfig, ConfigArguments(), config, section)
    with evidence.saboteur("cut-section-from-arguments"):
        the_section_arrives(evidence, LOADS["cut-section-from-arguments"], ConfigArguments(), config, section)


@pytest.mark.claim("link-5")
def test_the_column_filter_reaches_the_bytes(evidence: Recorder, tmp_path: Path) -> None:
    turns = iter(range(10))

    def check() -> None:
        folder = tmp_path / str(next(turns))
        columns = [COLUMNS[0], {**COLUMNS[1], "read": False}, {**COLUMNS[2], "read": False}]
        ran = run_job(tree_of(folder, parquet={"columns": columns}), folder)
        chunks = sum(oracle.footer(path).needed(["a"]) for path in ran.files)
        for epoch in ran.epochs:
            evidence.hold(epoch["bytes_read"], what="bytes of the column", at_least=chunks, at_most=chunks, unit="B")

    noticed(
        evidence,
        "cut-column-filter",
        lambda patch: patch.setattr(parts, "wanted_columns", lambda _workload: None),
        check,
    )


@pytest.mark.claim("link-6")
def test_codec_and_row_group_size_reach_the_footer(evidence: Recorder, tmp_path: Path) -> None:
    turns = iter(range(10))

    def check() -> None:
        folder = tmp_path / str(next(turns))
        ran = run_job(tree_of(folder, compression="snappy"), folder)
        evidence.equal(set(oracle.codecs(ran.files)), {"snappy"}, what="codecs in the footers")
        groups = {oracle.footer(path).row_groups for path in ran.files}
        evidence.equal(groups, {(10, 10, 10, 10)}, what="row groups in the footers")

    for option in ("codec", "row_group_size"):
        noticed(evidence, "cut-writer-options", unknown_options(option), check)


@pytest.mark.claim("link-7")
def test_the_factory_gives_the_parquet_reader(evidence: Recorder, tmp_path: Path) -> None:
    (path, *_) = run_job(tree_of(tmp_path), tmp_path).files

    def check() -> None:
        arguments_for(tmp_path)
        reader = ReaderFactory.get_reader(FormatType.PARQUET, DatasetType.TRAIN, 0, 1)
        evidence.equal(type(reader), parquet_reader.ParquetReader, what="reader of the format parquet")
        wanted = [repr(oracle.rows(path)[0][name]) for name in ("flag", "b")]
        found = sample_of_the_reader(path)
        evidence.equal([repr(found[name].item()) for name in ("flag", "b")], wanted, what="values of a sample")

    noticed(evidence, "cut-reader-factory", emptied(reader_factory, "READERS"), check)


@pytest.mark.claim("link-8")
def test_the_factory_gives_the_parquet_generator(evidence: Recorder, tmp_path: Path) -> None:
    turns = iter(range(10))

    def check() -> None:
        folder = tmp_path / str(next(turns))
        arguments_for(folder)
        generator = GeneratorFactory.get_generator(FormatType.PARQUET)
        evidence.equal(type(generator), parquet_generator.ParquetGenerator, what="generator of the format parquet")
        evidence.equal([footer.rows for footer in written_by_the_generator(folder)], [40] * 3, what="rows written")

    noticed(evidence, "cut-generator-factory", emptied(generator_factory, "GENERATORS"), check)
