"""Wrong ways to take a configuration are caught a second time: by another relation, oracle or probe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from forked_command import served
from hearing import opened_by
from omegaconf import OmegaConf

from dlio_benchmark.errors import ConfigError, Exit
from dlio_benchmark.utils.config import ConfigArguments, LoadConfig
from verification.contracts.config import PROBLEMS, Decode, good_tree, with_problem
from verification.contracts.dataset import changed, put_in_storage
from verification.contracts.forks import in_forks
from verification.contracts.job import FILES, ROWS, Load, Run, run_job, tree_of
from verification.evidence import Recorder
from verification.probes import snapshot
from verification.saboteurs.configs import COMMANDS, DECODES, LOADS, PUTS, RUNS, TAKES, compose, strict
from verification.targets import Target
from verification.targets.checks import MANIFEST, NUMBERS, ended_well, generated
from verification.targets.protocol import DATA, OUT, workload

SECTION: Mapping[str, Any] = {
    "columns": [{"name": "a", "dtype": "float32", "size": 2}, {"name": "b", "dtype": "string"}],
    "row_group_size": 77,
    "read_mode": "row_group",
    "partition_by": "b",
}
OTHERS: Mapping[str, Any] = {
    "columns": [{"name": "b", "dtype": "string"}],
    "row_group_size": 78,
    "read_mode": "default",
    "partition_by": "a",
}

INSIDE, OUTSIDE = "inside/file", "../outside"


# -- loading -----------------------------------------------------------------------------------------------------------
def loaded(load: Load, section: Any) -> dict[str, Any]:
    """Return all arguments after loading a configuration with this section."""
    arguments = ConfigArguments()
    load(arguments, section if OmegaConf.is_config(section) else {"dataset": {"format": "parquet", "parquet": section}})
    return dict(vars(arguments))


def the_order_of_keys_says_nothing(evidence: Recorder, load: Load) -> None:
    """Hold that the keys of the section mean the same in any order."""
    turned = [dict([*SECTION.items()][turn:] + [*SECTION.items()][:turn]) for turn in range(len(SECTION))]
    same = [loaded(load, section) == loaded(load, SECTION) for section in turned]
    evidence.equal(same, [True] * len(SECTION), what="arguments are the same for any order of the keys")


def every_key_changes_one_argument(evidence: Recorder, load: Load) -> None:
    """Hold that another value of a key changes the argument of its name and no other."""
    before = loaded(load, SECTION)
    for key, value in OTHERS.items():
        after = loaded(load, {**SECTION, key: value})
        differing = [name for name in before if before[name] != after[name]]
        evidence.equal(differing, [f"parquet_{key}"], what="arguments that a changed key changes")


def references_mean_what_they_refer_to(evidence: Recorder, load: Load) -> None:
    """Hold that a configuration with references gives the arguments of the same one without."""
    names = [{**column, "name": f"${{vars.{column['name']}}}"} for column in SECTION["columns"]]
    referring = {"format": "parquet", "parquet": {**SECTION, "columns": names}}
    whole = OmegaConf.create({"vars": {"a": "a", "b": "b"}, "workload": {"dataset": referring}})
    same = loaded(load, whole.workload) == loaded(load, SECTION)
    evidence.equal(same, True, what="arguments are the same with references and without")


@pytest.mark.claim("truth-3")
def test_the_order_of_keys_says_nothing(evidence: Recorder) -> None:
    the_order_of_keys_says_nothing(evidence, LoadConfig)
    with evidence.saboteur("drops-one-key-of-the-section"):
        the_order_of_keys_says_nothing(evidence, LOADS["drops-one-key-of-the-section"])


@pytest.mark.claim("truth-3", "link-4")
def test_every_key_changes_one_argument(evidence: Recorder) -> None:
    every_key_changes_one_argument(evidence, LoadConfig)
    with evidence.saboteur("cut-section-from-arguments"):
        every_key_changes_one_argument(evidence, LOADS["cut-section-from-arguments"])


@pytest.mark.claim("truth-3")
def test_references_mean_what_they_refer_to(evidence: Recorder) -> None:
    references_mean_what_they_refer_to(evidence, LoadConfig)
    with evidence.saboteur("leaves-interpolations-unresolved"):
        references_mean_what_they_refer_to(evidence, LOADS["leaves-interpolations-unresolved"])


# -- decoding ----------------------------------------------------------------------------------------------------------
def every_problem_is_counted(evidence: Recorder, decode: Decode) -> None:
    """Hold that a configuration with one problem more is refused for one reason more."""
    tree = good_tree()
    for count, problem in enumerate((PROBLEMS[0], PROBLEMS[2], PROBLEMS[3], PROBLEMS[4]), start=1):
        tree = with_problem(tree, problem)
        told = 0
        try:
            decode(tree)
        except ConfigError as error:
            told = len(error.issues)
        evidence.hold(told, what="reasons told for so many problems", at_least=count, at_most=count, unit="reasons")


@pytest.mark.claim("product-13")
def test_every_problem_is_counted(evidence: Recorder) -> None:
    every_problem_is_counted(evidence, strict)
    for name, decode in DECODES.items():
        with evidence.saboteur(name):
            every_problem_is_counted(evidence, decode)


# -- whole runs --------------------------------------------------------------------------------------------------------
def a_second_engine_finds_the_rows(evidence: Recorder, run: Run, folder: Path) -> None:
    """Hold the rows of a data set of the default column to what duckdb counts, with no list of files but a pattern."""
    tree = tree_of(folder, record_length_bytes=64)
    tree["dataset"]["parquet"] = {}
    ran = run(tree, folder)
    found = 0
    if ran.data.exists():
        with duckdb.connect() as engine:
            pattern = str(ran.data / "train" / "*.parquet")
            (found,) = engine.execute("SELECT count(data) FROM read_parquet(?)", [pattern]).fetchone() or (0,)
    evidence.hold(found, what="rows that duckdb counts", at_least=FILES * ROWS, at_most=FILES * ROWS, unit="rows")


@pytest.mark.claim("product-15")
def test_a_second_engine_finds_the_rows_of_an_empty_section(evidence: Recorder, tmp_path: Path) -> None:
    a_second_engine_finds_the_rows(evidence, run_job, tmp_path / "right")
    with evidence.saboteur("empty-section-writes-nothing"):
        a_second_engine_finds_the_rows(evidence, RUNS["empty-section-writes-nothing"], tmp_path / "wrong")


def the_command_takes_its_own_data_set_only(evidence: Recorder, command: Target, folder: Path) -> None:
    """Hold codes and results of commands, and every byte of a data set, when another one is wanted and when it is."""
    tree = workload(NUMBERS)
    generated(evidence, command, tree, folder)
    before = snapshot(folder / DATA)
    evidence.equal(MANIFEST in before, True, what="manifest of the data set")
    ended = command.train(changed(tree, "dataset.seed", 77), folder)
    evidence.equal(ended.code, int(Exit.DATA_INVALID), what="exit code of training on another data set")
    evidence.equal(_results(folder), [], what="results of training on another data set")
    after = snapshot(folder / DATA)
    touched = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    evidence.equal(touched, [], what="files that a run of another configuration changed")
    ended_well(evidence, command.train(tree, folder), "training on the data set that is wanted")
    evidence.equal(_results(folder), ["0_output.json", "summary.json"], what="results of a run that fits")


def _results(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / OUT).glob("*") if path.name in ("0_output.json", "summary.json"))


@pytest.mark.claim("product-11")
def test_the_command_takes_its_own_data_set_only(evidence: Recorder, tmp_path: Path) -> None:
    with served() as command:
        the_command_takes_its_own_data_set_only(evidence, command, tmp_path / "right")
        for name, wrong in COMMANDS.items():
            with evidence.saboteur(name):
                the_command_takes_its_own_data_set_only(evidence, wrong(command), tmp_path / name)


# -- attacks, as the interpreter sees them -----------------------------------------------------------------------------
def nothing_outside_is_opened(evidence: Recorder, inside: list[str], outside: list[str]) -> None:
    """Hold that no system call is made on a path outside the data folder."""
    evidence.equal(any("inside" in path for path in inside), True, what="the audit hears of files in the data folder")
    evidence.equal([path for path in outside if "outside" in path], [], what="paths outside that were opened")


@pytest.mark.claim("product-17")
def test_nothing_outside_is_opened(evidence: Recorder, tmp_path: Path) -> None:
    puts = {"right": put_in_storage, "wrong": PUTS["joins-paths-unchecked"]}
    roots = [tmp_path / name / "root" for name in puts]
    for root in roots:
        root.mkdir(parents=True)
    each = [(put, root, path) for put, root in zip(puts.values(), roots, strict=True) for path in (INSIDE, OUTSIDE)]
    opened = in_forks(opened_by, each)
    nothing_outside_is_opened(evidence, *opened[:2])
    with evidence.saboteur("joins-paths-unchecked"):
        nothing_outside_is_opened(evidence, *opened[2:])


def attacked(folder: Path) -> Path:
    """Write a configuration that hands a file to a class that it names; return its folder."""
    (folder / "workload").mkdir(parents=True)
    named = ["dataset:", "  format: parquet", "  data_folder:", "    _target_: pathlib.Path.touch"]
    text = "\n".join([*named, f"    _args_: ['{folder / 'canary'}']", ""])
    (folder / "workload" / "attack.yaml").write_text(text, encoding="utf-8")
    return folder


def nothing_named_is_touched(evidence: Recorder, seen: list[str]) -> None:
    """Hold that no system call is made on what a configuration hands to a class that it names."""
    evidence.equal(any("attack.yaml" in path for path in seen), True, what="the audit hears of the configuration")
    evidence.equal([path for path in seen if "canary" in path], [], what="files that a named class has opened")


@pytest.mark.claim("product-17")
def test_nothing_named_is_touched(evidence: Recorder, tmp_path: Path) -> None:
    takes = {"right": compose, "wrong": TAKES["instantiates-from-configuration"]}
    right, wrong = in_forks(opened_by, [(take, attacked(tmp_path / name)) for name, take in takes.items()])
    nothing_named_is_touched(evidence, right)
    with evidence.saboteur("instantiates-from-configuration"):
        nothing_named_is_touched(evidence, wrong)
