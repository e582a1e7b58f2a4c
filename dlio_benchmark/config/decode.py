"""From a mapping to a `Workload`: every problem of the input is found, and all are reported at once.

An unknown value is an error.  An unknown key is a warning with the nearest known key, or an error in strict mode;
keys that foreign files are known to carry pass in silence.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any

from dlio_benchmark.common.enumerations import Shuffle
from dlio_benchmark.config.duration import Duration, duration_of
from dlio_benchmark.config.fields import Key, declaration, declared, section_type
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.config.rules import OFFERED, broken_rules, overlap
from dlio_benchmark.errors import ConfigError, Issue, shown

# Keys without meaning here that files in circulation carry; a trailing dot passes a whole section.
FOREIGN_KEYS = frozenset(
    {
        "logging.",
        "workflow.debug",
        "dataset.record_element_bytes",
        "dataset.total_disk_bytes",
        "dataset.parquet.use_s3dlio_gen",
        "dataset.parquet.memory_map",
        "dataset.parquet.use_threads",
        "dataset.parquet.metadata_cache",
        "dataset.parquet.row_group_cache_size",
        "checkpoint.model_size",
        "storage.s3_force_path_style",
        "storage.s3_max_attempts",
    }
)

# Sections that say how to do what is not done unless another key asks for it, and keys of other formats and
# frameworks that published workloads carry.
MOOT = (
    "model.",
    "checkpoint.",
    "profiling.",
    "dataset.hdf5.",
    "dataset.record_length_bytes_resize",
    "reader.computation_threads",
    "reader.shuffle_size",
    "reader.transfer_size",
)
STORAGE_OPTIONS = ("columns",)

OLD_NAMES = (
    ("dataset", "record_length", "record_length_bytes"),
    ("dataset", "record_length_stdev", "record_length_bytes_stdev"),
    ("dataset", "record_length_resize", "record_length_bytes_resize"),
    ("model", "model_size", "model_size_bytes"),
)

_OLD_SPREADS = (
    ("reader", "preprocess_time", "preprocess_time_stdev"),
    ("train", "computation_time", "computation_time_stdev"),
    ("evaluation", "eval_time", "eval_time_stdev"),
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A valid workload, and what its author should hear about: keys that are unknown, old, or without effect."""

    workload: Workload
    warnings: tuple[Issue, ...] = ()


@dataclass(slots=True)
class _Findings:
    """What is wrong, which keys are unknown, and what is only worth saying."""

    issues: list[Issue] = field(default_factory=list)
    unknown: list[Issue] = field(default_factory=list)
    notes: list[Issue] = field(default_factory=list)

    def wrong(self, where: str, what: str) -> None:
        self.issues.append(Issue(where, what))


def decode(tree: Any, *, strict: bool = False, typed: Collection[str] = ()) -> Decoded:
    """Return the workload that ``tree`` (the content of ``workload``, plain containers) describes.

    Args:
        tree: a mapping; anything else is refused.
        strict: whether every unknown key is an error.
        typed: dotted keys that a person typed for this run; an unknown one among them is always an error.

    Raises:
        ConfigError: naming every invalid value, and the unknown keys that are errors.
    """
    found = _Findings()
    if not isinstance(tree, Mapping):
        raise ConfigError([Issue("workload", f"must be a mapping of keys, got {shown(tree)}")])
    workload = _section(Workload, _in_todays_words(tree, found), "", found)
    found.issues.extend(broken_rules(workload, [issue.where for issue in found.issues]))
    issues, unknown = found.issues, found.unknown
    if "data_reader" in tree:
        issues, unknown = _as_data_reader(issues), _as_data_reader(unknown)
        if "reader" in tree:
            unknown.append(Issue("reader", "ignored, because data_reader is there too; keep one of them"))
    issues += [issue for issue in unknown if strict or any(overlap(issue.where, name) for name in typed)]
    if issues:
        raise ConfigError(issues)
    return Decoded(workload, (*unknown, *found.notes, *_without_effect(workload)))


def _without_effect(workload: Workload) -> list[Issue]:
    """Return the keys that ask for something which is not offered here, and has no switch that is refused."""
    asked = [path for path, usual in _idle() if at(workload, path) != usual]
    options = [name for name in workload.storage.storage_options or {} if name not in STORAGE_OPTIONS]
    return [Issue(path, "has no effect here") for path in (*asked, *(f"storage.storage_options.{n}" for n in options))]


@cache
def _idle() -> tuple[tuple[str, Any], ...]:
    """Return the keys without effect that are worth a word, each with its default."""
    keys = ((path, key) for path, _, key in declared(Workload) if not path.startswith(MOOT))
    return tuple((path, at(Workload(), path)) for path, key in keys if not key.offered)


def decode_given(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every key that ``tree`` gives, by dotted path; rules between keys are not applied.

    Raises:
        ConfigError: naming every value that is not one of its key.
    """
    found = _Findings()
    given = _in_todays_words(tree, found)
    workload = _section(Workload, given, "", found)
    if found.issues:
        raise ConfigError(found.issues)
    return {path: at(workload, path) for path in _places() if path.partition(".")[0] in given and _gives(given, path)}


def at(workload: Workload, path: str) -> Any:
    """Return the value that stands at a dotted path."""
    return _getter(path)(workload)


_getter = cache(attrgetter)


def _gives(tree: Any, path: str) -> bool:
    name, _, rest = path.partition(".")
    return isinstance(tree, Mapping) and name in tree and (not rest or _gives(tree[name], rest))


def _as_data_reader(issues: Sequence[Issue]) -> list[Issue]:
    return [Issue(f"data_{one.where}" if overlap("reader", one.where) else one.where, one.what) for one in issues]


def _in_todays_words(tree: Mapping[str, Any], found: _Findings) -> dict[str, Any]:
    out = dict(tree)
    if "data_reader" in out:
        out["reader"] = out.pop("data_reader")
    for section, old, new in OLD_NAMES:
        values = out.get(section)
        if isinstance(values, Mapping) and old in values:
            found.notes.append(Issue(f"{section}.{old}", f"an old name; it is called {new!r} today"))
            out[section] = {new: values[old]} | {name: value for name, value in values.items() if name != old}
    for section, mean, stdev in _OLD_SPREADS:
        values = out.get(section)
        if not isinstance(values, Mapping) or isinstance(values.get(mean), Mapping):
            continue
        if values.get(stdev) not in (None, "None"):
            centre = 0.0 if values.get(mean) is None else values[mean]
            out[section] = {**values, mean: {"mean": centre, "stdev": values[stdev]}}
    return out


@cache
def _hints(section: type) -> dict[str, Any]:
    return typing.get_type_hints(section)


def _section(section: type, tree: Any, path: str, found: _Findings) -> Any:
    if tree is None:
        return section()
    if not isinstance(tree, Mapping):
        found.wrong(path.rstrip("."), f"must be a mapping of keys, got {shown(tree)}")
        return section()
    known = {f.name: f for f in dataclasses.fields(section)}
    for name in tree:
        if name not in known:
            _unknown(path, name, list(known), found)
    values = {}
    for name in (name for name in tree if name in known):
        nested = section_type(known[name])
        if nested is not None:
            values[name] = _section(nested, tree[name], f"{path}{name}.", found)
        else:
            values[name] = _value(_hints(section)[name], tree[name], f"{path}{name}", declaration(known[name]), found)
    return section(**{name: value for name, value in values.items() if value is not _BAD})


def _unknown(section: str, name: Any, known: Sequence[str], found: _Findings) -> None:
    word = name if isinstance(name, str) and name.isprintable() else shown(name)
    path = f"{section}{word}"
    if path in FOREIGN_KEYS or f"{path}." in FOREIGN_KEYS:
        return
    near = [other for other in _places() if other.endswith(f".{word}")]
    near += difflib.get_close_matches(word, known, 1, 0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
    found.unknown.append(Issue(path, f"unknown key; {hint}"))


@cache
def _places() -> tuple[str, ...]:
    return tuple(path for path, _, _ in declared(Workload))


_BAD = object()
_MOST = 2**63 - 1
_DIGITS = re.compile(r"[+-]?[0-9]{1,19}")


class _WrongError(Exception):
    """Says what a value must be."""


def _value(hint: Any, value: Any, path: str, key: Key, found: _Findings) -> Any:
    try:
        out = _converted(hint, value, path, found)
        _bounded(out, key)
    except _WrongError as wrong:
        found.wrong(path, f"{wrong}, got {shown(value)}")
        return _BAD
    except ValueError as wrong:
        found.wrong(path, str(wrong))
        return _BAD
    return out


def _bounded(value: Any, key: Key) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    unit = f" {key.unit}" if key.unit else ""
    if key.least is not None and value < key.least:
        raise _WrongError(f"must be at least {key.least:g}{unit}")
    if key.most is not None and value > key.most:
        raise _WrongError(f"must be at most {key.most:g}{unit}")


def _converted(hint: Any, value: Any, path: str, found: _Findings) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        inner = next(arg for arg in typing.get_args(hint) if arg is not type(None))
        return None if value is None or value == "None" else _converted(inner, value, path, found)
    if origin is tuple:
        return _items(typing.get_args(hint)[0], value, path, found)
    if hint is Column:
        return _column(value, path, found)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _word(hint, value)
    return _SIMPLE[origin or hint](value)


def _items(item: Any, value: Any, path: str, found: _Findings) -> tuple[Any, ...]:
    if item is str and isinstance(value, str):
        value = [value]
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise _WrongError("must be a list")
    out = [_value(item, one, f"{path}[{n}]", Key(""), found) for n, one in enumerate(value)]
    return tuple(one for one in out if one is not _BAD)


def _column(value: Any, path: str, found: _Findings) -> Any:
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        raise _WrongError("must be {name, dtype, size, read}, or a name")
    if "name" not in value:
        raise _WrongError("must have a name")
    return _section(Column, value, f"{path}.", found)


def _word(words: type[Enum], value: Any) -> Any:
    if words is Shuffle and value is False:  # YAML 1.1 reads a bare off as a boolean
        value = "off"
    text = str(value).strip().lower() if isinstance(value, str | Enum) else ""
    for member in words:
        if text == str(member.value).lower():
            return member
    offered = [str(member.value) for member in OFFERED.get(words, tuple(words))]
    near = difflib.get_close_matches(text, offered, 1, 0.6)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise _WrongError(f"must be one of {', '.join(offered)}{hint}")


def _bool(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    if value in (0, 1) and isinstance(value, int):
        return bool(value)
    raise _WrongError("must be true or false")


def _int(value: Any) -> int:
    number = int(value) if _whole(value) else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise _WrongError("must be a whole number")
    if not -_MOST <= number <= _MOST:
        raise _WrongError("must fit into 64 bits")
    return number


def _whole(value: Any) -> bool:
    """Whether ``value`` is written as 8.0, or as the text "8", which is what an environment variable gives."""
    return value.is_integer() if isinstance(value, float) else isinstance(value, str) and bool(_DIGITS.fullmatch(value))


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _WrongError("must be a number")
    if not -_MOST <= value <= _MOST:
        raise _WrongError("must be a finite number below 2**63")
    return value


def _str(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(_float(value))
    raise _WrongError("must be a text")


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return copy.deepcopy(dict(value))
    # options may hold secrets, so the value is not shown
    msg = f"must be a mapping, got a value of type {type(value).__name__}"
    raise ValueError(msg)


_SIMPLE: Mapping[Any, Callable[[Any], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Duration: duration_of,
    Mapping: _mapping,
    typing.get_origin(Mapping[str, object]): _mapping,
}
