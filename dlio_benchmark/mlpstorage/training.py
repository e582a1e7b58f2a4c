"""The commands of the program ``training``."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dlio_benchmark.errors import CannotCreateError, DlioError, Exit, InterruptedRunError
from dlio_benchmark.mlpstorage import cluster, launching, manifest, metadata, planning, processes, results, rules
from dlio_benchmark.mlpstorage.metadata import Outcome
from dlio_benchmark.mlpstorage.planning import Plan
from dlio_benchmark.mlpstorage.request import Training
from dlio_benchmark.mlpstorage.results import Leaf
from dlio_benchmark.mlpstorage.sizing import (
    Clients,
    DataSize,
    Rule,
    advised_folders,
    least_data,
    memory_bytes,
    shape_of,
)
from dlio_benchmark.mlpstorage.status import EngineFailedError, LaunchError, Status, VerdictError, status_of_error
from dlio_benchmark.mlpstorage.timeseries import Timeseries

_PLACEHOLDER = "<INSERT_DATA_DIR>"


def datasize(request: Training) -> Status:
    """Print how much data the run needs and the command that generates it; write the metadata."""
    plan = planning.prepare(request)
    size = size_of(plan)
    by = {
        Rule.MEMORY: "five times the clients' memory",
        Rule.STEPS: "500 steps per epoch",
    }[size.rule]
    print(f"Required by {by}: memory asks for {size.files_by_memory} files, steps for {size.files_by_steps}")
    print(f"Number of training files: {size.files}")
    print(f"Number of training subfolders: {_subfolders(plan)}")
    print(f"Total disk space required for training: {size.disk_bytes} bytes ({size.disk_gib:.2f} GiB)")
    folders = advised_folders(size.files)
    if folders > _subfolders(plan):
        print(f"Many files for one folder: consider dataset.num_subfolders_train={folders}")
    print("Generate the data with:")
    print("  " + shlex.join(datagen_words(request, size.files)))
    leaf = results.claim_leaf(request.results_dir, request.model, request.command, now=datetime.now().astimezone())
    outcome = Outcome(status=Status.SUCCESS, ended=datetime.now().astimezone())
    content = _describe(plan, leaf, (), loop=1, outcome=outcome)
    content["datasize"] = {
        "num_files_train": size.files,
        "num_subfolders_train": _subfolders(plan),
        "total_disk_bytes": size.disk_bytes,
        "dictated_by": size.rule.value,
    }
    results.write_json(leaf.metadata_path, content)
    return Status.SUCCESS


def size_of(plan: Plan) -> DataSize:
    """Return the least data set of ``plan``'s run."""
    request = plan.request
    workload = plan.effective
    gib = request.client_gib or 0
    batch_size = (workload.get("reader") or {}).get("batch_size", 1)
    clients = Clients(memory_bytes(gib, request.client_hosts), request.processes, int(batch_size))
    return least_data(shape_of(workload["dataset"]), clients)


def _subfolders(plan: Plan) -> int:
    return int(plan.effective["dataset"].get("num_subfolders_train", 0))


def datagen_words(request: Training, files: int) -> list[str]:
    """Return the command that generates ``files`` files as ``request`` would train on them."""
    args = request.args
    params = [f"dataset.num_files_train={files}"]
    params += [word for word in args.params if not word.startswith("dataset.num_files_train=")]
    words = ["mlpstorage", "training", "datagen", "--hosts", *(str(host) for host in request.hosts)]
    words += ["--model", request.model, "--exec-type", args.exec_type, "--params", *params]
    for option, value in (("--dataset-format", args.dataset_format), ("--compression", args.compression)):
        words += [option, value] if value else []
    words += ["--num-processes", str(request.processes), "--results-dir", str(args.results_dir)]
    return [*words, "--data-dir", str(args.data_dir or _PLACEHOLDER)]


def configview(request: Training) -> Status:
    """Print the workload as the run would see it."""
    import yaml  # noqa: PLC0415

    plan = planning.prepare(request)
    folder = request.data_folder
    tree = metadata.redacted(plan.effective)
    if folder is not None:
        tree["dataset"]["data_folder"] = str(folder)
    print(f"# workload {request.workload}, {request.processes} accelerators")
    for override in plan.taken_over:
        print(f"# {override.key} is taken from the data set")
    for override in plan.scaled:
        print(f"# {override.key} is scaled with the record length")
    print(yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=120), end="")
    return Status.SUCCESS


@dataclass(frozen=True, slots=True)
class Launch:
    """One loop of a command: what is planned, with which programs, judged how."""

    plan: Plan
    tools: planning.Tools
    findings: tuple[rules.Finding, ...]
    loop: int


def launch(request: Training) -> Status:
    """Generate or train by launching the engine, ``--loops`` times; write metadata whatever happens.

    Raises:
        DlioError: of the kind that says what went wrong, after the metadata says so too.
    """
    plan = planning.prepare(request)
    tools, problems = planning.find_tools(request, dict(os.environ))
    if not request.args.what_if:
        planning.check(request, problems)
    findings = plan.findings()
    _announce(plan, findings)
    _gate(request, findings)
    for loop in range(1, request.args.loops + 1):
        _once(Launch(plan, tools, findings, loop))
    return Status.SUCCESS


def _announce(plan: Plan, findings: Sequence[rules.Finding]) -> None:
    """Print the verdict and what is taken over from the data set."""
    if plan.request.args.quiet:
        return
    if plan.manifest is not None and plan.request.command == "run":
        shape = plan.manifest.dataset
        print(f"Data set: {shape.get('format')} with codec {shape.get('compression', 'none')} ({plan.manifest.path})")
    for origin, overrides in (("From the data set", plan.taken_over), ("Scaled with the record", plan.scaled)):
        for override in overrides:
            text = override.text if len(override.text) <= 80 else f"{override.text[:77]}..."
            print(f"{origin}: {override.key}={text}")
    found = rules.verdict(findings)
    print(f"Verification: {found.name} ({_FIT[found]})")
    for finding in findings:
        print(f"  {finding}")
    sys.stdout.flush()


_FIT = {
    rules.Verdict.CLOSED: "fit for a closed submission",
    rules.Verdict.OPEN: "fit for an open submission",
    rules.Verdict.INVALID: "not fit for a submission; without --closed it runs all the same",
}


def _gate(request: Training, findings: Sequence[rules.Finding]) -> None:
    """Return if the command may run."""
    found = rules.verdict(findings)
    if request.args.closed and found is not rules.Verdict.CLOSED and not request.args.allow_invalid_params:
        raise VerdictError(
            f"--closed was asked for, but the command is {found.name}; "
            "leave --closed out, or give --allow-invalid-params"
        )


def _once(launched: Launch) -> None:
    """Launch the engine once into a leaf of its own."""
    request = launched.plan.request
    leaf = results.claim_leaf(request.results_dir, request.model, request.command, now=datetime.now().astimezone())
    words: list[str] = []
    began = time.monotonic()
    outcome = Outcome()
    series: dict[str, Any] | None = None
    try:
        words = planning.command_words(launched.plan, launched.tools, leaf.path)
        _write(launched, leaf, words, outcome, series)
        print(f"Results: {leaf.path}", flush=True)
        if request.args.what_if or not request.args.quiet:
            print(metadata.shown_command(words), flush=True)
        if not request.args.what_if:
            series = _run(launched, leaf, words)
        outcome = Outcome(status=Status.SUCCESS, child_code=None if request.args.what_if else 0)
    except BaseException as error:
        outcome = _outcome_of(error)
        raise
    finally:
        over = replace(outcome, runtime_s=round(time.monotonic() - began, 3), ended=datetime.now().astimezone())
        _write(launched, leaf, words, over, series)


def _outcome_of(error: BaseException) -> Outcome:
    """Return how a launch ended that ``error`` ended."""
    if isinstance(error, DlioError):
        return Outcome(status_of_error(error), getattr(error, "child_code", None), str(error))
    status = Status.INTERRUPTED if isinstance(error, KeyboardInterrupt) else Status.GENERAL
    return Outcome(status, None, f"{type(error).__name__}: {error}")


def _run(launched: Launch, leaf: Leaf, words: Sequence[str]) -> dict[str, Any] | None:
    """Run the engine to a proven success; return what the metadata says of the timeseries."""
    request = launched.plan.request
    sampled = _timeseries(request)
    with sampled.sampling() if sampled else contextlib.nullcontext():
        ended = _child(words, leaf, launched.plan)
    series = _keep_timeseries(sampled, leaf)
    _demand_success(ended, leaf)
    if request.command == "datagen":
        _write_manifest(launched.plan, leaf)
    return series


def _child(words: Sequence[str], leaf: Leaf, plan: Plan) -> processes.Ended:
    """Run the engine to its end, its output kept in ``leaf``."""
    secrets = [str(override.value) for override in plan.overrides if override.secret]
    variables = launching.apart(plan.overrides)[1]
    stdout = processes.Sink(sys.stdout.buffer, leaf.log_path("stdout"))
    stderr = processes.Sink(sys.stderr.buffer, leaf.log_path("stderr"))
    try:
        return processes.run(words, stdout, stderr, ranks=plan.request.processes, secrets=secrets, variables=variables)
    except OSError as error:
        raise LaunchError(f"'{words[0]}' cannot be launched: {error}") from error


def _demand_success(ended: processes.Ended, leaf: Leaf) -> None:
    """Return if the engine succeeded and left what it owes."""
    if ended.interrupted_by is not None:
        raise InterruptedRunError(f"interrupted by {ended.interrupted_by.name}; what was written is in {leaf.path}")
    if ended.code:
        raise EngineFailedError(
            f"the engine failed with exit code {ended.code}{_meaning(ended.code)}; its messages are in "
            f"{leaf.log_path('stderr')}",
            ended.code,
        )
    if ended.unkept is not None:
        raise CannotCreateError(f"the engine's output could not be kept in {leaf.path}: {ended.unkept}")
    flaws = list(results.shortcomings(leaf, ended.launch))
    if flaws:
        raise EngineFailedError(f"the engine ended with exit code 0, but {'; '.join(flaws)} ({leaf.path})", 0)


def _meaning(code: int) -> str:
    """Return the engine's word for an exit code, or the signal that it stands for, in brackets, if there is one."""
    known = {128 + int(member): member.name for member in signal.Signals}
    known |= {int(member): member.name.lower().replace("_", " ") for member in Exit}
    return f" ({known[code]})" if code in known else ""


def _timeseries(request: Training) -> Timeseries | None:
    args = request.args
    if request.command != "run" or args.skip_timeseries:
        return None
    return Timeseries(args.timeseries_interval, args.max_timeseries_samples)


def _keep_timeseries(sampled: Timeseries | None, leaf: Leaf) -> dict[str, Any] | None:
    """Write the samples beside the results; return what the metadata says of them."""
    if sampled is None:
        return None
    content = sampled.document()
    results.write_json(leaf.timeseries_path, content)
    return {
        "file": leaf.timeseries_path.name,
        "num_samples": content["num_samples"],
        "interval_seconds": content["collection_interval_seconds"],
        "hosts_collected": list(content["samples_by_host"]),
    }


def _write_manifest(plan: Plan, leaf: Leaf) -> None:
    folder = plan.request.data_folder
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    content = manifest.document(
        plan.request.model,
        plan.effective["dataset"],
        plan.request.overrides,
        leaf.path,
        now=datetime.now().astimezone(),
    )
    results.write_json(folder / manifest.FILE_NAME, content)


def _write(launched: Launch, leaf: Leaf, words: Sequence[str], outcome: Outcome, series: dict[str, Any] | None) -> None:
    """Write the metadata of one launch as far as it is known, and what the hosts are."""
    content = _describe(
        launched.plan, leaf, words, loop=launched.loop, outcome=outcome, findings=launched.findings, series=series
    )
    results.write_json(leaf.metadata_path, content)
    if launched.plan.request.command == "run":
        results.write_json(leaf.cluster_path, content["system_info"])


def _describe(
    plan: Plan,
    leaf: Leaf,
    words: Sequence[str],
    *,
    loop: int,
    outcome: Outcome,
    findings: Sequence[rules.Finding] = (),
    series: dict[str, Any] | None = None,
) -> dict[str, Any]:
    request = plan.request
    system = cluster.system_info(request.client_hosts, gib_per_host=request.client_gib)
    return metadata.describe(
        plan, leaf, words, findings=findings, system=system, loop=loop, outcome=outcome, timeseries=series
    )


COMMANDS = {"datasize": datasize, "datagen": launch, "run": launch, "configview": configview}
