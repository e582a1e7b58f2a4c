"""What is said of a run before it is what the report says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlpstorage_bench import Bench, bench_in

from dlio_benchmark.mlpstorage.cli import main
from dlio_benchmark.mlpstorage.status import Status

ENOUGH_FOR_ONE_CLIENT = 3500


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return bench_in(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("words", "clients"),
    [
        ([], 1),
        (["--num-client-hosts", "2"], 2),
        (["--num-client-hosts", "1", "--hosts", "localhost", "127.0.0.1"], 1),
        (["--hosts", "localhost", "127.0.0.1"], 2),
        (["--hosts", "localhost:1", "localhost:1"], 1),
    ],
)
def test_a_run_and_its_report_count_the_same_clients(
    bench: Bench, capfd: pytest.CaptureFixture[str], words: list[str], clients: int
) -> None:
    assert bench.datagen("--params", f"dataset.num_files_train={ENOUGH_FOR_ONE_CLIENT}") == Status.SUCCESS
    assert bench.run(*words) == Status.SUCCESS
    metadata = bench.metadata("run")
    assert metadata["system_info"]["num_hosts"] == clients
    assert metadata["system_info"]["total_memory_bytes"] == clients * 64 * 2**30
    assert main(["reports", "reportgen", "--results-dir", str(bench.root / "results")]) == Status.SUCCESS
    capfd.readouterr()
    (record,) = json.loads((bench.root / "results" / "results.json").read_text())
    assert record["verification"] == metadata["verification"] == ("CLOSED" if clients == 1 else "INVALID")
    assert record["issues"] == metadata["verification_findings"]


def test_a_run_that_reads_nothing_is_invalid(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    assert bench.datagen("--params", "dataset.num_files_train=8") == Status.SUCCESS
    capfd.readouterr()
    made_up = ("--params", "reader.data_loader=synthetic")
    assert bench.run("--closed", *made_up) == Status.GENERAL
    assert bench.run(*made_up) == Status.SUCCESS
    finding = "[INVALID] no data is read: reader.data_loader is synthetic"
    assert capfd.readouterr().out.count(finding) == 2
    assert main(["reports", "reportgen", "--results-dir", str(bench.root / "results")]) == Status.SUCCESS
    assert finding in capfd.readouterr().out
