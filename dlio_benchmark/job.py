"""One job from a workload's tree to its result files: what the console script and outside callers share."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from dlio_benchmark.clock import Clock, RealClock
from dlio_benchmark.comm import Comm
from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.config.model import Workload
from dlio_benchmark.data_generator.manifest import JOURNAL, MANIFEST, TABLE, FileEntry, load
from dlio_benchmark.engine.agree import everywhere, on_root
from dlio_benchmark.engine.generate import layouts
from dlio_benchmark.engine.parts import WRITERS
from dlio_benchmark.engine.run import Settled, Told, Trained, foresee, generation, settle, training
from dlio_benchmark.engine.verify import Verified, read_back, verify
from dlio_benchmark.errors import ConfigError, DlioError, InvalidResultError, Issue, listed
from dlio_benchmark.guard import Pulse
from dlio_benchmark.metrics.events import Phase, RankRecord
from dlio_benchmark.metrics.summary import (
    Window,
    au_percent,
    condensed,
    overlong,
    problems,
    throughput,
    unmeasured,
)
from dlio_benchmark.plan.epoch import EpochPlan
from dlio_benchmark.plan.schedule import Scheduled
from dlio_benchmark.report import results
from dlio_benchmark.report.host import Host, peak_rss_bytes, this_host
from dlio_benchmark.report.log import Log, local_time
from dlio_benchmark.report.progress import Meter
from dlio_benchmark.report.strict_json import write_json
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.storage.lock import LOCK_NAME


@dataclass(slots=True)
class Job:
    """A job on this rank; ``run`` may be called once.

    Attributes:
        tree: the content of ``workload``, plain containers.
        comm: the ranks of the job.
        folder: where results go; it exists.
        log: rank 0's log; the others' are quiet.
        launch: a text that ties the result to this launch.
    """

    tree: Mapping[str, Any]
    comm: Comm
    folder: str
    log: Log
    strict: bool = False
    typed: frozenset[str] = frozenset()
    launch: str = ""
    clock: Clock = field(default_factory=RealClock)
    started: str = field(default_factory=local_time)
    settled: Settled | None = None

    def settle(self) -> Settled:
        """Decode the tree and check it against the data set; say what is unknown in it.

        Every rank comes to the same finding; one of them reports it.
        """
        if self.settled is None:
            everywhere(self.comm, "configuration", self._settle)
        if self.settled is None:
            msg = "the configuration was not settled"
            raise DlioError(msg)
        return self.settled

    def _settle(self) -> None:
        self.settled = settle(self.tree, self.comm, strict=self.strict, typed=self.typed)
        for issue in self.settled.decoded.warnings:
            self.log.line("warning", str(issue))

    @property
    def root(self) -> bool:
        """Whether this is rank 0."""
        return self.comm.world.rank == 0

    def run(self) -> None:
        """Generate, train and write the results, as the workload says.

        Raises:
            DlioError: whatever ends the job before its time.
            InvalidResultError: if the results, which are written, do not carry their proof.
        """
        settled = self.settle()
        flow = settled.workload.workflow
        everywhere(self.comm, "foresight", lambda: self._foresee(settled.workload))
        self.log.output(f"Running DLIO [{_phases(settled.workload)}] with {self.comm.world.size} process(es)")
        if flow.generate_data and settled.workload.dataset.format in WRITERS:
            self._generate(settled)
        if flow.train:
            self._train(settled)
            if not settled.workload.dataset.keep_files:
                self.comm.pulse.stage = "remove the data set"
                on_root(self.comm, "removal of the data set", lambda: _remove(settled.storage, self.comm.pulse))

    def _foresee(self, workload: Workload) -> None:
        """Refuse what cannot end well before anything is generated."""
        flow = workload.workflow
        if flow.train:
            foresee(workload, self.comm)
        elif not flow.generate_data:
            raise ConfigError([Issue("workflow", "nothing to do: neither train nor generate_data is true")])

    def verify(self) -> Verified:
        """Compare the data set with its manifest and with its values made again; say how far it is.

        Raises:
            DataMissingError: if there is no manifest.
            DataError: naming every file that differs, and in what.
        """
        settled = self.settle()
        manifest = settled.manifest or on_root(self.comm, "manifest", lambda: load(settled.storage))
        files = 0 if manifest is None else manifest.files.num_rows
        with self._meter("verification", len(range(0, files, self.comm.world.size))) as meter:
            return verify(settled.workload, settled.storage, self.comm, advance=meter.advance)

    def _generate(self, settled: Settled) -> None:
        self.comm.pulse.stage = "generate"
        self.log.output("Starting data generation")
        dataset = settled.workload.dataset
        total = len(range(0, sum(layout.files for layout in layouts(dataset)), self.comm.world.size))
        with ExitStack() as stack:
            meter = stack.enter_context(self._meter("generation", total))

            def check(written: Sequence[FileEntry]) -> None:
                stack.close()
                self._read_back(settled, written)

            done = generation(
                settled, self.comm, meter, on_bytes=self.comm.pulse.beat, check=check if dataset.verify else None
            )
        rate = done.bytes / 2**20 / done.seconds if done.seconds > 0 else 0.0
        kept = f", {done.files_kept} of them kept from before" if done.files_kept else ""
        self.log.output(
            f"Generation done: {done.files} files{kept}, {done.rows} rows, {done.bytes} bytes in {done.seconds:.2f} s "
            f"({rate:.1f} MiB/s)"
        )

    def _read_back(self, settled: Settled, written: Sequence[FileEntry]) -> None:
        self.comm.pulse.stage = "read back"
        self.log.output("Reading back what was generated")
        begin = time.monotonic()
        with self._meter("read back", len(written)) as meter:
            read_back(settled.storage, written, meter.advance, self.comm.pulse.beat)
        read = sum(entry.bytes for entry in written)
        self.log.output(
            f"Read back{_of_rank('', self.comm)}: {len(written)} files, {read} bytes are as they were written "
            f"({time.monotonic() - begin:.2f} s, not part of the time of generation)"
        )

    def _meter(self, what: str, total: int) -> Meter:
        return Meter(_of_rank(what, self.comm), total, say=self.log.output if self.root else None)

    def _train(self, settled: Settled) -> None:
        self.comm.pulse.stage = "look for the data set"
        trained = training(settled, self.comm, self.clock, self._told(settled.workload))
        mine = this_host()
        record = RankRecord(self.comm.world.rank, mine.hostname, trained.phases, peak_rss_bytes())
        self.comm.pulse.stage = "results"
        records = self.comm.gather(condensed(record, _window(settled.workload)), "records of the ranks")
        hosts = _one_per_host(self.comm, mine)
        outcome = self._outcome(settled.workload, trained, records, hosts)
        everywhere(self.comm, "results of the ranks", lambda: self._write_rank(record, mine, outcome))
        on_root(self.comm, "summary", lambda: self._write_summary(outcome))
        if outcome.problems:
            raise InvalidResultError(listed("the result proves nothing", list(outcome.problems)))

    def _outcome(
        self, workload: Workload, trained: Trained, records: list[RankRecord], hosts: list[Host]
    ) -> results.Outcome:
        outcome = results.Outcome(
            workload=workload,
            ranks=records,
            hosts=hosts,
            record_bytes=trained.record_bytes,
            loader=trained.loader,
            decode=trained.decode,
            launch=self.launch,
            started=self.started,
            ended=local_time(),
            notes=trained.notes,
            warnings=(*trained.doubts, *_doubts(workload, records)),
        )
        reads = trained.loader != "synthetic" and bool(workload.dataset.format.value != "synthetic")
        found = problems(records, decoded=reads)
        found += [f"{path} is not a finite number" for path in results.not_finite(results.metric_of(outcome))]
        return replace(outcome, problems=found)

    def _write_rank(self, record: RankRecord, host: Host, outcome: results.Outcome) -> None:
        gib = results.summary_of(outcome)["data_size_per_host_GB"]
        output = results.rank_output(record, host, outcome.window, data_gib=gib)
        self._write(f"{record.rank}_output.json", output)
        self._write(f"{record.rank}_per_epoch_stats.json", results.rank_epochs(record))

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        write_json(self.folder, name, self.log.redactor.tree(value))

    def _write_summary(self, outcome: results.Outcome) -> None:
        self._write("summary.json", results.summary_of(outcome))
        for warning in outcome.warnings:
            self.log.line("warning", warning)
        for note in outcome.notes:
            self.log.output(note)
        self.log.output(f"Saved outputs in {self.folder}")
        self.log.output("\n" + results.metric_lines(outcome))
        self.log.output(results.verdict_line(outcome))
        if straggler := results.straggler_line(outcome):
            self.log.output(straggler)
        self.log.output("outputs saved in RANKID_output.json")

    def _told(self, workload: Workload) -> Told:
        teller = _Teller(self.log, self.comm, _window(workload), workload)
        return Told(teller.planned, teller.step, teller.ended)


def _doubts(workload: Workload, records: Sequence[RankRecord]) -> list[str]:
    """Return what to know of the metrics before they are believed."""
    window = _window(workload)
    asked = {
        DatasetType.TRAIN: workload.train.computation_time.mean,
        DatasetType.VALID: workload.evaluation.eval_time.mean,
    }
    return [*unmeasured(records, window), *overlong(records, window, asked)]


def _window(workload: Workload) -> Window:
    metric = workload.output.metric
    return Window(metric.exclude_start_steps, metric.exclude_end_steps)


def _remove(storage: LocalStorage, pulse: Pulse) -> None:
    """Remove what belongs to a data set, and its folder if nothing else is in it."""
    for path in (*(split.value for split in DatasetType), MANIFEST, TABLE, JOURNAL, LOCK_NAME):
        storage.delete(path, pulse.beat)
    with suppress(OSError):
        os.rmdir(storage.root)


def _phases(workload: Workload) -> str:
    flow = workload.workflow
    words = (
        (flow.generate_data, "Generating data"),
        (flow.train, "Training"),
        (flow.train and flow.evaluation, "Evaluation"),
        (flow.checkpoint, "Checkpointing"),
    )
    return " & ".join(word for wanted, word in words if wanted)


def _of_rank(what: str, comm: Comm) -> str:
    return what if comm.world.size == 1 else f"{what} (rank 0 of {comm.world.size})"


def _one_per_host(comm: Comm, mine: Host) -> list[Host]:
    names = comm.hosts()
    described = comm.gather(mine if names.index(names[comm.world.rank]) == comm.world.rank else None, "hosts")
    return [host for host in described if host is not None]


@dataclass(slots=True)
class _Teller:
    """Says on rank 0 what begins and what has ended, in the words that tools look for."""

    log: Log
    comm: Comm
    window: Window
    workload: Workload
    stack: ExitStack = field(default_factory=ExitStack)
    meter: Meter | None = None

    def planned(self, one: Scheduled, plan: EpochPlan) -> None:
        """A pass begins."""
        if one.split is DatasetType.TRAIN:
            if one.epoch == 1:
                spf, files = self.workload.dataset.num_samples_per_file, self.workload.dataset.num_files_train
                self.log.output(
                    f"Max steps per epoch: {len(plan)} = {spf} * {files} / {plan.batch} / {plan.world.size} "
                    "(samples per file * num files / batch size / comm size)"
                )
                if plan.rows_left_out:
                    self.log.output(f"{plan.rows_left_out} rows of an epoch fill no step and are left out")
            self.log.output(f"Starting epoch {one.epoch}: {len(plan)} steps expected")
            self.log.output("Starting block 1")
        else:
            self.log.output(f"Starting eval - {len(plan)} steps expected")
        say = self.log.output if self.comm.world.rank == 0 else None
        name = _of_rank(f"epoch {one.epoch} {one.split}", self.comm)
        self.meter = self.stack.enter_context(Meter(name, len(plan), say=say, unit="steps"))

    def step(self, number: int) -> None:
        """A step was made."""
        self.comm.pulse.done = number + 1
        if self.meter is not None and self.comm.world.rank == 0:
            self.meter.advance(1)

    def ended(self, phase: Phase) -> None:
        """A pass has ended."""
        self.stack.close()
        steps, seconds, size = len(phase.times), phase.seconds, self.comm.world.size
        au, rate = au_percent(phase, self.window), throughput(phase, self.window) * size
        if phase.split is DatasetType.VALID:
            self.log.output(f"Ending eval - {steps} steps completed in {seconds:.2f} s")
            self.log.output(f"Epoch {phase.epoch} [Eval] Accelerator Utilization [AU] (%): {au:.4f}")
            self.log.output(f"Epoch {phase.epoch} [Eval] Throughput (samples/second): {rate:.4f}")
            return
        block = f"Epoch {phase.epoch} - Block 1 [Training]"
        self.log.output(f"Ending block 1 - {steps} steps completed in {seconds:.2f} s")
        self.log.output(f"{block} Accelerator Utilization [AU] (%): {au:.4f}")
        self.log.output(f"{block} Throughput (samples/second): {rate:.4f}")
        first, last = self.window.bounds(steps)
        spent = [ns / 1e9 for ns in phase.step_times.compute_ns[first:last]]
        mean = sum(spent) / len(spent) if spent else 0.0
        spread = (sum((one - mean) ** 2 for one in spent) / len(spent)) ** 0.5 if spent else 0.0
        wanted = self.workload.train.computation_time.mean
        self.log.output(
            f"{block} Computation time per step (second): {mean:.4f}+/-{spread:.4f} (set value: {wanted:g})"
        )
        self.log.output(f"Ending epoch {phase.epoch} - {steps} steps completed in {seconds:.2f} s")
