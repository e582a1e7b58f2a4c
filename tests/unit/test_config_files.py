"""Composing: whose files win, what is kept of it, and what is refused before anything is composed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from dlio_benchmark.config.files import MOST_BYTES, compose_workload, write_record
from dlio_benchmark.config.redact import HIDDEN, Redactor
from dlio_benchmark.errors import CannotCreateError, ConfigError


def folder(tmp_path: Path, **texts: str) -> str:
    (tmp_path / "workload").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (tmp_path / "workload" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return str(tmp_path)


def refused(overrides: list[str], config_dir: str | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        compose_workload(overrides, config_dir)
    return str(error.value)


def test_a_shipped_workload_is_composed_with_overrides() -> None:
    composed = compose_workload(["workload=default", "++workload.dataset.seed=7", "hydra.run.dir=here"])
    assert composed.workload["dataset"]["seed"] == 7
    assert composed.typed == {"dataset.seed"}
    assert composed.run_dir == "here"
    assert composed.subfolder == ".hydra"


def test_a_folder_of_the_user_wins_and_ours_stay_there(tmp_path: Path) -> None:
    own = folder(tmp_path, default="framework: pytorch\nmodel: {name: mine}\n", new="model: {name: new}\n")
    assert compose_workload(["workload=default"], own).workload["model"]["name"] == "mine"
    assert compose_workload(["workload=new"], own).workload["model"]["name"] == "new"
    assert "flux" in compose_workload(["workload=flux_a100"], own).workload["model"]["name"]


def test_the_run_folder_is_named_after_the_model_or_the_default_name(tmp_path: Path) -> None:
    own = folder(tmp_path, named="model: {name: mine}\n", bare="framework: pytorch\n")
    assert compose_workload(["workload=named"], own).run_dir.startswith("./hydra_log/mine/")
    assert compose_workload(["workload=bare"], own).run_dir.startswith("./hydra_log/default/")


def test_a_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "configs", new="model: {name: new}\n")
    monkeypatch.chdir(tmp_path)
    assert compose_workload(["workload=new"], "configs").workload["model"]["name"] == "new"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no such folder" in refused(["workload=default"], str(tmp_path / "nowhere"))


def test_the_record_is_not_resolved_and_has_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PLACE", "resolved-place")
    text = "model: {name: '${oc.env:SOME_PLACE}'}\nstorage: {storage_options: {secret_key: abc, url: 's3://u:p@h'}}\n"
    composed = compose_workload(
        ["workload=new", "++workload.storage.storage_options.password=pqr"], folder(tmp_path / "c", new=text)
    )
    assert composed.workload["model"]["name"] == "resolved-place"
    write_record(composed.redacted(Redactor()), str(tmp_path))
    kept = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / ".hydra").iterdir()}
    assert set(kept) == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert "resolved-place" not in "".join(kept.values())
    assert not any(secret in "".join(kept.values()) for secret in ("abc", "u:p", "pqr"))
    options = yaml.safe_load(kept["config.yaml"])["workload"]["storage"]["storage_options"]
    assert options == {"secret_key": HIDDEN, "url": f"s3://{HIDDEN}@h", "password": HIDDEN}
    assert yaml.safe_load(kept["overrides.yaml"])[-1] == f"++workload.storage.storage_options.password={HIDDEN}"


def test_no_record_is_written_where_none_is_wanted(tmp_path: Path) -> None:
    write_record(compose_workload(["workload=default", "hydra.output_subdir=null"]), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_written_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateError, match="file"):
        write_record(compose_workload(["workload=default"]), str(tmp_path / "file"))


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        f"x: {'[' * 60}{']' * 60}\n",
        f"x: {'{a: ' * 5000}1{'}' * 5000}\n",
        f"x: '{'a' * MOST_BYTES}'\n",
        "&a x: *a\ny: &b [*b]\n" + "z: [" + "*b, " * 3000 + "]",
        "hydra: {searchpath: ['pkg://json']}\n",
    ],
)
def test_files_beyond_the_limits_are_refused_at_once(tmp_path: Path, text: str) -> None:
    begin = time.process_time()
    assert (
        "limits" in (said := refused(["workload=new"], folder(tmp_path, new=text)))
        or "at most" in said
        or "Hydra" in said
    )
    assert "new.yaml" in said
    assert time.process_time() - begin < 5


def test_limits_hold_for_every_file_that_a_list_of_defaults_may_name(tmp_path: Path) -> None:
    own = folder(tmp_path, new="defaults: [/deep/er/bomb]\n")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "bomb.yaml").write_text(BOMB, encoding="utf-8")
    assert "bomb.yaml" in refused(["workload=new"], own)


@pytest.mark.parametrize(
    "override",
    [
        "hydra.searchpath=[pkg://json]",
        "+hydra.searchpath=[file:///tmp]",
        "hydra.output_subdir=../outside",
        "hydra.output_subdir=/outside",
        "++workload.x=" + "[" * 60 + "]" * 60,
        "++workload.x=" + "a" * (MOST_BYTES + 1),
        "++workload.x=[",
        "workload=nosuch",
        "++workload=1",
        "++workload.model.name=${nowhere}",
        "++workload.model.name=${oc.env:NO_SUCH_VARIABLE_HERE}",
    ],
)
def test_overrides_that_cannot_be_taken_are_refused(override: str) -> None:
    said = refused(["workload=default", override])
    assert "Traceback" not in said
    assert len(said) < 2000


@pytest.mark.parametrize("text", ["\tx: 1", "x: [", "x: *nowhere", "\x00"])
def test_a_broken_file_is_refused_if_it_is_asked_for_and_only_then(tmp_path: Path, text: str) -> None:
    own = folder(tmp_path, broken=text)
    refused(["workload=broken"], own)
    assert compose_workload(["workload=default"], own).workload["framework"] == "pytorch"


def test_tags_of_python_make_no_objects(tmp_path: Path) -> None:
    own = folder(tmp_path, new="x: !!python/object/apply:os.getcwd []\n")
    assert "getcwd" in refused(["workload=new"], own)


def test_ranks_that_are_given_a_configuration_do_not_load_what_composes_it() -> None:
    code = "import pickle, sys; pickle.load(sys.stdin.buffer); print('hydra' in sys.modules, 'yaml' in sys.modules)"
    given = pickle.dumps(compose_workload(["workload=default"]))
    done = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=True)
    assert done.stdout.split() == [b"False", b"False"]
