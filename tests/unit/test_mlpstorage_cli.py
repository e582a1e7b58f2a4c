"""The command line: help, options of each command, the configuration file, the history."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark import __version__
from dlio_benchmark.mlpstorage import grammar, history
from dlio_benchmark.mlpstorage.cli import main
from dlio_benchmark.mlpstorage.request import decode, parse
from dlio_benchmark.mlpstorage.status import Status
from dlio_benchmark.mlpstorage.training import datagen_words

RUN = "training run --model unet3d --num-accelerators 1 --accelerator-type h100 --client-host-memory-in-gb 64"
DATAGEN = "training datagen --model unet3d --num-processes 2"
DATASIZE = "training datasize --model unet3d --max-accelerators 1 --accelerator-type h100 --client-host-memory-in-gb 64"
CONFIGVIEW = "training configview --model unet3d --num-accelerators 1 --accelerator-type h100"
TRAINING = {"run": RUN, "datagen": DATAGEN, "datasize": DATASIZE, "configview": CONFIGVIEW}
HEAVY = {"torch", "tensorflow", "mpi4py", "hydra", "omegaconf", "pyarrow", "numpy", "rich", "yaml"}

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
params = st.lists(st.tuples(st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5})?", fullmatch=True), words), max_size=4)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLPSTORAGE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("argv", [[], ["training"], ["reports"], ["history"]])
def test_an_unfinished_command_prints_help_to_stderr_and_fails(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == Status.GENERAL
    shown = capsys.readouterr()
    assert shown.err.startswith("usage: mlpstorage")
    assert shown.out == ""


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"mlpstorage {__version__}\n")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from dlio_benchmark.mlpstorage.cli import main\n"
        "try: main(['training', 'run', '--help'])\n"
        "except SystemExit: pass\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"
    assert "--dataset-format" in ended.stdout


@pytest.mark.parametrize("command", TRAINING)
def test_every_training_command_takes_the_same_options(command: str) -> None:
    more = (
        "--hosts a:2,b:2 c:1 --data-dir D -rd R --param x=1 y=2 -p z=3 --dataset-format PARQUET --compression Zstd"
        " --exec-type mpi --mpi-bin mpiexec --mpi-params --foo=1 --mpi-params='--bar baz' --oversubscribe"
        " --allow-run-as-root --dlio-bin-path B --loops 2 --what-if --open -aip --debug --verbose --file"
        " --stream-log-level DEBUG --skip-validation --verify-lockfile L"
    )
    request = decode(parse([*shlex.split(TRAINING[command]), *shlex.split(more)]))
    assert [str(host) for host in request.hosts] == ["a:2", "b:2", "c:1"]
    assert [override.argument for override in request.overrides] == [
        "++workload.dataset.format=parquet",
        "++workload.dataset.compression=zstd",
        "++workload.x=1",
        "++workload.y=2",
        "++workload.z=3",
    ]
    assert request.launcher_arguments == ("--foo=1", "--bar", "baz")
    assert (request.args.what_if, request.args.closed, request.args.loops) == (True, False, 2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{DATAGEN} --compression nosuch", "zstd"),
        (f"{DATAGEN} --dataset-format npz", "parquet"),
        (f"{DATAGEN} --num-processes 0", "at least 1"),
        (f"{DATAGEN} --open --closed", "not allowed with"),
        (f"{DATAGEN} --nosuch", "unrecognized"),
        ("training run --model unet3d", "--num-accelerators"),
        (f"{RUN} --client-host-memory-in-gb nan", "above 0"),
    ],
)
def test_what_cannot_be_understood_ends_with_two(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line))
    assert ended.value.code == Status.ARGUMENTS
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{DATAGEN} --params novalue", "novalue"),
        (f"{DATAGEN} --hosts :4", ":4"),
        (f"{DATAGEN} --hosts a:0", "a:0"),
        (f'{DATAGEN} --mpi-params "\'"', "--mpi-params"),
        (f"{DATAGEN} --compression zstd --params dataset.compression=gzip", "contradicts"),
        ("training run -m resnet50 -na 1 -g mi355 -cm 1", "a100, h100"),
        (DATAGEN, "--data-dir"),
        (RUN, "--data-dir"),
    ],
)
def test_what_makes_no_sense_ends_with_two(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(line)) == Status.ARGUMENTS
    assert said in capsys.readouterr().err


def test_the_newer_order_of_words_means_the_same() -> None:
    newer = parse(shlex.split("training unet3d run file -na 1 -at h100 -cm 64 --params a=b"))
    older = parse(shlex.split(f"{RUN} --params a=b"))
    assert vars(newer) == vars(older)


@given(given_params=params)
def test_params_reach_the_request_in_order_and_unchanged(given_params: list[tuple[str, str]]) -> None:
    tokens = [f"{key}={text}" for key, text in given_params]
    args = parse([*shlex.split(DATAGEN), *(word for token in tokens for word in ("--params", token))])
    assert args.params == tokens


@given(
    files=st.integers(1, 10**9),
    given_params=params,
    codec=st.sampled_from([None, "none", "zstd"]),
    folder=st.from_regex(r"/[a-z '$;&|]{1,12}", fullmatch=True),
    hosts=st.lists(st.from_regex(r"[a-z][a-z0-9.]{0,8}(:[1-9])?", fullmatch=True), min_size=1, max_size=3),
)
def test_the_datagen_command_that_datasize_prints_parses_back(
    files: int, given_params: list[tuple[str, str]], codec: str | None, folder: str, hosts: list[str]
) -> None:
    line = [*shlex.split(DATASIZE), "--data-dir", folder, "--results-dir", f"{folder}/r", "--hosts", *hosts]
    for key, text in given_params:
        line += ["--params", f"{key}={text.replace('[', '')}"]
    asked = parse([*line, *(["--compression", codec] if codec else [])])
    try:
        request = decode(asked)
    except ValueError:
        return
    printed = shlex.split(shlex.join(datagen_words(request, files)))
    assert printed.pop(0) == "mlpstorage"
    read = decode(parse(printed))
    assert read.args.params[0] == f"dataset.num_files_train={files}"
    assert read.args.params[1:] == asked.params
    assert (read.model, read.hosts, read.processes) == (request.model, request.hosts, 1)
    for name in ("data_dir", "results_dir", "compression", "dataset_format"):
        assert getattr(read.args, name) == getattr(asked, name)


def write_config(folder: Path, content: Any) -> str:
    path = folder / "options.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_the_configuration_file_wins_over_the_command_line(home: Path) -> None:
    path = write_config(
        home,
        {
            "hosts": ["a", "b"],
            "num_processes": 5,
            "params": {"x": 1, "y": "z"},
            "oversubscribe": True,
            "what_if": False,
        },
    )
    args = parse([*shlex.split(DATAGEN), "--what-if", "--hosts", "c", "--config-file", path])
    assert (args.hosts, args.num_processes, args.params) == (["a", "b"], 5, ["x=1", "y=z"])
    assert (args.oversubscribe, args.what_if) == (True, False)


def test_the_configuration_file_may_hold_required_options_and_is_checked(home: Path) -> None:
    path = write_config(home, {"model": "unet3d", "num_processes": 3})
    assert parse(["training", "datagen", f"--config-file={path}"]).num_processes == 3
    with pytest.raises(SystemExit):
        parse(["training", "datagen", "-c", write_config(home, {"model": "nosuch", "num_processes": 3})])


def test_an_unknown_option_in_the_configuration_file_is_warned_about(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(home, {"nosuch": 1})
    assert parse([*shlex.split(DATAGEN), "-c", path]).model == "unet3d"
    assert "unknown option 'nosuch'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "status"), [(None, Status.NOT_FOUND), ("[", Status.CONFIGURATION), ("[1]", Status.CONFIGURATION)]
)
def test_a_configuration_file_that_is_none_is_refused(home: Path, content: str | None, status: Status) -> None:
    path = home / "options.yaml"
    if content is not None:
        path.write_text(content)
    assert main([*shlex.split(DATAGEN), "-c", str(path)]) == status


def test_commands_are_numbered_in_the_history_and_history_itself_is_not(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (CONFIGVIEW, f"{CONFIGVIEW} --params 'a=b c'"):
        assert main(shlex.split(line)) == Status.SUCCESS
    capsys.readouterr()
    assert main(["history", "show"]) == Status.SUCCESS
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["1", "2"]
    assert lines[1].endswith(f",mlpstorage {CONFIGVIEW} --params 'a=b c'")
    assert main(["history", "show", "--limit", "1"]) == Status.SUCCESS
    assert capsys.readouterr().out.splitlines() == lines[1:]
    assert main(["history", "show", "--id", "1"]) == Status.SUCCESS
    assert capsys.readouterr().out.splitlines() == lines[:1]
    assert len((home / history.FILE_NAME).read_text().splitlines()) == 2


def test_a_past_command_runs_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(CONFIGVIEW), "--params", "reader.batch_size=99"]) == Status.SUCCESS
    first = capsys.readouterr().out
    assert main(["history", "rerun", "1"]) == Status.SUCCESS
    assert capsys.readouterr().out == first


def test_an_unknown_past_command_ends_with_two() -> None:
    assert main(["history", "rerun", "7"]) == Status.ARGUMENTS
    assert main(["history", "show", "--id", "7"]) == Status.ARGUMENTS


def test_a_command_that_held_a_secret_is_not_run_again(home: Path) -> None:
    assert main([*shlex.split(CONFIGVIEW), "--params", "storage.password=hunter2"]) == Status.SUCCESS
    assert "hunter2" not in (home / history.FILE_NAME).read_text()
    assert main(["history", "rerun", "1"]) == Status.ARGUMENTS


def test_configview_prints_the_workload_with_the_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    line = f"{CONFIGVIEW} --data-dir /data --params reader.batch_size=3 storage.secret=hunter2"
    assert main(shlex.split(line)) == Status.SUCCESS
    text = capsys.readouterr().out
    tree = yaml.safe_load(text)
    assert tree["reader"]["batch_size"] == 3
    assert tree["dataset"]["data_folder"] == "/data/unet3d"
    assert tree["train"]["computation_time"] == 0.323
    assert "hunter2" not in text


def test_datasize_prints_the_worked_example_and_leaves_metadata(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(DATASIZE), "--results-dir", str(home / "results")]) == Status.SUCCESS
    text = capsys.readouterr().out
    for said in ("500 steps", "training files: 3500", "subfolders: 0", "513102198000 bytes (477.86 GiB)"):
        assert said in text
    assert "'<INSERT_DATA_DIR>'" in text
    assert len(list((home / "results" / "training" / "unet3d" / "datasize").glob("*/*_metadata.json"))) == 1


def test_every_option_name_is_an_attribute_of_the_namespace() -> None:
    for command, line in TRAINING.items():
        assert grammar.option_names("training", command) <= vars(parse(shlex.split(line))).keys()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{DATAGEN} --compression nosuch", "argument --compression: invalid choice: 'nosuch'"),
        ("training datagen --model unet3d", "the following arguments are required: --num-processes/-np"),
        ("training nosuch", "invalid choice: 'nosuch'"),
    ],
)
def test_a_wrong_command_line_is_answered_in_one_line(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    told = capsys.readouterr().err
    assert (ended.value.code, told.count("\n")) == (Status.ARGUMENTS, 1)
    assert said in told
    assert told.endswith(" --help\n")


@pytest.mark.parametrize("program", ["training", "reports", "history"])
def test_help_of_a_command_shows_the_options_that_it_heeds(program: str) -> None:
    _, programs = grammar.parsers()
    leaves = programs[program]._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    for leaf in leaves.values():  # type: ignore[union-attr]
        text = leaf.format_help()
        assert "--results-dir" in text
        assert ("--loops" in text) == ("--closed" in text) == (program == "training")
