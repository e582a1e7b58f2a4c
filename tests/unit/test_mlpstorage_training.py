"""Generating and training through the front end, with a stand-in for the engine."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlpstorage_bench import Bench, bench_in

from dlio_benchmark.mlpstorage import manifest
from dlio_benchmark.mlpstorage.cli import main
from dlio_benchmark.mlpstorage.models import CONFIG_DIR
from dlio_benchmark.mlpstorage.status import Status

COLUMNS = "[{name:a,dtype:float32,size:16},{name:b,dtype:string}]"
CONFIG_FILES = {"config.yaml", "hydra.yaml", "overrides.yaml"}


def runs(pid: str) -> bool:
    """Whether the process is there and is not a zombie that nobody collects."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return bench_in(tmp_path, monkeypatch)


def test_the_engine_is_launched_by_the_exact_line(bench: Bench) -> None:
    params = ["dataset.num_files_train=8", "a=b=c", f"dataset.parquet.columns={COLUMNS}"]
    assert bench.datagen("--dataset-format", "parquet", "--compression", "zstd", "--params", *params) == Status.SUCCESS
    (leaf,) = bench.leaves("datagen")
    assert bench.engine_words("datagen") == [
        str(bench.root / "dlio_benchmark"),
        "workload=unet3d_datagen",
        f"++hydra.run.dir={leaf}",
        "++hydra.output_subdir=dlio_config",
        "++workload.dataset.format=parquet",
        "++workload.dataset.compression=zstd",
        "++workload.dataset.num_files_train=8",
        "++workload.a='b=c'",
        f"++workload.dataset.parquet.columns={COLUMNS}",
        f"++workload.dataset.data_folder={bench.generated}",
        f"--config-dir={CONFIG_DIR}",
    ]
    assert bench.launcher_words()[:4] == ["-n", "2", "-host", "127.0.0.1:2"]


def test_a_run_finds_by_itself_what_was_generated(bench: Bench) -> None:
    shrunk = ["dataset.num_files_train=8", "dataset.record_length_bytes=4096", f"dataset.parquet.columns={COLUMNS}"]
    assert bench.datagen("--compression", "zstd", "--params", *shrunk) == Status.SUCCESS
    assert bench.run() == Status.SUCCESS
    assert bench.workload("run")["dataset"] == bench.workload("datagen")["dataset"]
    assert bench.workload("run")["dataset"]["compression"] == "zstd"
    words = bench.engine_words("run")
    assert "workload=unet3d_h100" in words
    assert f"++workload.dataset.parquet.columns={COLUMNS}" in words


def test_the_manifest_says_what_was_generated(bench: Bench) -> None:
    assert bench.datagen("--compression", "zstd", "--params", "dataset.num_files_train=8") == Status.SUCCESS
    content = json.loads((bench.generated / manifest.FILE_NAME).read_text())
    assert content["created_at"].endswith("Z")
    assert content["overrides"] == {"dataset.compression": "zstd", "dataset.num_files_train": "8"}
    assert content["source_datagen_result_dir"] == str(bench.leaves("datagen")[0])
    fields = ("schema_version", "model", "num_files_train", "num_samples_per_file", "dataset_format", "compression")
    assert [content[name] for name in fields] == [1, "unet3d", 8, 1, "parquet", "zstd"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--compression", "snappy"], ["dataset.compression", "'snappy'", "'zstd'"]),
        (["--params", "dataset.record_length_bytes=5"], ["dataset.record_length_bytes", "5", "146600628"]),
        (["--params", "dataset.num_files_train=9"], ["dataset.num_files_train", "9", "8"]),
        (["--params", f"dataset.parquet.columns={COLUMNS}"], ["dataset.parquet.columns"]),
    ],
)
def test_an_option_that_contradicts_the_data_set_is_refused_and_nothing_is_launched(
    bench: Bench, capfd: pytest.CaptureFixture[str], words: list[str], said: list[str]
) -> None:
    assert bench.datagen("--compression", "zstd", "--params", "dataset.num_files_train=8") == Status.SUCCESS
    capfd.readouterr()
    assert bench.run(*words) == Status.CONFIGURATION
    message = capfd.readouterr().err
    assert all(word in message for word in (*said, "contradict"))
    assert not (bench.root / "results" / "training" / "unet3d" / "run").exists()


def test_a_run_may_read_fewer_files_than_were_generated(bench: Bench) -> None:
    assert bench.datagen("--params", "dataset.num_files_train=8") == Status.SUCCESS
    assert bench.run("--params", "dataset.num_files_train=4") == Status.SUCCESS
    dataset = bench.workload("run")["dataset"]
    assert (dataset["num_files_train"], dataset["num_files_generated"]) == (4, 8)


def test_a_run_may_read_some_of_the_columns(bench: Bench) -> None:
    params = ["dataset.num_files_train=8", f"dataset.parquet.columns={COLUMNS}"]
    assert bench.datagen("--params", *params) == Status.SUCCESS
    named = "dataset.parquet.columns=[{name:b,dtype:string}]"
    assert bench.run("--params", named) == Status.SUCCESS
    assert bench.workload("run")["dataset"]["parquet"]["columns"] == [
        {"name": "a", "dtype": "float32", "size": 16, "read": False},
        {"name": "b", "dtype": "string", "size": 1, "read": True},
    ]
    assert named in bench.metadata("run")["args"]["params"]


def test_generating_other_data_over_a_data_set_is_refused_with_what_is_there(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench.datagen("--compression", "zstd") == Status.SUCCESS
    assert bench.datagen("--compression", "zstd") == Status.SUCCESS
    capfd.readouterr()
    assert bench.datagen("--compression", "gzip") == Status.CONFIGURATION
    assert "dataset.compression: asked for 'gzip', there is 'zstd'" in capfd.readouterr().err
    assert len(bench.leaves("datagen")) == 2


def test_a_leaf_holds_what_readers_of_both_generations_expect(bench: Bench) -> None:
    assert bench.datagen("--params", "dataset.num_files_train=8") == Status.SUCCESS
    assert bench.run("--params", "reader.read_threads=2") == Status.SUCCESS
    (leaf,) = bench.leaves("run")
    names = {path.name for path in leaf.iterdir()}
    assert {
        "training_run.stdout.log",
        "training_run.stderr.log",
        "dlio.log",
        "summary.json",
        "0_output.json",
        "training_cluster_info.json",
        f"training_{leaf.name}_timeseries.json",
    } <= names
    assert {path.name for path in (leaf / "dlio_config").iterdir()} == CONFIG_FILES
    content = bench.metadata("run")
    assert content["params_dict"]["reader.read_threads"] == "2"
    assert content["params_dict"]["dataset.data_folder"] == str(bench.generated)
    assert content["combined_params"]["reader"]["read_threads"] == 2
    assert content["yaml_params"]["reader"]["read_threads"] == 4
    assert content["parameters"]["dataset"]["data_folder"] == str(bench.generated)
    assert content["override_parameters"] == {"dataset.num_files_train": 8, "reader.read_threads": 2}
    assert content["_config_name"] == "unet3d_h100"
    assert content["run_datetime"] == leaf.name
    assert content["total_mem_kB"] == 64 * 2**20
    assert content["system_info"]["hosts"][0]["memory"]["total"] > 0
    assert (content["exit_status"], content["engine_exit_code"]) == (0, 0)
    assert content["args"]["accelerator_type"] == "h100"


def test_the_engines_output_is_kept_and_shown(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    assert bench.datagen() == Status.SUCCESS
    (leaf,) = bench.leaves("datagen")
    shown = capfd.readouterr()
    assert (leaf / "training_datagen.stdout.log").read_text() == "[OUTPUT] to stdout\n"
    assert (leaf / "training_datagen.stderr.log").read_text() in shown.err
    assert "[OUTPUT] to stdout" in shown.out


def test_a_secret_is_passed_to_the_engine_and_stands_nowhere_else(
    bench: Bench, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not even on the engine's command line, which everybody on the host may read."""
    seen = tmp_path / "seen by the engine"
    monkeypatch.setenv("STUB_ENVIRON", str(seen))
    key = "storage.storage_options.secret_access_key"
    assert bench.datagen("--params", f"{key}=hunter22") == Status.SUCCESS
    assert f"++workload.{key}=${{oc.env:DLIO_SECRET_0}}" in bench.engine_words("datagen")
    assert json.loads(seen.read_text())["DLIO_SECRET_0"] == "hunter22"
    seen.unlink()
    shown = capfd.readouterr()
    texts = [path.read_text() for path in bench.root.rglob("*") if path.is_file()]
    texts.remove((bench.root / "dlio_benchmark").read_text())
    assert not [text for text in (shown.out, shown.err, *texts) if "hunter22" in text]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1, Status.FAILURE),
        (70, Status.FAILURE),
        (78, Status.CONFIGURATION),
        (66, Status.NOT_FOUND),
        (71, Status.TIMEOUT),
    ],
)
def test_the_engines_failure_is_the_commands_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: int, status: Status
) -> None:
    monkeypatch.setenv("STUB_EXIT", str(code))
    assert bench.datagen() == status
    assert f"exit code {code}" in capfd.readouterr().err
    content = bench.metadata("datagen")
    assert (content["exit_status"], content["engine_exit_code"]) == (status, code)
    assert f"exit code {code}" in content["failure"]
    assert not (bench.generated / manifest.FILE_NAME).exists()


@pytest.mark.parametrize("name", ["summary.json", "0_output.json", "dlio.log", "dlio_config/hydra.yaml"])
def test_success_without_a_required_file_is_a_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    assert bench.datagen() == Status.SUCCESS
    monkeypatch.setenv("STUB_OMIT", name)
    assert bench.run() == Status.FAILURE
    assert name.removeprefix("0") in capfd.readouterr().err
    assert bench.metadata("run")["exit_status"] == Status.FAILURE


def test_success_with_an_incomplete_result_is_a_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.datagen() == Status.SUCCESS
    monkeypatch.setenv("STUB_INCOMPLETE", "1")
    assert bench.run() == Status.FAILURE
    assert "no step was executed" in bench.metadata("run")["failure"]


def test_every_loop_has_a_leaf_of_its_own(bench: Bench) -> None:
    assert bench.datagen("--loops", "3") == Status.SUCCESS
    assert len(bench.leaves("datagen")) == 3
    assert bench.metadata("datagen")["run_number"] == 3


def test_deviation_and_resized_length_follow_a_given_record_length(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench.datagen("--params", "dataset.num_files_train=8", "dataset.record_length_bytes=65536") == Status.SUCCESS
    assert "Scaled with the record: dataset.record_length_bytes_stdev=30551" in capfd.readouterr().out
    assert bench.run() == Status.SUCCESS
    for command in ("datagen", "run"):
        dataset = bench.workload(command)["dataset"]
        assert (dataset["record_length_bytes_stdev"], dataset["record_length_bytes_resize"]) == (30551, 938)
    given = ["dataset.record_length_bytes_stdev=0", "dataset.record_length_bytes_resize=7"]
    assert (
        bench.datagen("--data-dir", str(bench.root / "other"), "--params", "dataset.record_length_bytes=9", *given) == 0
    )
    dataset = bench.workload("datagen")["dataset"]
    assert (dataset["record_length_bytes_stdev"], dataset["record_length_bytes_resize"]) == (0, 7)


def test_what_if_writes_the_metadata_and_launches_nothing(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    assert bench.run("--what-if") == Status.SUCCESS
    (leaf,) = bench.leaves("run")
    assert not (leaf / "argv.json").exists()
    command = bench.metadata("run")["executed_command"]
    assert command in capfd.readouterr().out
    assert shlex.split(command)[-1] == f"--config-dir={CONFIG_DIR}"


def test_docker_needs_no_launcher(bench: Bench) -> None:
    assert bench.datagen("--exec-type", "docker") == Status.SUCCESS
    assert not (bench.root / "launcher.json").exists()
    assert shlex.split(bench.metadata("datagen")["executed_command"])[0] == str(bench.root / "dlio_benchmark")


def test_all_missing_things_are_said_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MPI_RUN_BIN", str(bench.root / "absent"))
    words = bench.words("datagen", "--dlio-bin-path", str(bench.root / "nowhere"))
    words += ["--data-dir", str(bench.root / "a" / "b"), "--results-dir", str(bench.root / "c" / "d")]
    assert main(words) == Status.NOT_FOUND
    message = capfd.readouterr().err
    assert all(word in message for word in ("--data-dir", "--results-dir", "--dlio-bin-path", "absent", "MPI_RUN_BIN"))
    assert not (bench.root / "c").exists()


def test_a_run_without_data_says_how_to_generate_it(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    assert bench.run() == Status.NOT_FOUND
    assert "mlpstorage training datagen" in capfd.readouterr().err


@pytest.mark.parametrize(("words", "status"), [([], Status.GENERAL), (["--allow-invalid-params"], Status.SUCCESS)])
def test_closed_refuses_what_the_rules_forbid_unless_told_otherwise(
    bench: Bench, words: list[str], status: Status
) -> None:
    assert bench.datagen("--params", "dataset.num_files_train=8") == Status.SUCCESS
    assert bench.run("--closed", *words) == status


def test_a_value_that_is_not_offered_is_refused_with_those_that_are(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench.datagen("--params", "dataset.compression=nosuch", "dataset.format=npz") == Status.CONFIGURATION
    message = capfd.readouterr().err
    assert all(word in message for word in ("'nosuch'", "none, snappy, gzip, zstd, lz4", "'npz'", "parquet"))
    assert not bench.data.exists()


IMPATIENT = "from dlio_benchmark.mlpstorage import cli, processes; processes._GRACE_S = 0.5; cli.console()"


def test_sigterm_ends_the_engine_and_all_below_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_WAIT", "1")
    front_end = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, *bench.words("datagen")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with front_end, front_end.stdout or open(os.devnull, "rb") as output:
        while b"[OUTPUT]" not in output.readline():
            assert front_end.poll() is None
        note = bench.leaves("datagen")[0] / "waiting"
        while not (note.exists() and note.read_text()):
            assert front_end.poll() is None
        front_end.send_signal(signal.SIGTERM)
        output.read()
        assert front_end.wait(timeout=20) == Status.INTERRUPTED
    assert not runs(note.read_text())
    content = bench.metadata("datagen")
    assert (content["exit_status"], "SIGTERM" in content["failure"]) == (Status.INTERRUPTED, True)
