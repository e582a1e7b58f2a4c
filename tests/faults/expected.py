"""The faults of the matrix, the stages in which they strike, and how a job that one of them strikes has to end."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dlio_benchmark.mlpstorage.status import Status

DEADLINE_S = 6.0
MOST_S = 10.0
AFTER_DEADLINE_S = 2.0
LIMIT_S = 60.0
STANDING = re.compile(r"dlio_benchmark: some ranks stand still\n(  - .*\n)*")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a fault strikes: before which call, while the rank says that it is in which stage, with which options."""

    call: str
    pulse: str
    options: tuple[str, ...]


STAGES: Mapping[str, Stage] = {
    "generate": Stage(
        "write", "generate", ("++workload.workflow.generate_data=true", "++workload.workflow.train=false")
    ),
    "train": Stage("barrier", "epoch 1 train", ("++workload.workflow.train=true",)),
    "verify": Stage("preadv", "verify", ("verify",)),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is expected of a fault.

    Attributes:
        code: what it must end with; any but 0 if None.
        stalls: whether it shows only when the deadline has passed.
        alone: whether the other ranks have nothing else to do, for what is looked for shows only then.
        stages: where it can strike.
        options: more words for the command.
        deadline_s: how long no rank may move.
        every_rank: whether it strikes all ranks, not the last one only.
        front: whether the job is started by the front end, and the fault is the front end's.
        call: before which call it strikes instead of the stage's.
        survives: whether the job has to succeed all the same, and name the rank as a straggler.
        ranks: of the job; several, where a launcher must be prevented from hiding which one it was.
    """

    code: int | None = None
    stalls: bool = False
    alone: bool = False
    stages: tuple[str, ...] = tuple(STAGES)
    options: tuple[str, ...] = ()
    deadline_s: float = 60.0
    ranks: int = 2
    every_rank: bool = False
    front: bool = False
    call: str = ""
    survives: bool = False


FEW_FILES = 16
FEW = (f"++workload.dataset.num_files_train={FEW_FILES}",)
TORCH = ("++workload.reader.data_loader=pytorch", "++workload.reader.read_threads=2")
FAULTS: Mapping[str, Fault] = {
    "exception": Fault(74),
    "exception in a thread": Fault(70),
    "early exit": Fault(3),
    "exit 0": Fault(70),
    "exit 0 at once": Fault(ranks=4),
    "kill -9": Fault(ranks=4),
    "SIGTERM": Fault(143),
    "SIGINT": Fault(130),
    "SIGSEGV": Fault(ranks=4),
    "hang": Fault(71, stalls=True, deadline_s=DEADLINE_S, alone=True, options=FEW),
    "hang of all": Fault(71, stalls=True, deadline_s=DEADLINE_S, alone=True, options=FEW, every_rank=True),
    "SIGSTOP": Fault(71, stalls=True, deadline_s=DEADLINE_S, alone=True, options=FEW),
    "collective mismatch": Fault(70, alone=True, options=FEW),
    "worker killed": Fault(70, stages=("train",), options=TORCH),
    "slow": Fault(0, alone=True, stages=("train",), options=FEW, call="preadv", survives=True),
    "launcher killed": Fault(),
    "launcher SIGTERM": Fault(),
    "launcher SIGINT": Fault(),
    "launcher SIGINT twice": Fault(),
    "front end killed": Fault(front=True, stages=("generate",)),
    "front end SIGTERM": Fault(Status.INTERRUPTED, front=True, stages=("generate",)),
    "front end SIGINT twice": Fault(Status.INTERRUPTED, front=True, stages=("generate",)),
}
TELLING = (
    ("exception", "generate"),
    ("kill -9", "train"),
    ("hang", "generate"),
    ("exit 0", "verify"),
    ("launcher killed", "verify"),
    ("slow", "train"),
    ("collective mismatch", "train"),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended: its status, what it said and wrote, the seconds since the fault, and what is left of it.

    ``stood_still`` says that the machine did not even run this program for a while, so that times say nothing.
    """

    code: int
    said: str
    wrote: str
    seconds: float
    left: tuple[int, ...]
    struck: bool
    stood_still: bool
    success: bool


def judged(name: str, stage: str, ended: Ended) -> list[str]:
    """Return what is wrong with an end."""
    fault = FAULTS[name]
    most = fault.deadline_s + AFTER_DEADLINE_S if fault.stalls else LIMIT_S if fault.survives else MOST_S
    heard = STANDING.sub("", ended.said + ended.wrote)
    missed = [text for text in named(name, stage, fault.ranks - 1) if re.search(text, heard) is None]
    refused = ended.code != fault.code if fault.code is not None else ended.code % 256 == 0
    wrong = {
        "the fault did not strike": not ended.struck,
        f"ended with {ended.code}": refused,
        f"took {ended.seconds:.1f} s": ended.seconds > most,
        f"left the processes {ended.left}": bool(ended.left),
        "claims success" if ended.success else "does not succeed": ended.success is not fault.survives,
        f"does not say {missed}": bool(missed),
    }
    return [text for text, is_so in wrong.items() if is_so]


def named(name: str, stage: str, rank: int) -> tuple[str, ...]:
    """Return patterns of what must be said: the rank at fault, unless it is the launcher's, and the stage."""
    where = f"in stage: {STAGES[stage].pulse}"
    if FAULTS[name].survives:
        return (f"straggler: rank {rank} on host",)
    if FAULTS[name].every_rank:
        return f"missing: ranks 0-{rank}", where
    if FAULTS[name].stalls:
        return f"missing: rank {rank}", f"rank {rank} on host .*: {STAGES[stage].pulse}", where
    if name == "collective mismatch":
        return f"rank {rank}: gather 'planted'", where
    if name.startswith(("launcher", "front end")):
        return (rf'(in stage: |"stage": "){STAGES[stage].pulse}',)
    return (rf"rank {rank}\b.* {where}",)


def cells(many: int, seed: int) -> list[tuple[str, str]]:
    """Return ``many`` of the faults and stages, those that tell most first, or all if there are no more."""
    drawn = [(name, stage) for name, fault in FAULTS.items() for stage in fault.stages]
    if many >= len(drawn):
        return drawn
    others = [one for one in drawn if one not in TELLING]
    random.Random(seed).shuffle(others)
    return [*TELLING, *others][:many]


def told(heard: str) -> str:
    """Return who was named, where, and for what, in short."""
    heard = STANDING.sub("", heard)
    if straggler := re.search(r"straggler: rank \d+", heard):
        return straggler[0]
    failed = re.search(r"(rank \d+) of \d+ on host \S+ \(pid \d+\) failed in stage: (.*)\n\s*(.*)", heard)
    if failed is None:
        noted = re.search(r'"(rank)": (\d+),.*"stage": "([^"]*)",.*"error": "(\w+)"', heard, re.DOTALL)
        return "nothing" if noted is None else f"{noted[1]} {noted[2]}, {noted[3]}: {noted[4]} (recorded)"
    who, where, what = failed.groups()
    at_fault = re.search(r"missing: (ranks? [\d-]+)|(rank \d+) on host \S+ \(pid \d+\) ended without a word", what)
    who = next(filter(None, at_fault.groups()), who) if at_fault else who
    cause = what.partition(":")[0] if re.match(r"\w+: ", what) else what
    return f"{who}, {where}: {cause}"[:110].replace("|", "/")
