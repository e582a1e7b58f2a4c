"""Cut links and stubbed artifacts are caught a second time: by another relation, oracle or probe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import duckdb
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
from installed import package, spoiled_wheel, wheel
from pages import pages

from dlio_benchmark import session
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import Compression, DatasetType, FormatType
from dlio_benchmark.config.model import Workload
from dlio_benchmark.data_generator import generator_factory
from dlio_benchmark.data_generator.generator_factory import GeneratorFactory
from dlio_benchmark.engine import parts
from dlio_benchmark.errors import DlioError
from dlio_benchmark.parquet import encode
from dlio_benchmark.reader import reader_factory
from dlio_benchmark.reader.reader_factory import ReaderFactory
from verification import oracle
from verification.contracts.job import COLUMNS, FILES, ROWS, run_job, tree_of
from verification.contracts.package import Installed
from verification.evidence import Recorder
from verification.probes import bytes_read
from verification.saboteurs.packages import STUBS

NARROW = [dict(COLUMNS[2]), dict(COLUMNS[0])]


@pytest.fixture(autouse=True)
def own_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Begin each test with the defaults, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    session.begin(Workload(), Solo())
    yield
    session.begin(Workload(), Solo())


Check = Callable[[Path], None]


def noticed(evidence: Recorder, name: str, cut: Callable[[Cut], None], check: Check, folder: Path) -> None:
    """Hold a check, and that it fails when the link is cut."""
    check(folder / "whole")
    with pytest.MonkeyPatch.context() as patch, evidence.saboteur(name):
        cut(patch)
        check(folder / "cut")


def told(call: Callable[[], object]) -> object:
    """Return what ``call`` returns, or the class of the error that ends it."""
    try:
        return call()
    except DlioError as error:
        return type(error).__name__


# -- reader ------------------------------------------------------------------------------------------------------------
@pytest.mark.claim("link-1")
def test_the_sample_has_the_values_of_the_asked_columns(evidence: Recorder, tmp_path: Path) -> None:
    (path, *_) = run_job(tree_of(tmp_path), tmp_path).files
    wanted = [oracle.rows(path)[0][column["name"]] for column in NARROW]

    def check(_folder: Path) -> None:
        arguments_for(tmp_path, columns=NARROW)
        found = told(lambda: [values.tolist() for values in sample_of_the_reader(path).values()])
        evidence.equal(found, wanted, what="values of the first sample")

    noticed(evidence, "cut-reader-from-config", without_parquet, check, tmp_path)


@pytest.mark.claim("link-5")
def test_the_system_gives_a_run_the_bytes_of_its_columns(evidence: Recorder, tmp_path: Path) -> None:
    columns = [
        {"name": "small", "dtype": "float64"},
        {"name": "large", "dtype": "float64", "size": 8192, "read": False},
    ]
    tree = tree_of(tmp_path, parquet={"columns": columns})
    tree["train"]["epochs"] = 1
    ran = run_job(tree, tmp_path)
    whole = sum(path.stat().st_size for path in ran.files)
    only_train = tree | {"workflow": {"generate_data": False, "train": True}}

    def check(folder: Path) -> None:
        read = bytes_read(partial(run_job, only_train, folder))
        evidence.hold(read, what="bytes that the system gave to a run", at_most=whole // 2, unit="B")

    noticed(evidence, "cut-column-filter", _everything_is_wanted, check, tmp_path)


def _everything_is_wanted(patch: Cut) -> None:
    patch.setattr(parts, "wanted_columns", lambda _workload: None)


def count_of_true(path: Path) -> int:
    """Read every sample of a file through the factory, one by one, and count those whose flag is set."""
    reader = ReaderFactory.get_reader(FormatType.PARQUET, DatasetType.TRAIN, 0, 1)
    try:
        return sum(int(reader.get_sample(str(path), number)["flag"].item()) for number in range(ROWS))
    finally:
        reader.finalize()


@pytest.mark.claim("link-7")
def test_every_sample_comes_through_the_factory(evidence: Recorder, tmp_path: Path) -> None:
    (path, *_) = run_job(tree_of(tmp_path), tmp_path).files
    with duckdb.connect() as engine:
        wanted = engine.execute("SELECT count(*) FILTER (flag) FROM read_parquet(?)", [str(path)]).fetchone()

    def check(_folder: Path) -> None:
        arguments_for(tmp_path)
        evidence.equal((told(lambda: count_of_true(path)),), wanted, what="flags that duckdb and the factory count")

    noticed(evidence, "cut-reader-factory", emptied(reader_factory, "READERS"), check, tmp_path)


# -- generator ---------------------------------------------------------------------------------------------------------
@pytest.mark.claim("link-8")
def test_a_second_engine_counts_what_came_through_the_factory(evidence: Recorder, tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        arguments_for(folder)
        told(lambda: GeneratorFactory.get_generator(FormatType.PARQUET).generate())
        files = sorted(map(str, folder.rglob("*.parquet")))
        with duckdb.connect() as engine:
            query = "SELECT count(flag) FROM read_parquet(?)"
            (rows,) = (engine.execute(query, [files]).fetchone() if files else None) or (0,)
        evidence.hold(rows, what="rows that duckdb counts", at_least=FILES * ROWS, at_most=FILES * ROWS, unit="rows")

    noticed(evidence, "cut-generator-factory", emptied(generator_factory, "GENERATORS"), check, tmp_path)


@pytest.mark.claim("link-2")
def test_a_second_engine_finds_the_row_groups_of_the_arguments(evidence: Recorder, tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        for size in (8, 15):
            arguments_for(folder / str(size), columns=NARROW, row_group_size=size)
            written_by_the_generator(folder / str(size))
            query = "SELECT count(DISTINCT row_group_id) FROM parquet_metadata(?) GROUP BY file_name"
            with duckdb.connect() as engine:
                found = engine.execute(query, [f"{folder}/{size}/data/train/*.parquet"]).fetchall()
            evidence.equal(found, [(-(-ROWS // size),)] * FILES, what="row groups that duckdb finds")

    noticed(evidence, "cut-generator-from-config", without_parquet, check, tmp_path)


def stubborn_pages(folder: Path, codec: str) -> int:
    """Return how many pages of a data set that is generated below ``folder`` do not unpack with ``codec``."""
    ran = run_job(tree_of(folder, compression=codec), folder)
    found = [page for path in ran.files for page in pages(path.read_bytes())]
    assert found
    return sum(not page.unpacks(codec.upper()) for page in found)


@pytest.mark.claim("link-3", "link-6")
@pytest.mark.parametrize("name", ["cut-compression-map", "cut-writer-options"])
def test_pages_of_a_job_unpack_with_the_codec(evidence: Recorder, tmp_path: Path, name: str) -> None:
    def check(folder: Path) -> None:
        for codec in (Compression.ZSTD, Compression.SNAPPY):
            many = stubborn_pages(folder / codec.value, codec.value)
            evidence.hold(many, what="pages that do not unpack with the codec", at_most=0, unit="pages")

    def one_codec_for_all(patch: Cut) -> None:
        patch.setattr(encode, "CODECS", dict.fromkeys(encode.CODECS, encode.CODECS[Compression.SNAPPY]))

    cut = one_codec_for_all if name == "cut-compression-map" else unknown_options("codec")
    noticed(evidence, name, cut, check, tmp_path)


# -- artifacts ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Use:
    """A use of one module alone, as a program that says what it got, and what that must be."""

    what: str
    program: str
    wanted: object


USES = {
    "stub-enumerations": Use(
        "codecs of Parquet that the vocabulary offers",
        """
from dlio_benchmark.common.enumerations import Compression
words = {one.value for one in Compression}
say([word for word in ("none", "snappy", "gzip", "zstd", "lz4") if word in words])
""",
        ["none", "snappy", "gzip", "zstd", "lz4"],
    ),
    "stub-config": Use(
        "value that arrives in the arguments",
        """
from dlio_benchmark.utils.config import ConfigArguments, LoadConfig
arguments = ConfigArguments()
LoadConfig(arguments, {"dataset": {"format": "parquet", "parquet": {"row_group_size": 77}}})
say(arguments.parquet_row_group_size)
""",
        77,
    ),
    "stub-parquet-reader": Use(
        "rows that the module reads",
        """
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.local import LocalStorage
file = ParquetRows(LocalStorage("."), None).open("f")
say(sum(file.read(number).block.rows for number in range(len(file.shapes))))
""",
        5,
    ),
    "stub-parquet-generator": Use(
        "whether what the module writes is framed as a Parquet file",
        """
from dlio_benchmark.common.enumerations import ColumnType, Compression, DatasetType
from dlio_benchmark.config.model import Column
from dlio_benchmark.data_generator.parquet_generator import ParquetFiles
from dlio_benchmark.plan.generation import PlannedFile
from dlio_benchmark.storage.memory import MemoryStorage
storage = MemoryStorage()
files = ParquetFiles([Column("a", ColumnType.INT8)], Compression.NONE, row_group_size=5)
files.write(PlannedFile(DatasetType.TRAIN, 0, "g", 5), storage)
say([body[:4] + body[-4:] == b"PAR1PAR1" for body in storage.files.values()])
""",
        [True],
    ),
}
SAY = "import json\ndef say(value): print(json.dumps(value))\n"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.claim(f"artifact-{number}")) for number, name in enumerate(USES, start=1)],
)
def test_the_module_does_what_it_is_for(evidence: Recorder, tmp_path: Path, name: str) -> None:
    use = USES[name]
    duckdb.sql("SELECT range AS a FROM range(5)").write_parquet(str(tmp_path / "f"))

    def check(installed: Installed) -> None:
        ended = installed.run("python", "-c", SAY + use.program, cwd=tmp_path)
        last = ended.stdout.strip().splitlines()[-1:]
        found = json.loads(last[0]) if last else f"nothing, status {ended.code}: {ended.stderr[-300:]}"
        evidence.equal(found, use.wanted, what=use.what)

    check(package())
    stubbed = Installed(tmp_path / "site")
    shutil.copytree(package().site, stubbed.site)
    STUBS[name](stubbed.site)
    with evidence.saboteur(name):
        check(stubbed)


@pytest.mark.claim("link-9")
def test_the_wheel_holds_the_engine(evidence: Recorder) -> None:
    def check(built: Path) -> None:
        names = ZipFile(built).namelist()
        modules = sum(name.startswith("dlio_benchmark/") and name.endswith(".py") for name in names)
        evidence.hold(modules, what="modules of the engine in the wheel", at_least=50, unit="modules")

    check(wheel())
    with evidence.saboteur("cut-package"):
        check(spoiled_wheel("cut-package"))
