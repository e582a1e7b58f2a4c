"""The result files are whole or absent, and their sizes follow from the workload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.model import Dataset, ReaderSection, Workload
from dlio_benchmark.errors import CannotCreateError
from dlio_benchmark.metrics.events import Phase, RankRecord, StepTimes, Tally
from dlio_benchmark.report.host import GIB, this_host
from dlio_benchmark.report.results import Outcome, proof_of, summary_of, verdict_line
from dlio_benchmark.report.strict_json import write_json


def test_a_result_that_cannot_be_written_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(CannotCreateError, match=r"summary\.json: cannot write the result"):
        write_json(str(tmp_path), "summary.json", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(("files", "ranks", "samples"), [(1, 2, 100), (3, 2, 300), (4, 2, 400), (10, 1, 1000)])
def test_the_data_of_a_host_are_the_samples_of_its_ranks(files: int, ranks: int, samples: int) -> None:
    workload = Workload(dataset=Dataset(num_files_train=files, num_samples_per_file=100))
    records = [RankRecord(rank, "host", ()) for rank in range(ranks)]
    host = replace(this_host(), memory_gib=1e-9)
    outcome = Outcome(workload, records, [host], 10.0, loader="", decode="", launch="", started="", ended="")
    summary = summary_of(outcome)
    assert summary["data_size_per_host_GB"] == samples * 10.0 / GIB
    assert summary["potential_caching"] == [0]


def outcome_of(*shares: float | None, loader: str = "threads", reader: ReaderSection | None = None) -> Outcome:
    """Return the outcome of one step on ranks that found so much of the data in their page caches."""
    times, tally = StepTimes([1], [1], [1]), Tally(device_bytes=5)
    records = [
        RankRecord(rank, f"host {rank}", (Phase(1, DatasetType.TRAIN, 1, 1, 0, 0, 3, "", "", times, tally, share),))
        for rank, share in enumerate(shares)
    ]
    workload = Workload(reader=reader or ReaderSection())
    hosts = [this_host()] * len(shares)
    return Outcome(workload, records, hosts, 10.0, loader=loader, decode="", launch="", started="", ended="")


def epoch_of(outcome: Outcome) -> dict[str, Any]:
    (epoch,) = proof_of(outcome)["epochs"]
    assert isinstance(epoch, dict)
    return epoch


@pytest.mark.parametrize(
    ("shares", "word", "most"),
    [
        ((0.0, 0.0), "cold", 0.0),
        ((0.0, 1.0), "warm", 1.0),
        ((0.0, 0.4, 0.2), "partly warm", 0.4),
        ((0.0, None), "unknown", None),
        ((None, 1.0), "unknown", None),
        ((None,), "unknown", None),
    ],
)
def test_the_page_cache_is_that_of_the_warmest_host(
    shares: tuple[float | None, ...], word: str, most: float | None
) -> None:
    outcome = outcome_of(*shares)
    epoch = epoch_of(outcome)
    assert (epoch["cache_before"], epoch["cache_resident_share"]) == (word, most)
    assert verdict_line(outcome).endswith(f"cache before the first epoch: {word}")


def test_what_came_from_devices_is_not_known_where_other_processes_read() -> None:
    assert epoch_of(outcome_of(0.0, 0.0))["device_bytes"] == 10
    assert epoch_of(outcome_of(0.0, loader="pytorch"))["device_bytes"] is None
    assert epoch_of(outcome_of(0.0, loader="pytorch", reader=ReaderSection(read_threads=0)))["device_bytes"] == 5
