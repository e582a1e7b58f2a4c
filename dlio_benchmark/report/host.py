"""Facts about this machine that results carry."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Host:
    """A machine as the result files describe it; memory in GiB although the field's name says GB."""

    hostname: str
    cpu_count: int
    processor: str
    memory_gib: float
    cpuinfo: dict[str, str]
    meminfo: dict[str, str]


def this_host() -> Host:
    """Return what /proc says of this machine."""
    meminfo = _pairs("/proc/meminfo")
    total_kib = int(meminfo.get("MemTotal", "0 kB").split()[0])
    cpuinfo = _pairs("/proc/cpuinfo")
    cpuinfo.pop("processor", None)
    processor = cpuinfo.get("model name", platform.processor())
    return Host(platform.node(), os.cpu_count() or 1, processor, total_kib / 2**20, cpuinfo, meminfo)


def peak_rss_bytes() -> int:
    """Return the largest resident size of this process so far; 0 where the kernel does not tell."""
    return int(_pairs("/proc/self/status").get("VmHWM", "0 kB").split()[0]) * 1024


def _pairs(path: str) -> dict[str, str]:
    out: dict[str, str] = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            name, colon, value = line.partition(":")
            if colon:
                out[name.strip()] = value.strip()
    return out
