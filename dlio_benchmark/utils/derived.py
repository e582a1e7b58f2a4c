"""What DLIO's arguments imply: sizes, threads, steps, and which rank reads which sample.

These attributes are for plugins that look at them.  The benchmark itself follows an `EpochPlan`, and so do the numbers
here wherever the plan has them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlio_benchmark.common.enumerations import (
    CheckpointMechanismType,
    DataLoaderType,
    FrameworkType,
    Shuffle,
    StorageType,
)
from dlio_benchmark.config.model import Workload
from dlio_benchmark.cores import read_threads, write_threads
from dlio_benchmark.errors import ConfigError, Issue
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.plan.order import Order, mixed
from dlio_benchmark.plan.world import World
from dlio_benchmark.utils.mpi import DLIOMPI

PLACEHOLDERS: Mapping[str, Any] = {
    "generate_only": False,
    "checkpoint_only": False,
    "native_data_loader": False,
    "files_pre_sharded": False,
    "dimension": 1,
    "dimension_stdev": 0.0,
    "max_dimension": 1,
    "resized_image": None,
    "record_element_dtype": np.dtype("uint8"),
    "record_element_bytes": 1,
    "checkpoint_mechanism": CheckpointMechanismType.NONE,
    "checkpoint_mechanism_class": None,
    "data_loader_class": None,
    "reader_class": None,
    "logfile_path": None,
    "listing_threads": 4,
    "file_list_train": [],
    "file_list_eval": [],
    "file_map": None,
    "total_samples_train": 0,
    "total_samples_eval": 0,
    "training_steps": 0,
    "eval_steps": 0,
    "samples_per_thread": 0,
    "required_samples": 1,
    "train_sample_index_sum": 0,
    "eval_sample_index_sum": 0,
}


def derive(args: Any) -> None:
    """Set what follows from the attributes of ``args`` alone.

    Raises:
        ConfigError: if an object store is asked for without the library that speaks to it.
    """
    args.generate_only = args.generate_data and not args.do_train and not args.do_checkpoint
    args.checkpoint_only = args.do_checkpoint and not args.do_train
    args.native_data_loader = args.data_loader is DataLoaderType.NATIVE_DALI
    args.checkpoint_mechanism = _mechanism(args)
    _derive_sizes(args)
    ranks = DLIOMPI.get_instance().ranks_per_node()
    if args.read_threads == 1:
        args.read_threads = read_threads(Workload(), ranks)
    if args.write_threads == 1:
        args.write_threads = write_threads(Workload(), ranks)
    args.required_samples = args.comm_size * args.batch_size * max(1, args.read_threads)


def _derive_sizes(args: Any) -> None:
    args.record_element_dtype = np.dtype(args.record_element_type)
    args.record_element_bytes = args.record_element_dtype.itemsize
    if args.record_dims:
        args.record_length = math.prod(args.record_dims) * args.record_element_bytes
        args.dimension = list(args.record_dims)
        args.max_dimension = max(args.record_dims)
    else:
        args.dimension = math.isqrt(int(args.record_length))
        args.max_dimension = args.dimension
    args.dimension_stdev = args.record_length_stdev / 2 / math.sqrt(args.record_length)
    side = math.isqrt(int(args.record_length_resize)) or args.max_dimension
    args.resized_image = np.zeros(args.transformed_record_dims or (side, side), args.transformed_record_element_type)


def _mechanism(args: Any) -> CheckpointMechanismType:
    if args.checkpoint_mechanism_classname:
        return CheckpointMechanismType.CUSTOM
    if args.framework is not FrameworkType.PYTORCH:
        return CheckpointMechanismType.TF_SAVE
    if args.storage_type is not StorageType.S3:
        return CheckpointMechanismType.PT_SAVE
    if not (args.storage_options or {}).get("storage_library"):
        raise ConfigError([Issue("storage.storage_options.storage_library", "must be given for an object store")])
    return CheckpointMechanismType.PT_OBJ_SAVE


def derive_steps(args: Any, train: Sequence[str], valid: Sequence[str]) -> None:
    """Set what follows from the files, each of which has ``args.num_samples_per_file`` samples."""
    args.file_list_train, args.file_list_eval = list(train), list(valid)
    args.num_files_train, args.num_files_eval = len(train), len(valid)
    world = World(args.my_rank, args.comm_size)
    for files, batch, steps, samples in (
        (train, args.batch_size, "training_steps", "total_samples_train"),
        (valid, args.batch_size_eval, "eval_steps", "total_samples_eval"),
    ):
        plan = EpochPlan(np.full(len(files), args.num_samples_per_file, dtype=np.int64), batch, world)
        setattr(args, steps, len(plan))
        setattr(args, samples, plan.samples)
    args.samples_per_thread = args.total_samples_train // args.comm_size // max(1, args.read_threads)
    args.train_sample_index_sum = sum_below(args.total_samples_train)
    args.eval_sample_index_sum = sum_below(args.total_samples_eval)


def sum_below(count: int) -> int:
    """Return the sum of the numbers of ``range(count)``."""
    return count * (count - 1) // 2


def share(args: Any, total_samples: int, epoch: int) -> tuple[int, int, int | None]:
    """Return the first and the last sample of this rank, and the key of their order."""
    each = total_samples // args.comm_size
    return args.my_rank * each, (args.my_rank + 1) * each - 1, _key(args, args.sample_shuffle, epoch)


def sample_map(
    args: Any, files: Sequence[str], total_samples: int, epoch: int
) -> tuple[dict[int, list[tuple[int, str, int]]], int]:
    """Return, per reading thread, (sample, path, sample in the file) of this rank, and the sum of the samples."""
    first, last, key = share(args, total_samples, epoch)
    samples = Order(total_samples, key)[first : last + 1]
    order = Order(len(files), _key(args, args.file_shuffle, epoch))[:]
    paths = [os.path.abspath(path) if args.storage_type is StorageType.LOCAL_FS else path for path in files]
    rows = args.num_samples_per_file
    entries = [(int(sample), paths[order[sample // rows]], int(sample % rows)) for sample in samples]
    threads = max(1, args.read_threads)
    each = len(entries) // threads
    cuts = [thread * each for thread in range(threads)] + [len(entries)]
    return {thread: entries[cuts[thread] : cuts[thread + 1]] for thread in range(threads)}, int(samples.sum())


def _key(args: Any, shuffle: Shuffle, epoch: int) -> int | None:
    return None if shuffle is Shuffle.OFF else mixed(args.seed, epoch if args.seed_change_epoch else 0)
