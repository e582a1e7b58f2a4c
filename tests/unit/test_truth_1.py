"""The four fields of the Parquet section exist, and each changes what a run does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlio_benchmark.config.files import compose_workload
from dlio_benchmark.utils.config import ConfigArguments, LoadConfig
from verification.contracts.job import FIELDS, Setting, run_job, the_field_has_its_effect, tree_of
from verification.evidence import Recorder
from verification.saboteurs.configs import RUNS

pytestmark = pytest.mark.claim("truth-1")
IGNORING = {
    "parquet_columns": "parses-columns-but-ignores-them",
    "parquet_row_group_size": "parses-row-group-size-but-ignores-it",
    "parquet_read_mode": "parses-read-mode-but-ignores-it",
    "parquet_partition_by": "parses-partition-by-but-ignores-it",
}
KINDS = {
    "parquet_columns": (list, []),
    "parquet_row_group_size": (int, 1024),
    "parquet_read_mode": (str, "default"),
    "parquet_partition_by": (type(None), None),
}


def text_of(value: Any) -> str:
    """Return a value in the grammar of an override."""
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{text_of(one)}" for name, one in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def from_file(key: str, value: Any, folder: Path) -> Mapping[str, Any]:
    (folder / "workload").mkdir(parents=True)
    tree = tree_of(folder, parquet={key: value})
    (folder / "workload" / "mine.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return compose_workload(["workload=mine"], str(folder)).workload


def from_command_line(key: str, value: Any, folder: Path) -> Mapping[str, Any]:
    (folder / "workload").mkdir(parents=True)
    (folder / "workload" / "mine.yaml").write_text(yaml.safe_dump(tree_of(folder)), encoding="utf-8")
    return compose_workload(
        ["workload=mine", f"++workload.dataset.parquet.{key}={text_of(value)}"], str(folder)
    ).workload


GIVEN = {"file": from_file, "command line": from_command_line}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("name", FIELDS)
def test_each_field_changes_what_a_run_does(evidence: Recorder, tmp_path: Path, name: str, given: str) -> None:
    field = FIELDS[name]
    for number, value in enumerate(field.values):
        folder = tmp_path / str(number)
        tree = GIVEN[given](field.key, value, folder)
        the_field_has_its_effect(evidence, run_job, Setting(name, value, tree), folder)
    evidence.cover("field", name)
    evidence.cover("given", given)
    folder = tmp_path / "ignored"
    tree = {**tree, "dataset": {**tree["dataset"], "data_folder": str(folder / "data")}}  # of the second value
    with evidence.saboteur(IGNORING[name]):
        the_field_has_its_effect(evidence, RUNS[IGNORING[name]], Setting(name, field.values[1], tree), folder)


def follows(evidence: Recorder, name: str, section: Mapping[str, Any]) -> None:
    """Hold that an argument has its default without the section, and another value with it."""
    kind, default = KINDS[name]
    arguments = ConfigArguments()
    found = getattr(arguments, name)
    evidence.equal(str(found), str(default), what=f"default of {name}")
    evidence.equal(isinstance(str(found) if kind is str else found, kind), True, what=f"kind of {name}")
    LoadConfig(arguments, {"dataset": {"parquet": section}})
    evidence.equal(str(getattr(arguments, name)) != str(default), True, what=f"{name} follows the section")


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_is_an_argument_of_its_kind_that_follows_the_section(evidence: Recorder, name: str) -> None:
    section = {"columns": FIELDS["parquet_columns"].values[1], FIELDS[name].key: FIELDS[name].values[1]}
    follows(evidence, name, section)
    with evidence.saboteur(IGNORING[name]):
        follows(evidence, name, {key: value for key, value in section.items() if key != FIELDS[name].key})
