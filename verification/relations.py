"""Relations between runs that must hold whatever the data: the checks of properties without a model.

Each function returns a sentence that says what is wrong, or nothing; assert that it is empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
V = TypeVar("V")


def same_multiset(found: Iterable[T], expected: Iterable[T]) -> str:
    """Compare two collections without regard to order: batch size, threads and mode must not change the samples."""
    have, want = Counter(found), Counter(expected)
    return _said(missing=want - have, extra=have - want)


def partition(parts: Sequence[Iterable[T]], whole: Iterable[T], *, left_out: int = 0) -> str:
    """See that ``parts`` are disjoint and cover ``whole`` but for ``left_out`` items: N ranks share an epoch."""
    counts = Counter(item for part in parts for item in part)
    want = Counter(whole)
    twice = {item: count for item, count in counts.items() if count > want[item]}
    if twice:
        return _said(missing=Counter(), extra=Counter(twice))
    missing = want - counts
    return "" if missing.total() == left_out else f"{missing.total()} left out, {left_out} allowed: {_few(missing)}"


def unchanged(change: str, before: V, after: V) -> str:
    """See that ``change`` left a value alone: codec, row-group size, writer must not change what is read."""
    return "" if before == after else f"{change} changed {before!r} into {after!r}"


def proportional(change: str, before: float, after: float, *, factor: float, tolerance: float) -> str:
    """See that ``after`` is ``factor`` times ``before`` but for a share of ``tolerance``: twice the rows and bytes."""
    wanted = before * factor
    off = abs(after - wanted)
    return "" if off <= tolerance * abs(wanted) else f"{change}: {before:,} became {after:,}, expected {wanted:,.0f}"


def fixed_point(step: Callable[[V], V], start: V) -> str:
    """See that ``step`` changes nothing the second time: write, read, write."""
    once = step(start)
    twice = step(once)
    return "" if once == twice else f"the second round changed {once!r} into {twice!r}"


def resumed(whole: Sequence[T], head: Sequence[T], tail: Sequence[T]) -> str:
    """See that an interrupted run and its continuation are the uninterrupted one."""
    joined = [*head, *tail]
    for index, (one, other) in enumerate(zip(joined, whole, strict=False)):
        if one != other:
            return f"item {index} is {one!r} after resuming, {other!r} without the interruption"
    return "" if len(joined) == len(whole) else f"{len(joined)} items after resuming, {len(whole)} without"


def equal_by_form(forms: Mapping[str, V]) -> str:
    """See that all ways of saying the same thing give the same value: nested section, flat keys, command line."""
    if not forms:
        return "nothing was compared"
    (first, value), *others = forms.items()
    differing = [f"{name} gives {other!r}" for name, other in others if other != value]
    return "; ".join([f"{first} gives {value!r}", *differing]) if differing else ""


def _said(*, missing: Counter[T], extra: Counter[T]) -> str:
    parts = [f"{missing.total()} missing: {_few(missing)}"] if missing else []
    parts += [f"{extra.total()} too many: {_few(extra)}"] if extra else []
    return "; ".join(parts)


def _few(items: Counter[T]) -> str:
    return ", ".join(f"{item!r} x{count}" for item, count in items.most_common(5))
