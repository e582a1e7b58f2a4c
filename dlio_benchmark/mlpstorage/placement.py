"""Where ranks run: hosts with slots, and the ranks that each of them gets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dlio_benchmark.errors import UsageError, listed
from dlio_benchmark.mlpstorage.status import LaunchError

_HOST = re.compile(r"(?P<name>[A-Za-z0-9_][\w.-]*)(?::(?P<slots>[0-9]+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Host:
    """A host, and how many ranks it may take if that was said."""

    name: str
    slots: int | None = None

    def __str__(self) -> str:
        return self.name if self.slots is None else f"{self.name}:{self.slots}"


def parse_hosts(words: Iterable[str]) -> tuple[Host, ...]:
    """Return the hosts in ``words``, each a host, ``host:slots`` or several of them joined by commas.

    Raises:
        UsageError: naming every host that cannot be understood, or if there is none.
    """
    texts = [text for word in words for text in re.split(r"[,\s]+", word) if text]
    matches = [_HOST.fullmatch(text) for text in texts]
    issues = [f"'{text}'" for text, match in zip(texts, matches, strict=True) if not match or match["slots"] == "0"]
    if issues or not texts:
        raise UsageError(
            listed("--hosts: expected NAME or NAME:SLOTS with at least one slot", issues or ["none given"])
        )
    return tuple(
        Host(match["name"], int(match["slots"]) if match["slots"] else None) for match in matches if match is not None
    )


def place(hosts: Sequence[Host], ranks: int) -> tuple[tuple[str, int], ...]:
    """Return the hosts that get ranks, with their slots.

    Without slots the ranks are spread evenly and the first hosts get one more; with slots they are kept.

    Raises:
        LaunchError: if the slots are fewer than the ranks.
    """
    if all(host.slots is None for host in hosts):
        each, more = divmod(ranks, len(hosts))
        counts = [each + (index < more) for index in range(len(hosts))]
        return tuple((host.name, count) for host, count in zip(hosts, counts, strict=True) if count)
    slots = tuple((host.name, host.slots or 1) for host in hosts)
    total = sum(count for _, count in slots)
    if total < ranks:
        raise LaunchError(f"--hosts offer {total} slots, {ranks} ranks are asked for: add hosts or slots")
    return slots
