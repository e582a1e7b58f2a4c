"""The metadata of a command, under the key names of both generations of readers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dlio_benchmark.mlpstorage import launching, manifest
from dlio_benchmark.mlpstorage.models import CONFIG_DIR
from dlio_benchmark.mlpstorage.parameters import PREFIX, REDACTED, Override, is_secret, merged
from dlio_benchmark.mlpstorage.planning import Plan
from dlio_benchmark.mlpstorage.request import shown_arguments
from dlio_benchmark.mlpstorage.results import Leaf
from dlio_benchmark.mlpstorage.rules import Finding, verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a command came: its exit status once it is over, with the time it took."""

    status: int | None = None
    child_code: int | None = None
    reason: str | None = None
    runtime_s: float = 0.0
    ended: datetime | None = None


def describe(
    plan: Plan,
    leaf: Leaf,
    words: Sequence[str],
    *,
    findings: Sequence[Finding],
    system: Mapping[str, Any],
    loop: int,
    outcome: Outcome,
    timeseries: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the metadata of a command that launches, or would launch, ``words`` into ``leaf``."""
    request = plan.request
    shown = shown_command(words)
    generated = request.data_folder / manifest.FILE_NAME if request.data_folder else None
    output_files = [{"command": shown, "stdout": str(leaf.log_path("stdout")), "stderr": str(leaf.log_path("stderr"))}]
    return {
        "benchmark_type": "training",
        "model": request.model,
        "command": request.command,
        "run_datetime": leaf.stamp,
        "run_number": loop,
        "num_processes": request.processes,
        "accelerator": request.accelerator,
        "result_dir": str(leaf.path),
        "runtime": outcome.runtime_s,
        "exit_status": outcome.status,
        "engine_exit_code": outcome.child_code,
        "failure": outcome.reason,
        "invocation_start_time": leaf.started.astimezone(UTC).isoformat(),
        "invocation_end_time": outcome.ended.astimezone(UTC).isoformat() if outcome.ended else None,
        "verification": verdict(findings).name,
        "verification_findings": [str(finding) for finding in findings],
        "executed_command": shown,
        "command_output_files": output_files if words else [],
        **_parameters(plan),
        **_paths(plan, leaf, words),
        **_machines(system),
        "timeseries_data": timeseries,
        "datagen_manifest_file": str(generated) if generated and generated.exists() else None,
        "debug": request.args.debug,
        "args": shown_arguments(request.args),
    }


def _parameters(plan: Plan) -> dict[str, Any]:
    """Return the workload before and after the overrides, and these, by the names of both generations."""
    folder = plan.request.data_folder
    overridden = {override.key: _shown(override) for override in plan.overrides}
    location = [Override.of("dataset.data_folder", str(folder))] if folder else []
    return {
        "yaml_params": redacted(plan.base),
        "combined_params": redacted(plan.effective),
        "params_dict": {key: _as_text(plan, key) for key in overridden}
        | {override.key: override.text for override in location},
        "parameters": redacted(merged(plan.effective, location)),
        "override_parameters": {override.key: _shown(override) for override in plan.judged},
        "overrides_from_data_set": {override.key: _shown(override) for override in plan.taken_over},
    }


def _as_text(plan: Plan, key: str) -> str:
    """Return the text of the last override of ``key``."""
    return REDACTED if is_secret(key) else next(o.text for o in reversed(plan.overrides) if o.key == key)


def _shown(override: Override) -> Any:
    return REDACTED if override.secret else redacted(override.value)


def _paths(plan: Plan, leaf: Leaf, words: Sequence[str]) -> dict[str, Any]:
    """Return where things are, by the names of the older generation."""
    engine = next((word for word in words if os.path.basename(word) == launching.ENGINE), launching.ENGINE)
    return {
        "run_result_output": str(leaf.path),
        "metadata_filename": leaf.metadata_path.name,
        "metadata_file_path": str(leaf.metadata_path),
        "_config_name": plan.request.workload,
        "config_file": f"{plan.request.workload}.yaml",
        "config_path": str(CONFIG_DIR),
        "base_command": launching.ENGINE,
        "base_path": os.path.dirname(engine),
        "base_command_path": engine,
    }


def _machines(system: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the hosts are, by the names of both generations."""
    return {
        "system_info": dict(system),
        "cluster_information": dict(system),
        "cluster_snapshots": {"start": dict(system), "end": None, "collection_method": system["collection_method"]},
        "per_host_mem_kB": system["max_memory_bytes"] // 1024,
        "total_mem_kB": system["total_memory_bytes"] // 1024,
    }


def redacted(value: Any) -> Any:
    """Return ``value`` with the values of all secret keys in it replaced."""
    if isinstance(value, Mapping):
        return {key: REDACTED if is_secret(str(key)) else redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def shown_command(words: Sequence[str]) -> str:
    """Return ``words`` as one line for people, without secret values."""
    return shlex.join(_shown_word(word) for word in words)


def _shown_word(word: str) -> str:
    key, equals, _ = word.partition("=")
    return f"{key}={REDACTED}" if equals and word.startswith(PREFIX) and is_secret(key) else word
