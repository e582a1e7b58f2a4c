"""A whole run on one rank: settle what is to be read, generate, train, and prove it."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dlio_benchmark.clock import Clock, RealClock
from dlio_benchmark.comm import Comm
from dlio_benchmark.common.enumerations import DatasetType, FormatType
from dlio_benchmark.config.columns import nominal_row_bytes
from dlio_benchmark.config.decode import Decoded, decode
from dlio_benchmark.config.model import Workload
from dlio_benchmark.config.shape import SPLIT_KEYS, with_defaults
from dlio_benchmark.cores import write_threads
from dlio_benchmark.data_generator.manifest import Manifest, load
from dlio_benchmark.data_loader.base import Loader
from dlio_benchmark.engine.agree import everywhere, on_root
from dlio_benchmark.engine.dataset import SplitFiles, check_shape, split_files
from dlio_benchmark.engine.generate import Check, Generated, Progress, data_root, generate, layouts
from dlio_benchmark.engine.parts import WRITERS, loader_of, reader_of
from dlio_benchmark.engine.train import Compute, Pass, run_pass
from dlio_benchmark.errors import ConfigError, DlioError, InvalidResultError, Issue
from dlio_benchmark.metrics.events import Phase
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.plan.generation import written_by
from dlio_benchmark.plan.order import Ids
from dlio_benchmark.plan.schedule import Scheduled, schedule, shuffling
from dlio_benchmark.plan.world import World
from dlio_benchmark.storage import cache
from dlio_benchmark.storage.local import LocalStorage

_SAMPLED_FILES = 64
_CLOSING_S = 2.0
Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """A valid workload, the storage of its data set, and the manifest that it will read by."""

    decoded: Decoded
    storage: LocalStorage
    manifest: Manifest | None

    @property
    def workload(self) -> Workload:
        """The workload, with what the configuration left open taken from the manifest."""
        return self.decoded.workload


def settle(tree: Tree, comm: Comm, *, strict: bool = False, typed: frozenset[str] = frozenset()) -> Settled:
    """Return what a run is about; what is not given of the data's shape and number comes from the data set's manifest.

    Raises:
        ConfigError: if the configuration is not valid.
        DataSetMismatchError: if a given key contradicts the data set.
    """
    try:
        decoded = decode(tree, strict=strict, typed=typed)
    except ConfigError:
        decoded = _decoded_with_manifest(tree, comm, strict=strict, typed=typed)
    storage = LocalStorage(data_root(tree))
    flow = decoded.workload.workflow
    if decoded.workload.dataset.format is FormatType.SYNTHETIC or flow.generate_data or not flow.train:
        return Settled(decoded, storage, None)
    manifest = on_root(comm, "manifest", lambda: load(storage))
    if manifest is None:
        return Settled(decoded, storage, None)
    decoded = decode(_completed(tree, manifest), strict=strict, typed=typed)
    on_root(comm, "data set against configuration", lambda: check_shape(manifest, decoded.workload, storage.root))
    return Settled(decoded, storage, manifest)


def _decoded_with_manifest(tree: Tree, comm: Comm, *, strict: bool, typed: frozenset[str]) -> Decoded:
    """Return what a tree describes that is not valid alone, but is with the keys of the data set that it names.

    Raises:
        ConfigError: if it is not valid with them either, or generates data, which must be described in full.
    """
    parts = [tree.get(name) for name in ("workflow", "storage", "dataset")] if isinstance(tree, Mapping) else []
    if parts and all(part is None or isinstance(part, Mapping) for part in parts):
        manifest = on_root(comm, "manifest", lambda: load(LocalStorage(data_root(tree))))
        if manifest is not None:
            decoded = decode(_completed(tree, manifest), strict=strict, typed=typed)
            if not decoded.workload.workflow.generate_data:
                return decoded
    return decode(tree, strict=strict, typed=typed)


def _completed(tree: Tree, manifest: Manifest) -> Tree:
    """Return a tree with what it leaves open as the data set has it.

    Files that a data set does not have, or of which the tree says that they are another number, are not counted: what
    is wrong then is said of the tree as it is given.
    """
    counts = {key: count for key, count in manifest.counts.items() if count}
    train = SPLIT_KEYS[DatasetType.TRAIN]
    if (tree.get("dataset") or {}).get("num_files_generated") not in (None, counts.get(train)):
        counts.pop(train, None)
    return with_defaults(tree, {**manifest.shape, **counts})


def generation(
    settled: Settled, comm: Comm, progress: Progress, *, on_bytes: Callable[[int], None], check: Check | None = None
) -> Generated:
    """Write the data set of a run; ``check`` sees the files that this rank wrote before the manifest names them."""
    workload = settled.workload
    threads = write_threads(workload, _ranks_here(comm))
    files = len(written_by(sum(layout.files for layout in layouts(workload.dataset)), comm.world))
    # Threads that write files beside each other also wait for the device beside each other.
    at_once = max(1, min(threads, files))
    of_a_file = threads if at_once == 1 else threads // at_once
    writer = WRITERS[workload.dataset.format](workload, 0 if of_a_file == 1 < at_once else of_a_file, on_bytes)
    return generate(
        workload, settled.storage, comm, writer=writer, progress=progress, check=check, files_at_once=at_once
    )


def _ranks_here(comm: Comm) -> int:
    hosts = comm.hosts()
    return hosts.count(hosts[comm.world.rank])


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears of the phases of a training run as they happen."""

    planned: Callable[[Scheduled, EpochPlan], None]
    step: Callable[[int], None]
    ended: Callable[[Phase], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training run did on this rank; ``doubts`` are what its data set cannot prove."""

    phases: tuple[Phase, ...]
    record_bytes: float
    loader: str
    decode: str
    notes: tuple[str, ...]
    doubts: tuple[str, ...]


def foresee(workload: Workload, comm: Comm) -> None:
    """Refuse a run that cannot train, before it generates data to train on.

    Raises:
        ConfigError: if its loader cannot be used, or it asks for more steps than there will be.
        InvalidResultError: if a pass will have no step.
    """
    reader = reader_of(workload, LocalStorage("."), RealClock())
    chosen = loader_of(workload, reader, clock=RealClock(), rank=comm.world.rank, ranks_on_host=_ranks_here(comm))
    chosen.loader.close()
    if not workload.workflow.generate_data:
        return
    dataset = workload.dataset
    files = {DatasetType.TRAIN: dataset.num_files_train, DatasetType.VALID: dataset.num_files_eval}
    for one in {one.split: one for one in schedule(workload)}.values():
        rows = np.full(files[one.split], dataset.num_samples_per_file, dtype=np.int64)
        _check(one, _planned(workload, one, rows, comm.world))


def _planned(workload: Workload, one: Scheduled, rows: Ids, world: World, chance: int = 0) -> EpochPlan:
    train, most = one.split is DatasetType.TRAIN, workload.train.total_training_steps
    return EpochPlan(
        rows,
        workload.reader.batch_size if train else workload.reader.batch_size_eval,
        world,
        shuffling(workload, one, chance),
        most if train and most >= 0 else None,
    )


def _check(one: Scheduled, plan: EpochPlan) -> None:
    most = plan.most_steps
    available = len(replace(plan, most_steps=None))
    if most is not None and most > available:
        what = f"{most} steps are asked for, an epoch has {available}"
        raise ConfigError([Issue("train.total_training_steps", what)])
    if len(plan) == 0:
        msg = (
            f"no step can be executed: {one.split} has {plan.samples} rows, one step of all ranks takes "
            f"{plan.batch} x {plan.world.size}"
        )
        raise InvalidResultError(msg)


def training(settled: Settled, comm: Comm, clock: Clock, told: Told) -> Trained:
    """Make all passes of a run.

    Raises:
        DataMissingError: if files are missing.
        ConfigError: if more steps are asked for than there are.
        InvalidResultError: if a pass has no step.
    """
    workload = settled.workload
    manifest = settled.manifest
    if manifest is None and workload.dataset.format is not FormatType.SYNTHETIC:
        manifest = on_root(comm, "manifest", lambda: load(settled.storage))
        if manifest is not None:
            known = manifest
            on_root(comm, "data set", lambda: check_shape(known, workload, settled.storage.root))
    reader = reader_of(workload, settled.storage, clock)
    chosen = loader_of(workload, reader, clock=clock, rank=comm.world.rank, ranks_on_host=_ranks_here(comm))
    try:
        files = {
            split: split_files(workload, split, manifest, storage=settled.storage, comm=comm, reader=reader)
            for split in dict.fromkeys(one.split for one in schedule(workload))
        }
        job = _Training(settled, comm, clock, told, files, chosen.loader)
        phases = job.phases()
    except BaseException:
        _leave(chosen.loader)
        raise
    chosen.loader.close()
    notes = [note for one in files.values() if one.proven for note in one.notes] + [chosen.note] * bool(chosen.note)
    doubts = [note for one in files.values() if not one.proven for note in one.notes]
    record_bytes = nominal_row_bytes(workload.dataset)
    return Trained(tuple(phases), record_bytes, chosen.loader.name, reader.decode, tuple(notes), tuple(doubts))


def _leave(loader: Loader) -> None:
    """Close a loader after an error, which is not kept waiting by reads that the storage does not answer."""

    def close() -> None:
        with contextlib.suppress(DlioError):  # the error that is on its way came first
            loader.close()

    closing = threading.Thread(target=close, name="closing", daemon=True)
    closing.start()
    closing.join(_CLOSING_S)


@dataclass(frozen=True, slots=True)
class _Training:
    settled: Settled
    comm: Comm
    clock: Clock
    told: Told
    files: Mapping[DatasetType, SplitFiles]
    loader: Loader

    def phases(self) -> list[Phase]:
        """Make every pass and return what happened."""
        chance = self.comm.share(secrets.randbits(63), "chance of this run")
        workload, world = self.settled.workload, self.comm.world
        plans = [
            (one, _planned(workload, one, self.files[one.split].rows, world, chance)) for one in schedule(workload)
        ]

        def check() -> None:
            for one, plan in plans:
                _check(one, plan)

        everywhere(self.comm, "plans of the epochs", check)
        return [self._pass(one, plan) for one, plan in plans]

    def _pass(self, one: Scheduled, plan: EpochPlan) -> Phase:
        workload, files = self.settled.workload, self.files[one.split]
        train = one.split is DatasetType.TRAIN
        self.comm.pulse.stage = f"epoch {one.epoch} {one.split}"
        self.told.planned(one, plan)
        share = self._prepare(files)
        dice = np.random.default_rng([workload.train.seed, self.comm.world.rank, one.epoch, int(train)])
        duration = workload.train.computation_time if train else workload.evaluation.eval_time
        device = cache.device_bytes()
        phase = run_pass(
            Pass(one.epoch, one.split, plan, files.paths),
            self.loader,
            Compute(duration, self.clock, dice),
            clock=self.clock,
            comm=self.comm,
            progress=self.told.step,
        )
        phase.tally.device_bytes = cache.device_bytes() - device
        phase = replace(phase, resident_share=share)
        self.told.ended(phase)
        return phase

    def _prepare(self, files: SplitFiles) -> float | None:
        """Have the page cache forget the files, each host its own; return what is still resident of a sample."""
        workload = self.settled.workload
        if workload.dataset.format is FormatType.SYNTHETIC or not len(files):
            return None
        root = self.settled.storage.root
        if workload.reader.evict_cache:
            hosts = self.comm.hosts()
            here = [rank for rank, host in enumerate(hosts) if host == hosts[self.comm.world.rank]]
            mine = range(here.index(self.comm.world.rank), len(files), len(here))
            cache.evict(os.path.join(root, files.paths(number)) for number in self.comm.pulse.over(mine))
            self.comm.barrier("page cache evicted")
        step = max(1, len(files) // _SAMPLED_FILES)
        return cache.resident_share([os.path.join(root, files.paths(n)) for n in range(0, len(files), step)])
