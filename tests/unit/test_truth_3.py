"""Loading turns the nested Parquet section into the flat fields, in whatever form it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlio_benchmark.config.files import compose_workload
from dlio_benchmark.utils.config import ConfigArguments, LoadConfig
from verification.contracts.job import Load, the_section_arrives
from verification.evidence import Recorder
from verification.saboteurs.configs import LOADS

pytestmark = pytest.mark.claim("truth-3")
Section = Mapping[str, Any]

columns = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[a-z]{1,6}", fullmatch=True),
            "dtype": st.sampled_from(["float32", "int64", "string"]),
        },
        optional={"size": st.integers(1, 9), "read": st.booleans()},
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda column: str(column["name"]),
)
sections = st.builds(
    lambda chosen, size, mode, split: {
        "columns": [*chosen, {"name": "part_key", "dtype": "string"}, {"name": "always_read", "dtype": "int64"}],
        "row_group_size": size,
        "read_mode": mode,
        "partition_by": "part_key" if split else None,
    },
    columns,
    st.integers(1, 10**6),
    st.sampled_from(["default", "row_group", "bytes"]),
    st.booleans(),
)


def nested(section: Section) -> Any:
    return {"dataset": {"format": "parquet", "parquet": dict(section)}}


def omegaconf(section: Section) -> Any:
    """Return an OmegaConf container whose columns' names and size refer to other keys."""
    names = {f"k{number}": column["name"] for number, column in enumerate(section["columns"])}
    refer = [{**column, "name": f"${{vars.k{number}}}"} for number, column in enumerate(section["columns"])]
    config = {**nested({**section, "columns": refer, "row_group_size": "${vars.size}"})}
    whole = OmegaConf.create({"vars": names | {"size": section["row_group_size"]}, "workload": config})
    return whole.workload


def override(section: Section) -> Any:
    def text(column: Mapping[str, Any]) -> str:
        return "{" + ",".join(f"{name}:{str(value).lower()}" for name, value in column.items()) + "}"

    words = {
        "columns": "[" + ",".join(map(text, section["columns"])) + "]",
        "row_group_size": section["row_group_size"],
        "read_mode": section["read_mode"],
        "partition_by": section["partition_by"] or "null",
    }
    given_words = [f"++workload.dataset.parquet.{key}={value}" for key, value in words.items()]
    return compose_workload(["workload=default", "++workload.dataset.format=parquet", *given_words]).workload


def arrives(evidence: Recorder, load: Load, config: Any, section: Section) -> None:
    the_section_arrives(evidence, load, ConfigArguments(), config, section)


@given(section=sections)
def test_nested_sections_arrive_flat(evidence: Recorder, section: Section) -> None:
    arrives(evidence, LoadConfig, nested(section), section)
    evidence.cover("form", "nested")


@given(section=sections)
def test_omegaconf_containers_arrive_plain_and_resolved(evidence: Recorder, section: Section) -> None:
    arrives(evidence, LoadConfig, omegaconf(section), section)
    evidence.cover("form", "omegaconf")


@settings(max_examples=10)
@given(section=sections)
def test_overrides_of_the_command_line_arrive_alike(evidence: Recorder, section: Section) -> None:
    arrives(evidence, LoadConfig, override(section), section)
    evidence.cover("form", "override")


@given(section=sections)
def test_flat_fields_and_the_nested_section_describe_the_same_workload(evidence: Recorder, section: Section) -> None:
    by_section, by_fields = ConfigArguments(), ConfigArguments()
    LoadConfig(by_section, nested(section))
    LoadConfig(by_fields, {"dataset": {"format": "parquet"}})
    for key, value in section.items():
        setattr(by_fields, f"parquet_{key}", value)
    evidence.equal(by_fields.workload(), by_section.workload(), what="workload by flat fields and by the section")
    evidence.cover("form", "flat")


SECTION: Section = {
    "columns": [{"name": "a", "dtype": "float32", "size": 2}, {"name": "b", "dtype": "string"}],
    "row_group_size": 77,
    "read_mode": "row_group",
    "partition_by": "b",
}


@pytest.mark.parametrize("form", [nested, omegaconf, override], ids=lambda form: form.__name__)
def test_a_load_that_loses_a_key_is_seen(evidence: Recorder, form: Any) -> None:
    arrives(evidence, LoadConfig, form(SECTION), SECTION)
    for name in ("drops-one-key-of-the-section", "cut-section-from-arguments"):
        with evidence.saboteur(name):
            arrives(evidence, LOADS[name], form(SECTION), SECTION)


@pytest.mark.parametrize("key", ["columns", "row_group_size"])
def test_a_load_that_leaves_references_is_seen(evidence: Recorder, key: str) -> None:
    plain: Any = OmegaConf.to_container(omegaconf(SECTION), resolve=False)
    config = nested({**SECTION, key: plain["dataset"]["parquet"][key]})
    whole = OmegaConf.create({"vars": {"k0": "a", "k1": "b", "size": 77}, "workload": config}).workload
    arrives(evidence, LoadConfig, whole, SECTION)
    with evidence.saboteur("leaves-interpolations-unresolved", by=(ValueError,)):
        arrives(evidence, LOADS["leaves-interpolations-unresolved"], whole, SECTION)
