"""Overrides reach the engine as typed, and their values are those that Hydra reads."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.errors import ConfigError, UsageError
from dlio_benchmark.mlpstorage.parameters import Override, flatten, literal, merged, parse_params

names = st.from_regex(r"[a-z_]{1,6}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
numbers = st.integers() | st.floats(allow_nan=False)
scalars = st.none() | st.booleans() | numbers | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)

keys = st.lists(names, min_size=1, max_size=3).map(".".join)


def as_hydra_reads(argument: str) -> tuple[str, Any]:
    override = OverridesParser.create().parse_override(argument)
    assert override.is_force_add()
    value = override.value()
    return override.key_or_group, value.text if isinstance(value, QuotedString) else value


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.text if isinstance(value, QuotedString) else value


@given(value=values)
def test_hydra_reads_back_the_value_that_a_literal_was_made_of(value: Any) -> None:
    _, read = as_hydra_reads(f"++k={literal(value)}")
    assert plain(read) == value
    assert type(plain(read)) is type(value)


@given(key=keys, text=words)
def test_any_text_given_for_a_key_becomes_one_value_or_is_refused(key: str, text: str) -> None:
    try:
        (override,) = parse_params([f"{key}={text}"])
    except ConfigError:
        assert text.lstrip()[0] in "[{'\""
        return
    read_key, read = as_hydra_reads(override.argument)
    assert (read_key, plain(read)) == (f"workload.{key}", plain(override.value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ("zstd", "zstd"),
        ("", ""),
        ("/data/a b/c", "/data/a b/c"),
        ("{mean:1,stdev:2}", {"mean": 1, "stdev": 2}),
        (
            "[{name:a,dtype:float32,size:16},{name:b,dtype:string}]",
            [{"name": "a", "dtype": "float32", "size": 16}, {"name": "b", "dtype": "string"}],
        ),
    ],
)
def test_values_are_typed_as_hydra_types_them_and_passed_on_unchanged(text: str, value: Any) -> None:
    (override,) = parse_params([f"dataset.x={text}"])
    assert override.value == value
    assert type(override.value) is type(value)
    assert override.argument == f"++workload.dataset.x={text}"


@pytest.mark.parametrize(("token", "value"), [("a=b=c", "b=c"), ("a=x,y", "x,y"), ("a=f(x)", "f(x)")])
def test_a_token_is_split_at_its_first_equals_sign_and_stays_one_value(token: str, value: str) -> None:
    (override,) = parse_params([token])
    assert (override.key, override.value) == ("a", value)
    assert as_hydra_reads(override.argument) == ("workload.a", value)


def test_every_malformed_token_is_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_params(["good=1", "no-equals", "=value", "bad key=1"])
    assert all(token in str(caught.value) for token in ("no-equals", "=value", "bad key=1"))
    assert "good" not in str(caught.value)


def test_brackets_that_do_not_close_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.parquet\.columns"):
        parse_params(["dataset.parquet.columns=[{name:a,dtype:float32"])


def test_a_secret_never_stands_in_a_message() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_params(["storage.storage_options.secret_access_key=[hunter2"])
    assert "hunter2" not in str(caught.value)


def test_overrides_fold_into_a_tree_without_changing_it() -> None:
    tree = {"dataset": {"format": "npz", "parquet": {"row_group_size": 4}}}
    overrides = [Override.of("dataset.format", "parquet"), Override.of("reader.batch_size", 2)]
    assert merged(tree, overrides) == {
        "dataset": {"format": "parquet", "parquet": {"row_group_size": 4}},
        "reader": {"batch_size": 2},
    }
    assert tree["dataset"]["format"] == "npz"
    assert flatten(tree) == {"dataset.format": "npz", "dataset.parquet.row_group_size": 4}
