"""What follows from DLIO's attributes: sizes, steps, samples of a rank, and what the environment fills in."""

from __future__ import annotations

import ast
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlio_benchmark import session
from dlio_benchmark.common.enumerations import (
    CheckpointMechanismType,
    FrameworkType,
    Shuffle,
    StorageType,
)
from dlio_benchmark.errors import ConfigError
from dlio_benchmark.utils import config as module
from dlio_benchmark.utils.config import (
    ConfigArguments,
    VirtualIndexMap,
    _apply_env_overrides,
)
from dlio_benchmark.utils.utility import DLIOMPI

few = settings(max_examples=8, deadline=None)


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_session", session.Session())
    for name in [name for name in os.environ if name.startswith(("DLIO_", "AWS_"))]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("changes", "mechanism"),
    [
        ({"framework": FrameworkType.TENSORFLOW}, CheckpointMechanismType.TF_SAVE),
        ({"framework": FrameworkType.PYTORCH}, CheckpointMechanismType.PT_SAVE),
        ({"checkpoint_mechanism_classname": "mine.Class"}, CheckpointMechanismType.CUSTOM),
        (
            {
                "framework": FrameworkType.PYTORCH,
                "storage_type": StorageType.S3,
                "storage_options": {"storage_library": "minio"},
            },
            CheckpointMechanismType.PT_OBJ_SAVE,
        ),
    ],
)
def test_the_checkpoint_mechanism_follows_from_framework_and_storage(
    changes: dict[str, Any], mechanism: CheckpointMechanismType
) -> None:
    args = ConfigArguments()
    for name, value in changes.items():
        setattr(args, name, value)
    args.derive_configurations([], [])
    assert args.checkpoint_mechanism is mechanism


def test_an_object_store_needs_its_library() -> None:
    args = ConfigArguments()
    args.framework, args.storage_type, args.storage_options = FrameworkType.PYTORCH, StorageType.S3, {}
    with pytest.raises(ConfigError, match="storage_library"):
        args.derive_configurations([], [])


def test_sizes_steps_and_threads_follow_from_the_attributes() -> None:
    args = ConfigArguments()
    args.num_samples_per_file, args.batch_size, args.record_length = 4, 2, 256
    args.derive_configurations([f"f{n}" for n in range(4)], [])
    assert (args.dimension, args.training_steps, args.total_samples_train, args.eval_steps) == (16, 8, 16, 0)
    assert args.train_sample_index_sum == sum(range(16))
    assert args.read_threads >= 1
    assert args.write_threads >= 1
    args.record_dims, args.record_element_type = [3, 5], "float32"
    args.derive_configurations()
    assert (args.record_length, args.dimension, args.num_files_train) == (60, [3, 5], 4)
    assert args.record_element_dtype == np.float32


def test_only_generating_and_only_checkpointing_are_told_from_the_phases() -> None:
    args = ConfigArguments()
    args.generate_data, args.do_train = True, False
    args.derive_configurations()
    assert (args.generate_only, args.checkpoint_only) == (True, False)
    args.do_checkpoint = True
    args.derive_configurations()
    assert (args.generate_only, args.checkpoint_only) == (False, True)


@given(
    files=st.integers(1, 6),
    rows=st.integers(1, 9),
    ranks=st.integers(1, 4),
    threads=st.integers(0, 4),
    shuffles=st.tuples(st.sampled_from(Shuffle), st.sampled_from(Shuffle)),
)
def test_the_samples_of_all_ranks_are_disjoint_and_stand_in_their_files(
    files: int, rows: int, ranks: int, threads: int, shuffles: tuple[Shuffle, Shuffle]
) -> None:
    args = ConfigArguments()
    args.comm_size, args.read_threads, args.num_samples_per_file = ranks, threads, rows
    args.sample_shuffle, args.file_shuffle = shuffles
    paths, total = [f"file_{n}" for n in range(files)], files * rows
    seen: list[tuple[str, int]] = []
    for args.my_rank in range(ranks):
        found, summed = args.build_sample_map_iter(paths, total, 3)
        assert list(found) == list(range(max(1, threads)))
        entries = [entry for part in found.values() for entry in part]
        assert summed == sum(sample for sample, _, _ in entries)
        seen += [(path, row) for _, path, row in entries]
    every = {(os.path.abspath(path), row) for path in paths for row in range(rows)}
    assert len(seen) == len(set(seen)) == total // ranks * ranks
    assert set(seen) <= every


def test_the_global_index_holds_the_samples_of_the_rank() -> None:
    args = ConfigArguments()
    args.comm_size, args.my_rank, args.num_samples_per_file = 2, 1, 5
    index, summed = args.get_global_map_index(["a", "b"], 10, 0)
    assert sorted(index) == [5, 6, 7, 8, 9]
    assert (summed, index[7]) == (35, (os.path.abspath("b"), 2))


@given(rows=st.integers(1, 40), data=st.data(), seed=st.none() | st.integers(0, 2**32))
def test_an_index_map_finds_each_of_its_samples(rows: int, data: st.DataObject, seed: int | None) -> None:
    files = [f"/data/f{n}.parquet" for n in range(5)]
    first = data.draw(st.integers(0, 5 * rows - 1))
    last = data.draw(st.integers(first, 5 * rows - 1))
    index = VirtualIndexMap(files, rows, first, last, shuffle_seed=seed, storage_type=StorageType.LOCAL_FS)
    assert len(index) == last - first + 1
    assert sorted(index) == list(range(first, last + 1))
    assert dict(index.items()) == {n: (files[n // rows], n % rows) for n in range(first, last + 1)}
    assert first in index
    assert last + 1 not in index
    assert "x" not in index
    with pytest.raises(KeyError):
        index[last + 1]


def test_an_index_map_makes_local_paths_absolute_and_leaves_others() -> None:
    assert VirtualIndexMap(["a/b"], 2, 0, 1, None, StorageType.LOCAL_FS)[0][0] == os.path.abspath("a/b")
    assert VirtualIndexMap(["a/b"], 2, 0, 1, None, StorageType.S3)[0][0] == "a/b"
    assert repr(VirtualIndexMap(["a", "b"], 5, 0, 9)) == "VirtualIndexMap(10 samples of 2 files)"


def test_the_source_of_the_index_map_stands_alone() -> None:
    source = Path(module.__file__).read_text(encoding="utf-8")
    (found,) = [
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "VirtualIndexMap"
    ]
    text = "\n".join(source.split("\n")[found.lineno - 1 : found.end_lineno])
    scope: dict[str, Any] = {"np": np, "os": os, "StorageType": StorageType}
    exec(text, scope)
    assert scope["VirtualIndexMap"](["a"], 3, 0, 2)[2] == ("a", 2)


def test_the_environment_fills_storage_attributes_that_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    args = ConfigArguments()
    args.storage_root = args.storage_type = None
    args.storage_options = {"region": "mine"}
    monkeypatch.setenv("DLIO_STORAGE_LIBRARY", "minio")
    monkeypatch.setenv("AWS_REGION", "theirs")
    monkeypatch.setenv("DLIO_BUCKET", "bucket")
    _apply_env_overrides(args, {"DLIO_STORAGE_LIBRARY": "s3dlio", "DLIO_STORAGE_TYPE": "s3"})
    assert args.storage_options == {"region": "mine", "storage_library": "minio"}
    assert (args.storage_root, args.storage_type) == ("bucket", StorageType.S3)
    monkeypatch.setenv("DLIO_BUCKET", "other")
    _apply_env_overrides(args, {})
    assert args.storage_root == "bucket"


def test_an_environment_without_settings_changes_nothing() -> None:
    args = ConfigArguments()
    _apply_env_overrides(args, {})
    assert args.storage_options is None


def test_threads_follow_from_the_ranks_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    mpi = DLIOMPI.get_instance()

    def three() -> int:
        asked.append(3)
        return 3

    monkeypatch.setattr(mpi, "ranks_per_node", three)
    ConfigArguments().derive_configurations()
    assert asked == [3]


def test_a_spread_of_sizes_is_shown_per_dimension() -> None:
    args = ConfigArguments()
    args.record_length, args.record_length_stdev = 10_000, 400
    args.derive_configurations()
    assert args.dimension_stdev == pytest.approx(400 / 2 / math.sqrt(10_000))
