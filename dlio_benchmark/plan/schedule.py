"""A run as a list of passes: which epochs train, and after which there is an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dlio_benchmark.common.enumerations import DatasetType, Shuffle
from dlio_benchmark.config.model import Workload
from dlio_benchmark.plan.epoch import Shuffling
from dlio_benchmark.plan.order import mixed


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A pass over ``split`` in epoch ``epoch``, counted from 1."""

    epoch: int
    split: DatasetType


def schedule(workload: Workload) -> Iterator[Scheduled]:
    """Yield the passes of a run in order.

    The first evaluation follows epoch ``eval_after_epoch``, later ones every ``epochs_between_evals`` epochs, where 0
    means every epoch.
    """
    if not workload.workflow.train:
        return
    first = workload.evaluation.eval_after_epoch
    every = workload.evaluation.epochs_between_evals or 1
    for epoch in range(1, workload.train.epochs + 1):
        yield Scheduled(epoch, DatasetType.TRAIN)
        if workload.workflow.evaluation and epoch >= first and (epoch - first) % every == 0:
            yield Scheduled(epoch, DatasetType.VALID)


def shuffling(workload: Workload, scheduled: Scheduled, chance: int) -> Shuffling:
    """Return the keys of a pass's orders.

    Args:
        workload: says which orders change, and by what.
        scheduled: the pass; evaluation is never shuffled.
        chance: a number that differs from run to run, the same on every rank; ``random`` orders follow from it.
    """
    if scheduled.split is not DatasetType.TRAIN:
        return Shuffling()
    epoch = scheduled.epoch if workload.train.seed_change_epoch else 0
    seeds = {Shuffle.SEED: workload.train.seed, Shuffle.RANDOM: chance}
    files, samples = workload.reader.file_shuffle, workload.reader.sample_shuffle
    return Shuffling(
        files=mixed(seeds[files], epoch, 1) if files in seeds else None,
        samples=mixed(seeds[samples], epoch, 2) if samples in seeds else None,
        scope=workload.reader.shuffle_scope,
    )
