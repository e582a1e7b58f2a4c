"""Wrong readers: each does one thing wrong and everything else as the product's reader does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.reader.base import Reader
from dlio_benchmark.storage.base import Storage
from verification.saboteurs.readers_of_bytes import (
    CachesFromEpoch2,
    CountsUnreadBytes,
    JoinsAllRowGroups,
    PreBuffers,
    ReadsAllColumns,
    ReadsBeforeTheClock,
    ReadsWholeFile,
    ReportsPlannedForRead,
)
from verification.saboteurs.readers_of_rows import ALTERING, LeaksOpenFiles, VerifiesNoChecksums
from verification.saboteurs.readers_of_schemas import (
    ChecksOnlyTheFirstFile,
    NamesOnlyTheFirst,
    SkipsTheSchemaCheck,
    VagueSchemaError,
)
from verification.saboteurs.wrong_reader import Columns

READERS: Mapping[str, Callable[[Storage, Columns, ReadMode], Reader]] = {
    "reads-all-columns-then-selects": ReadsAllColumns,
    "counts-unread-bytes": CountsUnreadBytes,
    "caches-from-epoch-2": CachesFromEpoch2,
    "reads-before-the-clock-starts": ReadsBeforeTheClock,
    "reports-planned-for-read": ReportsPlannedForRead,
    "pre-buffers-the-file": PreBuffers,
    "joins-all-row-groups": JoinsAllRowGroups,
    "reads-whole-file-in-row-group-mode": ReadsWholeFile,
    "checksums-not-verified": VerifiesNoChecksums,
    "leaks-open-files": LeaksOpenFiles,
    "skips-the-schema-check": SkipsTheSchemaCheck,
    "checks-only-the-first-file": ChecksOnlyTheFirstFile,
    "vague-schema-error": VagueSchemaError,
    "names-only-the-first-missing-column": NamesOnlyTheFirst,
    **ALTERING,
}
