"""Durations of emulated work: a number of seconds, or a law that numbers are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dlio_benchmark.errors import shown


class Dice(Protocol):
    """The part of `numpy.random.Generator` that durations need."""

    def normal(self, mean: float, stdev: float, /) -> float: ...
    def uniform(self, low: float, high: float, /) -> float: ...
    def gamma(self, shape: float, scale: float, /) -> float: ...
    def exponential(self, scale: float, /) -> float: ...
    def poisson(self, lam: float, /) -> float: ...


@dataclass(frozen=True, slots=True)
class Duration:
    """A law of durations in seconds with its parameters in the order of `LAWS`."""

    law: str = "constant"
    parameters: tuple[float, ...] = (0.0,)

    @property
    def mean(self) -> float:
        """Expected seconds."""
        return _MEANS[self.law](*self.parameters)

    @property
    def is_zero(self) -> bool:
        """Whether every draw is zero."""
        return self.law == "constant" and self.parameters[0] == 0.0

    def draw(self, dice: Dice) -> float:
        """Return one duration in seconds, never negative."""
        if self.law == "constant":
            return self.parameters[0]
        return abs(float(getattr(dice, self.law)(*self.parameters)))


LAWS: Mapping[str, tuple[str, ...]] = {
    "constant": ("mean",),
    "normal": ("mean", "stdev"),
    "uniform": ("min", "max"),
    "gamma": ("shape", "scale"),
    "exponential": ("scale",),
    "poisson": ("lam",),
}

_MOST_SECONDS = 1e9

_MEANS: Mapping[str, Callable[..., float]] = {
    "constant": float,
    "normal": lambda mean, _stdev: float(mean),
    "uniform": lambda low, high: (low + high) / 2,
    "gamma": lambda shape, scale: float(shape * scale),
    "exponential": float,
    "poisson": float,
}


def duration_of(value: Any) -> Duration:
    """Return the duration that a number or a mapping describes; {mean, stdev} is a normal law.

    Raises:
        ValueError: saying what is wrong with the value.
    """
    if isinstance(value, Duration):
        return value
    if isinstance(value, Mapping):
        return _law_of(value)
    return Duration("constant", (_seconds("value", value),))


def _law_of(value: Mapping[str, Any]) -> Duration:
    law = str(value.get("type", "normal" if "stdev" in value else "constant"))
    if law not in LAWS:
        msg = f"unknown type {shown(law)}; one of {', '.join(LAWS)}"
        raise ValueError(msg)
    wanted = LAWS[law]
    unknown = sorted(map(str, set(value) - {"type", *wanted}))
    missing = [name for name in wanted if name not in value]
    if unknown or missing:
        msg = f"type {law!r} takes {', '.join(wanted)}"
        msg += f"; unknown: {', '.join(unknown)}" if unknown else ""
        msg += f"; missing: {', '.join(missing)}" if missing else ""
        raise ValueError(msg)
    parameters = tuple(_seconds(name, value[name]) for name in wanted)
    if law == "uniform" and parameters[0] > parameters[1]:
        msg = f"min must be at most max, got {parameters[0]:g} and {parameters[1]:g}"
        raise ValueError(msg)
    return Duration(law, parameters)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_SECONDS:
        msg = f"{name} must be a number from 0 to {_MOST_SECONDS:g}, got {shown(value)}"
        raise ValueError(msg)
    return value
