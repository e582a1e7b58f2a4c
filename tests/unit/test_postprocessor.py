"""The postprocessor turns the files of a run into numbers that can be recomputed, and a page that stands alone."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.comm import Simulated, Solo
from dlio_benchmark.errors import DataMissingError, Exit
from dlio_benchmark.job import Job
from dlio_benchmark.postprocessor import DLIOPostProcessor, Spread, run
from dlio_benchmark.report.log import Log

SECONDS = st.lists(st.floats(0.001, 100), min_size=1, max_size=40)


def output(folder: Path, rank: int, load: list[float], compute: float) -> None:
    block = {"load": {"block1": load}, "proc": {"block1": [one + compute for one in load]}}
    (folder / f"{rank}_output.json").write_text(json.dumps({"hostname": "here", "1": block}))


def arguments(folder: Path, **more: object) -> SimpleNamespace:
    return SimpleNamespace(output_folder=str(folder), batch_size=4, record_size=2**20, **more)


@given(values=SECONDS)
def test_a_spread_is_what_statistics_says(values: list[float]) -> None:
    got = Spread.of(values)
    assert (got.least, got.most) == (min(values), max(values))
    assert got.mean == pytest.approx(statistics.fmean(values))
    assert got.median == pytest.approx(statistics.median(values))
    assert got.median <= got.p90 * (1 + 1e-9) <= got.p99 * (1 + 2e-9) <= got.most * (1 + 3e-9)


def test_rates_are_batches_over_the_time_of_their_steps(tmp_path: Path) -> None:
    output(tmp_path, 0, [1.0, 3.0], 1.0)
    output(tmp_path, 1, [1.0, 3.0], 1.0)
    processor = DLIOPostProcessor(arguments(tmp_path))
    processor.process_loading_and_processing_times()
    stats = processor.overall_stats
    assert stats["samples/s"]["mean"] == f"{(4 / 2 + 4 / 4) / 2:.2f}"
    assert stats["MB/s"]["max"] == "2.00"
    assert stats["avg_process_loading_time"] == "4.00"
    assert stats["avg_process_processing_time"] == "6.00"


def test_ranks_beyond_nine_stand_in_order(tmp_path: Path) -> None:
    for rank in range(12):
        output(tmp_path, rank, [float(rank + 1)], 0.0)
    processor = DLIOPostProcessor(arguments(tmp_path))
    assert processor.steps("block").load == [float(rank + 1) for rank in range(12)]


def test_a_folder_without_a_result_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataMissingError, match="no result of a run"):
        DLIOPostProcessor(arguments(tmp_path))
    assert run(["-of", str(tmp_path)]) == Exit.DATA_MISSING
    assert str(tmp_path) in capsys.readouterr().err


def test_a_run_becomes_a_report_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = {
        "workflow": {"generate_data": True, "train": True},
        "dataset": {"format": "parquet", "data_folder": str(tmp_path / "data"), "num_samples_per_file": 8},
        "reader": {"batch_size": 2},
    }
    Simulated.run(2, lambda comm: Job(tree, comm, str(tmp_path), Log(quiet=True)).run())
    assert run(["-of", str(tmp_path), "-n", "<my run>"]) == Exit.OK
    text = capsys.readouterr().out
    proof = json.loads((tmp_path / "summary.json").read_text())["dlio"]["epochs"][0]
    assert text.startswith("VALID on 2 accelerator(s)")
    assert f"{proof['bytes_read']} bytes read of {proof['bytes_read']} promised" in text
    page = (tmp_path / "report.html").read_text()
    assert "&lt;my run&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    for svg in page.split("<svg")[1:]:
        ET.fromstring("<svg" + svg.split("</svg>")[0] + "</svg>")


def test_a_run_that_did_not_end_is_incomplete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output(tmp_path, 0, [1.0], 1.0)
    assert run(["-of", str(tmp_path)]) == Exit.NOT_MET
    assert capsys.readouterr().out.startswith("INCOMPLETE")
    assert "INCOMPLETE" in (tmp_path / "report.html").read_text()


def test_a_result_that_is_invalid_ends_with_its_reason_and_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(tmp_path, 0, [1.0], 1.0)
    proof = {"valid": False, "problems": ["rank 0, epoch 1: 3 bytes read of 4"], "notes": [], "epochs": []}
    summary = {"num_accelerators": 1, "num_hosts": 1, "start": "a", "end": "b", "metric": {}, "dlio": proof}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert run(["-of", str(tmp_path)]) == Exit.NOT_MET
    assert capsys.readouterr().out.startswith("INVALID: rank 0, epoch 1: 3 bytes read of 4 on 1 accelerator(s)")
    assert "3 bytes read of 4" in (tmp_path / "report.html").read_text()


def test_a_result_of_another_version_is_reported_as_one_without_proof(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(tmp_path, 0, [1.0], 1.0)
    summary = {"num_accelerators": 1, "num_hosts": 1, "start": "a", "end": "b", "metric": {}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert run(["-of", str(tmp_path)]) == Exit.OK
    assert capsys.readouterr().out.startswith("UNPROVEN")
    assert "UNPROVEN" in (tmp_path / "report.html").read_text()


def record(folder: Path, text: str) -> None:
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text(text)


def cells(text: str, row: str) -> list[float]:
    (line,) = [line for line in text.splitlines() if line.startswith(row)]
    return [float(cell) for cell in line.removeprefix(row).split()]


def test_rates_are_scaled_by_what_the_run_took_from_its_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was recorded has no format, no columns, and a variable that is gone."""
    columns = [{"name": "large", "dtype": "float32", "size": 300_000}]
    made = {"format": "parquet", "num_samples_per_file": 4, "num_files_train": 1, "parquet": {"columns": columns}}
    place = {"data_folder": str(tmp_path / "data")}
    for work in (
        {"workflow": {"generate_data": True, "train": False}, "dataset": made | place},
        {"workflow": {"train": True}, "dataset": {"num_files_train": 1, **place}, "reader": {"batch_size": 2}},
    ):
        Job(work, Solo(), str(tmp_path), Log(quiet=True)).run()
    record(tmp_path, "workload: {dataset: {data_folder: '${oc.env:DLIO_NO_SUCH_VARIABLE}'}}")
    proof = json.loads((tmp_path / "summary.json").read_text())["dlio"]
    assert (proof["record_bytes"], proof["batch_size"], proof["batch_size_eval"]) == (1_200_000, 2, 1)
    assert run(["-of", str(tmp_path), "--html", ""]) == Exit.OK
    text = capsys.readouterr().out
    output = json.loads((tmp_path / "0_output.json").read_text())
    rates = [2 / seconds for seconds in output["1"]["proc"]["block1"]]
    assert cells(text, "samples/s per rank")[0] == pytest.approx(statistics.fmean(rates), rel=0.01, abs=0.01)
    nominal = statistics.fmean(rates) * 1_200_000 / 2**20
    assert cells(text, "MiB/s per rank, nominal")[0] == pytest.approx(nominal, rel=0.01, abs=0.01)


def test_a_result_that_does_not_say_what_scales_it_is_scaled_by_its_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(tmp_path, 0, [1.0, 3.0], 1.0)
    record(tmp_path, "workload: {dataset: {format: parquet, record_length_bytes: 2097152}, reader: {batch_size: 4}}")
    run(["-of", str(tmp_path), "--html", ""])
    text = capsys.readouterr().out
    assert cells(text, "samples/s per rank")[0] == 1.5
    assert cells(text, "MiB/s per rank, nominal")[0] == 3


def test_a_record_that_refers_to_what_is_not_there_is_an_error_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(tmp_path, 0, [1.0], 1.0)
    record(tmp_path, "workload: {dataset: {data_folder: '${oc.env:DLIO_NO_SUCH_VARIABLE}'}}")
    assert run(["-of", str(tmp_path)]) == Exit.CONFIG
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "config.yaml" in said
    assert "DLIO_NO_SUCH_VARIABLE" in said
