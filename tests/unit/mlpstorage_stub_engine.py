"""A stand-in for the engine: reads the line it is launched by, leaves the files that it owes.

The environment steers it: STUB_EXIT is its exit code, STUB_OMIT a file it does not write, STUB_ENVIRON where it
writes its environment, STUB_INCOMPLETE makes its summary say so, STUB_WAIT makes it start a child and wait, both
ignoring gentle signals.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    values = {word.partition("=")[0]: word.partition("=")[2] for word in sys.argv[1:]}
    leaf = Path(values["++hydra.run.dir"])
    config = leaf / values["++hydra.output_subdir"]
    config.mkdir(parents=True)
    if "STUB_ENVIRON" in os.environ:
        Path(os.environ["STUB_ENVIRON"]).write_text(json.dumps(dict(os.environ)))
    (leaf / "argv.json").write_text(json.dumps(sys.argv))
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        (config / name).write_text("{}\n")
    (leaf / "dlio.log").write_text("[OUTPUT] stub\n")
    print("[OUTPUT] to stdout", flush=True)
    print("[OUTPUT] to stderr, secret hunter22", file=sys.stderr, flush=True)
    if values["workload"].endswith("_datagen"):
        folder = Path(values["++workload.dataset.data_folder"]) / "train"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "img_0_of_1.parquet").write_text("data")
    else:
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
