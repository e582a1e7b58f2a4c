"""The result files are whole or absent, and their sizes follow from the workload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dlio_benchmark.config.model import Dataset, Workload
from dlio_benchmark.errors import CannotCreateError
from dlio_benchmark.metrics.events import RankRecord
from dlio_benchmark.report.host import GIB, this_host
from dlio_benchmark.report.results import Outcome, summary_of
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
