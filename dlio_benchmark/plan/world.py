"""This process among others: apart from the plans, for it is needed where nothing heavy is loaded yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class World:
    """This process among ``size`` processes."""

    rank: int = 0
    size: int = 1
