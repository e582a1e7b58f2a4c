"""The console scripts ``dlio_benchmark`` and ``dlio_benchmark_query``, and the class for outside callers.

Help is answered before anything heavy is imported; Hydra is imported on rank 0 only, which composes the
configuration and shares it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlio_benchmark.command import QUERY_USAGE, Arguments, parse, told
from dlio_benchmark.errors import ConfigError, DlioError, Exit, Issue, PeerFailedError, UsageError, shown

if TYPE_CHECKING:
    from dlio_benchmark.comm import Comm
    from dlio_benchmark.config.composed import Composed
    from dlio_benchmark.report.failure import Recorder, RecordingGuard
    from dlio_benchmark.utils.config import ConfigArguments

_LEAVE_S = 10.0


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the benchmark as ``argv`` asks and return the exit status."""
    try:
        arguments = parse(argv)
        text = told(arguments)
    except UsageError as error:
        print(error, file=sys.stderr)
        return int(error.code)
    if text is not None:
        print(text, end="")
        return Exit.OK
    from dlio_benchmark.report.failure import LAUNCH_VARIABLE, Recorder, RecordingGuard  # noqa: PLC0415 - as above

    recorder = Recorder.of(environ.get(LAUNCH_VARIABLE, ""), environ, argv)
    guard = RecordingGuard(recorder, debug=environ.get("DLIO_LOG_LEVEL", "").lower() == "debug")
    with guard:
        from dlio_benchmark.comm import DEADLINE_S, STALL_S, connect  # noqa: PLC0415

        deadline_s = DEADLINE_S if arguments.deadline_s is None else arguments.deadline_s
        stall_s = min(STALL_S, deadline_s / 3) if deadline_s else STALL_S
        try:
            comm = connect(environ, guard=guard, deadline_s=deadline_s, stall_s=stall_s)
        except DlioError as error:
            return _ended(error, guard)
        return _job(arguments, environ, comm, guard)


def _job(arguments: Arguments, environ: Mapping[str, str], comm: Comm, guard: RecordingGuard) -> int:
    """Do the work; ranks that agree on how it ended leave together, any other end is the guard's to tell."""
    try:
        code = _work(arguments, environ, comm, guard.recorder)
    except DlioError as error:
        if not error.agreed and comm.world.size > 1:
            raise
        code = _ended(error, guard)
    comm.close()
    return code


def _ended(error: DlioError, guard: RecordingGuard) -> int:
    if not isinstance(error, PeerFailedError):
        print(f"error: {guard.recorder.redactor.text(str(error))}", file=sys.stderr, flush=True)
        guard.recorder(guard.failure(error))
    return int(error.code)


def _work(arguments: Arguments, environ: Mapping[str, str], comm: Comm, recorder: Recorder) -> int:
    from dlio_benchmark.engine.agree import on_root  # noqa: PLC0415

    comm.pulse.stage = "configuration"
    composed = on_root(comm, "configuration", lambda: _composed(arguments))
    recorder.learn(environ, arguments.overrides, composed.workload)
    composed = composed.redacted(recorder.redactor)
    if arguments.show:
        if comm.world.rank == 0:
            print(composed.printed, end="")
        return Exit.OK
    from dlio_benchmark.clock import sleep_sharply  # noqa: PLC0415
    from dlio_benchmark.job import Job  # noqa: PLC0415
    from dlio_benchmark.report.failure import forget_earlier  # noqa: PLC0415
    from dlio_benchmark.report.log import Log, level_of  # noqa: PLC0415

    log = Log(quiet=comm.world.rank != 0, level=level_of(environ), redactor=recorder.redactor)
    folder = output_folder(composed.workload, environ, composed.run_dir)
    job = Job(composed.workload, comm, folder, log, arguments.strict, composed.typed, recorder.launch)
    settled = job.settle()
    sleep_sharply()
    log_path = os.path.join(folder, settled.workload.output.log_file)
    try:
        on_root(comm, "output folder", lambda: _open_output(composed, folder, log, settled.workload.output.log_file))
        recorder.log = log_path
        if arguments.verify:
            comm.pulse.papers = (log_path, "")
            log.output(job.verify().text())
        else:
            on_root(comm, "results of an earlier run", lambda: forget_earlier(folder))
            recorder.folder = folder
            comm.pulse.papers = (log_path, folder)
            job.run()
    finally:
        log.close()
    return Exit.OK


def _composed(arguments: Arguments) -> Composed:
    from dlio_benchmark.config.files import compose_workload  # noqa: PLC0415

    return compose_workload(arguments.overrides, arguments.config_dir)


def output_folder(workload: Mapping[str, Any], environ: Mapping[str, str], run_dir: str) -> str:
    """Return where results go: output.folder, then DLIO_OUTPUT_FOLDER, then Hydra's run folder."""
    output = workload.get("output")
    named = output.get("folder") if isinstance(output, Mapping) else None
    return os.path.abspath(str(named or environ.get("DLIO_OUTPUT_FOLDER") or run_dir))


def _open_output(composed: Composed, folder: str, log: Any, log_file: str) -> None:
    from dlio_benchmark.config.files import write_record  # noqa: PLC0415

    _make_folder(folder)
    write_record(composed, composed.run_dir if composed.subfolder is None else folder)
    log.open(folder, log_file)


def _make_folder(folder: str) -> None:
    from dlio_benchmark.errors import CannotCreateError  # noqa: PLC0415

    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        msg = f"{folder}: cannot create the output folder: {error.strerror}"
        raise CannotCreateError(msg) from error


class DLIOBenchmark:
    """The benchmark for callers in Python: ``initialize``, ``run``, ``finalize``.

    Args:
        workload: the content of ``workload`` as a mapping or an OmegaConf container.

    Raises:
        ConfigError: if the workload is not valid.
    """

    def __init__(self, workload: Any) -> None:
        from dlio_benchmark import session  # noqa: PLC0415
        from dlio_benchmark.config.redact import Redactor  # noqa: PLC0415
        from dlio_benchmark.job import Job  # noqa: PLC0415
        from dlio_benchmark.report.log import Log, level_of  # noqa: PLC0415

        tree = _plain(workload)
        self.comm = session.current_comm()
        self.output_folder = output_folder(tree, os.environ, "output")
        redactor = Redactor.of(os.environ, (), tree)
        log = Log(quiet=self.comm.world.rank != 0, level=level_of(os.environ), redactor=redactor)
        self.job = Job(tree, self.comm, self.output_folder, log)

    @property
    def my_rank(self) -> int:
        """Rank of this process."""
        return self.comm.world.rank

    @property
    def comm_size(self) -> int:
        """Number of ranks."""
        return self.comm.world.size

    @property
    def args(self) -> ConfigArguments:
        """The configuration as DLIO's attributes; that of the workload from `initialize` on."""
        from dlio_benchmark.utils.config import ConfigArguments  # noqa: PLC0415

        return ConfigArguments.get_instance()

    def initialize(self) -> None:
        """Check the workload and make the output folder, without results of an earlier run.

        Raises:
            ConfigError: if the workload is not valid.
            CannotCreateError: if the folder cannot be made.
        """
        from dlio_benchmark import session  # noqa: PLC0415
        from dlio_benchmark.engine.agree import on_root  # noqa: PLC0415

        settled = self.job.settle()
        session.begin(settled.workload, self.comm)
        on_root(self.comm, "output folder", lambda: self._open(settled.workload.output.log_file))

    def _open(self, log_file: str) -> None:
        from dlio_benchmark.report.failure import forget_earlier  # noqa: PLC0415

        _make_folder(self.output_folder)
        forget_earlier(self.output_folder)
        self.job.log.open(self.output_folder, log_file)

    def run(self) -> None:
        """Generate and train as the workload says."""
        self.job.run()

    def finalize(self) -> None:
        """Close the log."""
        self.job.log.close()


def _plain(workload: Any) -> Mapping[str, Any]:
    from omegaconf import OmegaConf  # noqa: PLC0415
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415

    if OmegaConf.is_config(workload):
        try:
            workload = OmegaConf.to_container(workload, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            raise ConfigError([Issue("workload", str(error).partition("\n")[0])]) from error
    if not isinstance(workload, Mapping):
        raise ConfigError([Issue("workload", f"must be a mapping, got {shown(workload)}")])
    return workload


def query(argv: Sequence[str]) -> int:
    """Print the value of the key that ``workload.workflow.query`` names, or None."""
    from dlio_benchmark.config.redact import Redactor  # noqa: PLC0415
    from dlio_benchmark.utils.config import ConfigArguments, GetConfig, LoadConfig  # noqa: PLC0415

    try:
        asked = parse(argv)
        text = told(asked)
        if text is not None:
            print(QUERY_USAGE if asked.show == "help" else text, end="")
            return Exit.OK
        composed = _composed(asked)
        arguments = ConfigArguments()
        LoadConfig(arguments, composed.workload)
        name = str((composed.workload.get("workflow") or {}).get("query") or "")
        print(GetConfig(arguments, name) or None)
    except DlioError as error:
        print(f"error: {Redactor.of(os.environ, argv).text(str(error))}", file=sys.stderr)
        return int(error.code)
    return Exit.OK


def set_dftracer_initialize(status: bool) -> None:
    """Do nothing: there is no tracer to start; tools that drive DLIO from Python call this first."""


def set_dftracer_finalize(status: bool) -> None:
    """Do nothing, as `set_dftracer_initialize`."""


def main() -> None:
    """Run the benchmark with the arguments of this process, and end the process."""
    code = int(run(sys.argv[1:], os.environ))
    if threading.active_count() > 1:  # one that waits for a storage which does not answer must not keep the process
        from dlio_benchmark.guard import end_after  # noqa: PLC0415 - help ends with one thread, and at once

        end_after(_LEAVE_S, code)
    sys.exit(code)


console = main


def console_query() -> None:
    """Answer a query with the arguments of this process, and end the process."""
    sys.exit(int(query(sys.argv[1:])))


query_config = console_query

if __name__ == "__main__":
    main()
