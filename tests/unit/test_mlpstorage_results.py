"""Leaves, strict JSON, what this host is, and samples of it."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.errors import CannotCreateError
from dlio_benchmark.mlpstorage.cluster import local_host, system_info
from dlio_benchmark.mlpstorage.results import claim_leaf, strict, write_json
from dlio_benchmark.mlpstorage.sizing import memory_bytes
from dlio_benchmark.mlpstorage.timeseries import Timeseries

NOW = datetime(2026, 1, 2, 3, 4, 59, 600, tzinfo=UTC)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def refuse(constant: str) -> None:
    pytest.fail(f"{constant} is not JSON")


@given(value=values)
def test_what_is_written_is_strict_json(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, {"value": value})
    assert json.loads(path.read_text(), parse_constant=refuse) == {"value": strict(value)}
    assert [entry.name for entry in path.parent.iterdir()] == ["value.json"]


def test_leaves_claimed_in_one_second_are_different(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        leaves = list(pool.map(lambda _: claim_leaf(tmp_path, "unet3d", "run", now=NOW), range(12)))
    names = sorted(leaf.path.name for leaf in leaves)
    assert len(set(names)) == 12
    assert names[:2] == ["20260102_030459", "20260102_030500"]
    assert all(leaf.path.parent == tmp_path / "training" / "unet3d" / "run" for leaf in leaves)
    assert all(leaf.stamp == leaf.path.name for leaf in leaves)


def test_a_leaf_that_cannot_be_created_says_where(tmp_path: Path) -> None:
    (tmp_path / "training").write_text("a file")
    with pytest.raises(CannotCreateError, match="training"):
        claim_leaf(tmp_path, "unet3d", "run", now=NOW)


def test_this_host_is_described_by_the_kernel() -> None:
    host = local_host()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert host["memory"]["total"] == pages
    assert host["cpu"]["num_logical_cores"] == os.cpu_count()
    assert host["hostname"] == os.uname().nodename
    assert host["system"]["kernel_version"] == os.uname().release


def test_declared_memory_counts_once_per_host() -> None:
    info = system_info(2, gib_per_host=1.5)
    assert (info["total_memory_bytes"], info["num_hosts"]) == (3 * 2**30, 2)
    assert system_info(1)["total_memory_bytes"] == local_host()["memory"]["total"]


@given(gib=st.integers(1, 10**6).map(lambda hundredths: hundredths / 100), hosts=st.integers(1, 5000))
def test_the_memory_of_all_hosts_is_the_one_that_the_rules_count(gib: float, hosts: int) -> None:
    assert system_info(hosts, gib_per_host=gib)["total_memory_bytes"] == memory_bytes(gib, hosts)


def test_samples_are_taken_at_both_ends_and_the_newest_are_kept() -> None:
    series = Timeseries(interval_s=3600, most=2)
    with series.sampling():
        series.sample()
    (samples,) = series.document()["samples_by_host"].values()
    assert len(samples) == series.document()["num_samples"] == 2
    assert samples[0]["timestamp"] <= samples[1]["timestamp"]
    assert {"meminfo", "loadavg"} <= samples[0].keys()
