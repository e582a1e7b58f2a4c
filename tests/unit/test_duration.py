"""Durations: numbers and laws, drawn as seconds that are never negative."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.config.duration import LAWS, Duration, duration_of

seconds = st.floats(0, 1e3)


@st.composite
def laws(draw: st.DrawFn) -> dict[str, Any]:
    law = draw(st.sampled_from(sorted(LAWS)))
    values = [draw(seconds) for _ in LAWS[law]]
    return {"type": law, **dict(zip(LAWS[law], sorted(values) if law == "uniform" else values, strict=True))}


@given(value=seconds | st.integers(0, 1000))
def test_a_number_is_that_many_seconds(value: float) -> None:
    duration = duration_of(value)
    assert duration == duration_of({"mean": value})
    assert duration.draw(np.random.default_rng(0)) == duration.mean == value
    assert duration.is_zero == (value == 0)


@given(mean=seconds, stdev=seconds)
def test_a_mean_with_a_spread_is_a_normal_law(mean: float, stdev: float) -> None:
    expected = Duration("normal", (mean, stdev))
    assert duration_of({"mean": mean, "stdev": stdev}) == expected
    assert duration_of({"type": "normal", "mean": mean, "stdev": stdev}) == expected
    assert duration_of(expected) is expected


@given(law=laws(), seed=st.integers(0, 2**32))
def test_every_law_draws_finite_seconds_that_its_seed_repeats(law: dict[str, Any], seed: int) -> None:
    duration = duration_of(law)
    first, again = (duration.draw(np.random.default_rng(seed)) for _ in range(2))
    assert first == again >= 0
    assert math.isfinite(first)


@pytest.mark.parametrize(
    "law",
    [
        {"mean": 2.0},
        {"mean": 2.0, "stdev": 0.1},
        {"type": "uniform", "min": 1, "max": 3},
        {"type": "gamma", "shape": 4, "scale": 0.5},
        {"type": "exponential", "scale": 2},
        {"type": "poisson", "lam": 2},
    ],
)
def test_the_mean_of_many_draws_is_the_mean_of_the_law(law: dict[str, Any]) -> None:
    duration, dice = duration_of(law), np.random.default_rng(7)
    draws = [duration.draw(dice) for _ in range(4000)]
    assert duration.mean == 2.0
    assert np.mean(draws) == pytest.approx(2.0, abs=5 * 2.0 / math.sqrt(4000))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1", "value must be a number from 0 to 1e+09, got '1'"),
        (-1, "got -1"),
        (True, "got True"),
        (None, "got None"),
        ([1], "got [1]"),
        (float("nan"), "got nan"),
        (float("inf"), "got inf"),
        (10**400, "got 1000"),
        ({"mean": "x"}, "mean must be a number"),
        ({"type": "weibull", "k": 1}, "unknown type 'weibull'; one of constant, normal, uniform, gamma"),
        ({"type": None}, "unknown type 'None'"),
        ({}, "type 'constant' takes mean; missing: mean"),
        ({"stdev": 1}, "type 'normal' takes mean, stdev; missing: mean"),
        ({"mean": 1, "sd": 1}, "unknown: sd"),
        ({"mean": 1, 5: 1, None: 2}, "unknown: 5, None"),
        ({"type": "uniform", "min": 3, "max": 1}, "min must be at most max, got 3 and 1"),
    ],
)
def test_anything_else_is_refused_with_its_reason(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        duration_of(value)
