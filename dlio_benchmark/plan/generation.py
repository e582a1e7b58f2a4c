"""Which process writes which file, and what is known of a file before and after it is written."""

from __future__ import annotations

from dataclasses import dataclass

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.plan.world import World


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to write.

    ``index`` is the number of the logical file in its split, from which the values follow.  With ``partition``, a
    column and a code, the file holds the ``rows`` rows of the logical file whose code of that column it is.
    """

    split: DatasetType
    index: int
    path: str
    rows: int
    partition: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A file that is whole, under its final name.

    ``bytes`` counts the whole file, ``footer_bytes`` its metadata without the 8 bytes behind them.  ``digest`` is the
    xxh3_128 of the whole file and ``footer_digest`` that of its last ``footer_bytes + 8`` bytes, both in hexadecimal.
    """

    path: str
    rows: int
    bytes: int
    footer_bytes: int
    row_groups: int
    digest: str
    footer_digest: str


def written_by(files: int, world: World) -> range:
    """Return the numbers of the files that this process generates: every ``world.size``-th."""
    return range(world.rank, files, world.size)
