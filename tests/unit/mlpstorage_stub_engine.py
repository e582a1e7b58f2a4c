"""A stand-in for the engine: reads the line it is launched by, leaves the files that it owes.

The environment steers it: STUB_EXIT is its exit code, STUB_OMIT a file it does not write, STUB_INCOMPLETE
makes its summary say so, STUB_WAIT makes it start a child and wait, both ignoring gentle signals.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    return value.text if isinstance(value, QuotedString) else value


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        tree = tree.setdefault(name, {})
    tree[last] = value


def main() -> int:
    words = [word for word in sys.argv[1:] if not word.startswith("--config-dir=")]
    (config_dir,) = (word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--config-dir="))
    overrides = OverridesParser.create().parse_overrides(words)
    values = {override.key_or_group: plain(override.value()) for override in overrides}
    workload = yaml.safe_load((Path(config_dir) / "workload" / f"{values['workload']}.yaml").read_text())
    for key, value in values.items():
        if key.startswith("workload."):
            put(workload, key.removeprefix("workload."), value)
    leaf = Path(values["hydra.run.dir"])
    config = leaf / values["hydra.output_subdir"]
    config.mkdir(parents=True)
    (leaf / "argv.json").write_text(json.dumps(sys.argv))
    (config / "config.yaml").write_text(yaml.safe_dump({"workload": workload}))
    (config / "overrides.yaml").write_text(yaml.safe_dump([word for word in words if not word.startswith("++hydra")]))
    (config / "hydra.yaml").write_text("hydra: {}\n")
    (leaf / "dlio.log").write_text("[OUTPUT] stub\n")
    print("[OUTPUT] to stdout")
    print("[OUTPUT] to stderr, secret hunter22", file=sys.stderr, flush=True)
    if workload["workflow"]["generate_data"]:
        folder = Path(workload["dataset"]["data_folder"]) / "train"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"img_0_of_1.{workload['dataset']['format']}").write_text("data")
    if workload["workflow"]["train"]:
        results(leaf)
    if "STUB_OMIT" in os.environ:
        (leaf / os.environ["STUB_OMIT"]).unlink()
    if "STUB_WAIT" in os.environ:
        wait(leaf)
    return int(os.environ.get("STUB_EXIT", "0"))


def results(leaf: Path) -> None:
    complete = "STUB_INCOMPLETE" not in os.environ
    summary = {
        "start": "2026-01-01T00:00:00.000000",
        "end": "2026-01-01T00:01:00.000000",
        "num_accelerators": 1,
        "num_hosts": 1,
        "host_memory_GB": [8.0],
        "host_cpu_count": [2],
        "metric": {
            "train_au_mean_percentage": 97.5,
            "train_au_meet_expectation": "success",
            "train_au_percentage": [97.0, 98.0],
            "train_throughput_mean_samples_per_second": 12.25,
        },
        "dlio": {"complete": complete, "problems": [] if complete else ["no step was executed"]},
    }
    (leaf / "summary.json").write_text(json.dumps(summary))
    (leaf / "0_output.json").write_text("{}")
    (leaf / "0_per_epoch_stats.json").write_text("{}")


def wait(leaf: Path) -> None:
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    child = subprocess.Popen([sys.executable, "-c", ignoring + "time.sleep(60)"], start_new_session=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (leaf / "waiting").write_text(str(child.pid))
    time.sleep(60)


if __name__ == "__main__":
    sys.exit(main())
