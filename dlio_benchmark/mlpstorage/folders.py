"""Folders as the user names them, made absolute: nothing below a command has to know where it was started."""

from __future__ import annotations

import os
from pathlib import Path


def absolute(path: str | Path) -> Path:
    """Return ``path`` absolute and without ``..``, which the engine refuses.

    Links stay as they are named, except where a ``..`` follows one: there the kernel goes up from where it leads to.
    """
    plain = os.path.abspath(path)
    real = os.path.realpath(path)
    return Path(plain if os.path.realpath(plain) == real else real)
