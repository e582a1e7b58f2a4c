"""A reader for workers of loaders; a module of its own, so that a worker loads little for it."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass

from dlio_benchmark.errors import StorageError
from dlio_benchmark.reader.null import NullFile, NullReader


@dataclass
class Fateful:
    """A reader for whom opening file 1 is an error that names the modules of the process, and file 2 its end."""

    decode: str = "none"

    def open(self, path: str) -> NullFile:
        if path == "1.parquet":
            raise StorageError(f"{path}: {' '.join(sys.modules)}")
        if path == "2.parquet":
            os.kill(os.getpid(), signal.SIGKILL)
        return NullReader(100_000, 10_000).open(path)
