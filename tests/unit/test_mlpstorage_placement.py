"""Where ranks go, and the line that launches the engine there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.mlpstorage.launching import ENGINE, engine_words, find_engine, find_launcher, sought_launcher
from dlio_benchmark.mlpstorage.parameters import Override
from dlio_benchmark.mlpstorage.placement import Host, parse_hosts, place
from dlio_benchmark.mlpstorage.status import LaunchError

names = st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True)
hosts = st.builds(Host, names, st.none() | st.integers(1, 100))
folders = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=12)


@given(given_hosts=st.lists(hosts, min_size=1, max_size=6), separator=st.sampled_from([",", " ", ", "]))
def test_hosts_parse_back_from_any_way_to_write_them(given_hosts: list[Host], separator: str) -> None:
    texts = [str(host) for host in given_hosts]
    assert parse_hosts(texts) == parse_hosts([separator.join(texts)]) == tuple(given_hosts)


@given(given_names=st.lists(names, min_size=1, max_size=8), ranks=st.integers(1, 100))
def test_ranks_spread_evenly_and_the_first_hosts_get_one_more(given_names: list[str], ranks: int) -> None:
    placement = place([Host(name) for name in given_names], ranks)
    counts = [count for _, count in placement]
    assert sum(counts) == ranks
    assert counts == sorted(counts, reverse=True)
    assert counts[0] - counts[-1] <= 1
    assert [name for name, _ in placement] == given_names[: len(placement)]
    assert len(placement) == min(ranks, len(given_names))


def test_slots_are_kept_and_must_suffice() -> None:
    assert place([Host("a", 3), Host("b")], 4) == (("a", 3), ("b", 1))
    with pytest.raises(LaunchError, match="4 slots, 5 ranks"):
        place([Host("a", 3), Host("b")], 5)


@given(leaf=folders, data=folders)
def test_folders_of_any_name_arrive_as_they_are(leaf: str, data: str) -> None:
    folder = Path("/") / leaf
    words = engine_words("dlio_benchmark", "w", folder, (), data_folder=Path("/") / data)
    overrides = OverridesParser.create().parse_overrides(words[1:-1])
    values = {override.key_or_group: override.value() for override in overrides}
    read = {key: value.text if isinstance(value, QuotedString) else value for key, value in values.items()}
    assert read["hydra.run.dir"] == str(folder)
    assert read["workload.dataset.data_folder"] == str(Path("/") / data)


def test_overrides_keep_their_order_and_the_data_folder_comes_last() -> None:
    given_overrides = (Override("b", "1", 1), Override("a", "2", 2), Override("b", "3", 3))
    words = engine_words("dlio_benchmark", "w", Path("/leaf"), given_overrides, data_folder=Path("/data"))
    assert words[1:-1] == [
        "workload=w",
        "++hydra.run.dir=/leaf",
        "++hydra.output_subdir=dlio_config",
        "++workload.b=1",
        "++workload.a=2",
        "++workload.b=3",
        "++workload.dataset.data_folder=/data",
    ]


def test_the_engine_of_a_given_folder_is_the_only_one_looked_for(tmp_path: Path) -> None:
    assert find_engine(str(tmp_path)) is None
    program = tmp_path / ENGINE
    program.touch()
    program.chmod(stat.S_IRWXU)
    assert find_engine(str(tmp_path)) == str(program)


def test_the_environment_names_the_launcher(tmp_path: Path) -> None:
    program = tmp_path / "other"
    program.touch()
    program.chmod(stat.S_IRWXU)
    assert find_launcher("mpirun", {"MPI_RUN_BIN": str(program)}) == str(program)
    assert find_launcher("mpiexec", {"MPI_EXEC_BIN": str(tmp_path / "absent")}) is None


def test_a_launcher_is_sought_where_the_environment_says() -> None:
    assert sought_launcher("mpirun", {}) == "'mpirun', beside this program or on PATH,"
    assert sought_launcher("mpiexec", {"MPI_EXEC_BIN": "/x/y"}) == "'/x/y', which MPI_EXEC_BIN names,"
