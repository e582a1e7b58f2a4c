"""Secrets are hidden by the name of their key and by value; everything else stays readable."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_experiments import found_by
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.config.redact import HIDDEN, Redactor, is_secret
from dlio_benchmark.errors import shown
from dlio_benchmark.report.log import Log

SECRET = "wJalrXUtnFEMI/K7MDENG"
ENVIRON = {"AWS_SECRET_ACCESS_KEY": SECRET, "HOME": "/home/somebody", "PWD": "/somewhere"}
names = st.text("abcdefghij", min_size=1, max_size=8)
secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=300).filter(
    lambda text: text.strip("+-0123456789.eE*") != "" and HIDDEN not in text
)


def test_planted_secrets_are_in_no_output() -> None:
    figures = found_by("planted")
    assert figures["secrets"] == 20
    assert figures["texts searched"] > 30


@pytest.mark.parametrize(
    "name",
    [
        *("secret_access_key", "AWS_SECRET_ACCESS_KEY", "accessKeyId", "storage.storage_options.password", "api-key"),
        *(
            "GITHUB_TOKEN",
            "db_pw",
            "SSH_PASS",
            "credentials",
            "authorization",
            "private_key",
            "azure.connection_string",
        ),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["seed", "PWD", "path", "author", "key", "format", "TOKENIZERS_PARALLELISM", "TOKEN_FILE", "file_prefix"]
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"cannot open {SECRET}/x",
        f"got {SECRET!r}",
        "s3://me:x/y@host/bucket",
        "https://token@host",
        "++workload.storage.storage_options.password=short",
        "password='two words'",
    ],
)
def test_messages_lose_their_secrets(text: str) -> None:
    said = Redactor.of(ENVIRON).text(text)
    assert HIDDEN in said
    assert not any(part in said for part in (SECRET, "me:x", "token@", "short", "two words"))


@pytest.mark.parametrize(
    "text",
    [
        "nothing here",
        "dataset.seed: must be at least 0, got -1",
        "s3://bucket/a@b.parquet",
        "/home/somebody/x",
        "a = b",
    ],
)
def test_other_messages_stay_as_they_are(text: str) -> None:
    assert Redactor.of(ENVIRON).text(text) == text


def test_words_and_numbers_are_no_secrets_wherever_they_stand() -> None:
    redactor = Redactor.of({"MAX_TOKENS": "4096", "USE_TOKEN": "true", "A_SECRET": "default"})
    assert redactor.secrets == ()


def test_a_tree_keeps_its_keys_and_its_references() -> None:
    tree = {
        "storage": {
            "password": "p",
            "access_key_id": 12,
            "token": None,
            "secret": "${oc.env:X}",
            "tokens": [1, {"a": 2}],
        },
        "list": ["x", 1, None, True, "++a.password=b"],
        "url": "ftp://u:p@h/x",
    }
    assert Redactor().tree(tree) == {
        "storage": {
            "password": HIDDEN,
            "access_key_id": HIDDEN,
            "token": None,
            "secret": "${oc.env:X}",
            "tokens": HIDDEN,
        },
        "list": ["x", 1, None, True, f"++a.password={HIDDEN}"],
        "url": f"ftp://{HIDDEN}@h/x",
    }


@given(secret=secrets, before=names, after=names)
def test_a_known_secret_survives_in_no_form_of_a_message(secret: str, before: str, after: str) -> None:
    redactor = Redactor.of({}, (), {"options": {"deep": [{"api_token": secret}]}})
    for text in (secret, f"{before} {secret} {after}", repr(secret), f"got {shown(secret)}"):
        said = redactor.text(text)
        assert secret not in said
        assert HIDDEN in said


@given(st.recursive(st.none() | st.integers() | names, lambda inner: st.lists(inner) | st.dictionaries(names, inner)))
def test_a_tree_without_secrets_is_the_same(tree: object) -> None:
    assert Redactor().tree(tree) == tree


def test_the_log_hides_what_it_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(redactor=Redactor.of(ENVIRON))
    log.open(str(tmp_path), "x.log")
    log.output(f"began with {SECRET}")
    log.close()
    assert SECRET not in (tmp_path / "x.log").read_text(encoding="utf-8") + capsys.readouterr().err
