"""Files of strict JSON that are whole as soon as they have their names."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from dlio_benchmark.errors import CannotCreateError


def write_json(folder: str, name: str, value: Mapping[str, Any]) -> None:
    """Write a file of strict JSON that is whole as soon as it has its name.

    Raises:
        CannotCreateError: if it cannot be written.
    """
    path = os.path.join(folder, name)
    aside = f"{path}.{os.getpid()}.partial"
    try:
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=4, ensure_ascii=False, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        msg = f"{path}: cannot write the result: {error.strerror}"
        raise CannotCreateError(msg) from error
