"""Every declared key with the values that a user may write for it, and what they mean."""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import FormatType
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.fields import Key, declared, section_type
from dlio_benchmark.config.model import Column, Dataset, Workload

KEYS: Mapping[str, tuple[Any, Key]] = {}
Pair = tuple[Any, Any]  # as written, as decoded

PARQUET = Workload(dataset=Dataset(format=FormatType.PARQUET))


def _hints(section: type, prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        nested = section_type(field)
        if nested is None:
            out[f"{prefix}{field.name}"] = hints[field.name]
        else:
            out |= _hints(nested, f"{prefix}{field.name}.")
    return out


_ALL_HINTS = _hints(Workload)
KEYS = {path: (_ALL_HINTS[path], key) for path, _, key in declared(Workload)}


def section_of(path: str) -> str:
    """Return the section of a key."""
    return path.rpartition(".")[0]


SECTIONS = {section: list(paths) for section, paths in itertools.groupby(sorted(KEYS, key=section_of), section_of)}
"""The paths of the keys by their section: a test that draws for each key of one has fewer cases to set up."""


def without_none(hint: Any) -> Any:
    """Return the type of a key's value when it is not None."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def accepts_none(hint: Any) -> bool:
    """Return whether a key may be None."""
    return without_none(hint) is not hint


def is_words(hint: Any) -> bool:
    """Return whether a key takes one word of a closed vocabulary."""
    inner = without_none(hint)
    return isinstance(inner, type) and issubclass(inner, Enum)


def nested(path: str, value: Any, root: str = "parquet") -> dict[str, Any]:
    """Return a tree whose only other key is the format ``root``, with ``value`` at ``path``."""
    tree: dict[str, Any] = {"dataset": {"format": root}}
    put(tree, path, value)
    return tree


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set ``value`` at the dotted ``path`` of ``tree``."""
    *sections, name = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


def replaced(value: Any, path: str, new: Any) -> Any:
    """Return a section with ``new`` at the dotted ``path``."""
    name, _, rest = path.partition(".")
    return dataclasses.replace(value, **{name: replaced(getattr(value, name), rest, new) if rest else new})


def at(value: Any, path: str) -> Any:
    """Return what stands at the dotted ``path`` of a section."""
    for name in path.split("."):
        value = getattr(value, name)
    return value


def plain(value: Any) -> Any:
    """Return a decoded value as a user would write it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, Column):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Duration):
        return value.parameters[0]
    return value


words = st.text(st.characters(categories=["L", "N"], include_characters="_- "), min_size=1, max_size=20)


def columns() -> st.SearchStrategy[Column]:
    """Draw valid columns; names may repeat between draws."""
    kinds = typing.get_type_hints(Column)["dtype"]
    return st.builds(Column, words, st.sampled_from(kinds), st.integers(1, 4096), st.booleans())


def _numbers(hint: Any, key: Key) -> st.SearchStrategy[Pair]:
    least = -(10**6) if key.least is None else key.least
    most = 10**9 if key.most is None else key.most
    if hint is int:
        return st.integers(int(least), int(most)).flatmap(lambda n: st.sampled_from([(n, n), (float(n), n)]))
    return st.floats(least, most, allow_nan=False).map(lambda x: (x, x))


def _booleans() -> st.SearchStrategy[Pair]:
    spelled = {True: [True, "true", "True", "yes", "on", 1], False: [False, "false", "no", "OFF", 0]}
    return st.sampled_from([(raw, value) for value, forms in spelled.items() for raw in forms])


def pairs(hint: Any, key: Key) -> st.SearchStrategy[Pair]:
    """Draw (as written, as decoded) for a key of this type and declaration."""
    inner = without_none(hint)
    if accepts_none(hint):
        return st.sampled_from([(None, None), ("None", None)]) | pairs(inner, key)
    if is_words(inner):
        return st.sampled_from([(raw, m) for m in inner for raw in (m.value, m.value.upper(), m)])
    if typing.get_origin(inner) is tuple:
        item = typing.get_args(inner)[0]
        items = columns().map(lambda c: (plain(c), c)) if item is Column else pairs(item, Key(""))
        return st.lists(items, max_size=4).map(lambda got: ([raw for raw, _ in got], tuple(value for _, value in got)))
    simple: dict[Any, st.SearchStrategy[Pair]] = {
        bool: _booleans(),
        str: words.filter(lambda word: word != "None").map(lambda word: (word, word)),
        Duration: st.floats(0, 1e3).map(lambda s: (s, Duration("constant", (s,)))),
    }
    if inner in (int, float):
        return _numbers(inner, key)
    options = st.dictionaries(words, words, max_size=3).map(lambda written: (written, written))
    return simple.get(inner, options)
