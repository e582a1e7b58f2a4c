"""What this host is, in the words of the results' metadata; where there is no /proc, what Python knows."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlio_benchmark.mlpstorage.sizing import memory_bytes

_MEMORY_FIELDS: Mapping[str, str] = {
    "total": "MemTotal",
    "available": "MemAvailable",
    "free": "MemFree",
    "active": "Active",
    "inactive": "Inactive",
    "buffers": "Buffers",
    "cached": "Cached",
    "shared": "Shmem",
}


def system_info(hosts: int, *, gib_per_host: float | None = None) -> dict[str, Any]:
    """Return memory, cores and number of the client hosts: measured here, and taken to be alike on the others.

    ``gib_per_host`` is the declared memory of a client host; the report judges a run by the total of it.
    """
    here = local_host()
    measured = int(here["memory"]["total"])
    declared = measured if gib_per_host is None else memory_bytes(gib_per_host, 1)
    return {
        "total_memory_bytes": measured * hosts if gib_per_host is None else memory_bytes(gib_per_host, hosts),
        "total_cores": int(here["cpu"]["num_logical_cores"]) * hosts,
        "num_hosts": hosts,
        "min_memory_bytes": declared,
        "max_memory_bytes": declared,
        "collection_method": "local_fallback" if gib_per_host is None else "args",
        "collection_timestamp": datetime.now(tz=UTC).isoformat(),
        "hosts": [here],
        "host_consistency_issues": [],
    }


def local_host() -> dict[str, Any]:
    """Return name, memory in bytes, processors, disks, networks and system of this host."""
    return {
        "hostname": platform.node(),
        "memory": _memory(),
        "cpu": _processors(),
        "disks": _names(Path("/sys/block")),
        "network": _names(Path("/sys/class/net")),
        "system": _system(),
    }


def _lines(path: str) -> list[str]:
    """Return the lines of a small system file; none where it cannot be read."""
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def _memory() -> dict[str, int]:
    sizes: dict[str, int] = {}
    for line in _lines("/proc/meminfo"):
        name, _, rest = line.partition(":")
        amount = rest.split()
        if amount and amount[0].isdecimal():
            sizes[name] = int(amount[0]) * 1024
    memory = {name: sizes.get(field, 0) for name, field in _MEMORY_FIELDS.items()}
    memory["used"] = max(0, memory["total"] - memory["available"])
    return memory


def _processors() -> dict[str, Any]:
    cores: set[tuple[str, str]] = set()
    model = platform.processor() or platform.machine()
    package = ""
    for line in _lines("/proc/cpuinfo"):
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "model name":
            model = value
        elif name == "physical id":
            package = value
        elif name == "core id":
            cores.add((package, value))
    logical = os.cpu_count() or 1
    return {
        "num_cores": len(cores) or logical,
        "num_logical_cores": logical,
        "model": model,
        "architecture": platform.machine(),
    }


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(entry.name for entry in folder.iterdir())
    return []


def _system() -> dict[str, Any]:
    uptime = next((line.split()[0] for line in _lines("/proc/uptime") if line), "0")
    release = dict(line.split("=", 1) for line in _lines("/etc/os-release") if "=" in line)
    load = next((line.split()[:3] for line in _lines("/proc/loadavg") if line), ["0", "0", "0"])
    return {
        "kernel_version": platform.release(),
        "os_release": release.get("PRETTY_NAME", platform.system()).strip('"'),
        "uptime_seconds": float(uptime),
        "load_average_1min": float(load[0]),
        "load_average_5min": float(load[1]),
        "load_average_15min": float(load[2]),
    }
