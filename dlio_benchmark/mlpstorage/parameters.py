"""Overrides of a workload: ``KEY=VALUE`` as typed, with the value that the engine will read from it.

The engine reads overrides with Hydra's grammar, so the value is taken from Hydra's own parser.  A text
that the grammar cannot read as one value (``a=b``, ``x,y``) is quoted, so that it arrives as the text it is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlio_benchmark.errors import ConfigError, Issue, UsageError, listed

PREFIX = "++workload."
REDACTED = "***"

_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*", re.ASCII)
_SECRET_KEY = re.compile(r"secret|token|password|access_key", re.IGNORECASE)
_BARE = re.compile(r"[A-Za-z_/][\w/.:-]*", re.ASCII)
_WORDS_WITH_MEANING = {"null", "true", "false", "inf", "nan"}
_STRUCTURE = ("[", "{", "'", '"')


@dataclass(frozen=True, slots=True)
class Override:
    """One value given for a dotted key below ``workload``: the text as Hydra reads it, and its value."""

    key: str
    text: str
    value: Any

    @property
    def argument(self) -> str:
        """The override as one argument of the engine."""
        return f"{PREFIX}{self.key}={self.text}"

    @property
    def secret(self) -> bool:
        """Whether the value must not be shown."""
        return is_secret(self.key)

    @classmethod
    def of(cls, key: str, value: Any) -> Override:
        """Return the override that gives ``key`` this ``value``."""
        return cls(key, literal(value), value)


def is_secret(key: str) -> bool:
    """Return whether values of ``key`` must not be shown."""
    return _SECRET_KEY.search(key) is not None


def parse_params(tokens: Iterable[str]) -> tuple[Override, ...]:
    """Return one override per ``KEY=VALUE``, split at the first ``=``.

    Raises:
        UsageError: naming every token that is not ``KEY=VALUE``.
        ConfigError: naming every value whose brackets or quotes do not close.
    """
    malformed: list[str] = []
    unreadable: list[Issue] = []
    found: list[Override] = []
    for token in tokens:
        key, equals, text = token.partition("=")
        if not equals or not _KEY.fullmatch(key):
            malformed.append(f"'{key if is_secret(key) else token}': expected KEY=VALUE with a dotted key")
            continue
        override = _read(key, text)
        if override is None:
            shown = REDACTED if is_secret(key) else text
            unreadable.append(Issue(key, f"brackets or quotes of '{shown}' do not form one value"))
        else:
            found.append(override)
    if malformed:
        raise UsageError(listed("--params cannot be understood", malformed))
    if unreadable:
        raise ConfigError(unreadable, "--params hold values that cannot be read")
    return tuple(found)


def _read(key: str, text: str) -> Override | None:
    """Return the override of ``key`` by ``text``, or None if the text opens a structure it does not close."""
    try:
        return Override(key, text, _value_of(text))
    except ValueError:
        return None if text.lstrip().startswith(_STRUCTURE) else Override(key, quoted(text), text)


@functools.cache
def _parser() -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: PLC0415

    return OverridesParser.create()


def _value_of(text: str) -> Any:
    """Return the one value that Hydra reads from ``text``; ValueError if it reads none or several."""
    from hydra.core.override_parser.types import QuotedString  # noqa: PLC0415
    from hydra.errors import HydraException  # noqa: PLC0415

    try:
        override = _parser().parse_override(f"++k={text}")
    except HydraException as error:
        raise ValueError(text) from error
    if override.is_sweep_override():
        raise ValueError(text)
    value = override.value()
    return value.text if isinstance(value, QuotedString) else value


def quoted(text: str) -> str:
    """Return ``text`` as a quoted string of Hydra's grammar."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def literal(value: Any) -> str:
    """Return the text from which Hydra's grammar reads ``value``; keys of mappings must be plain names."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(literal(item) for item in value) + "]"
    text = str(value)
    return text if _BARE.fullmatch(text) and text.lower() not in _WORDS_WITH_MEANING else quoted(text)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of ``tree`` by dotted key; lists are leaves."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{key}."))
        else:
            flat[key] = value
    return flat


def merged(tree: Mapping[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """Return ``tree`` with every override applied in order, as new nested values."""
    result = {key: merged(value, ()) if isinstance(value, Mapping) else value for key, value in tree.items()}
    for override in overrides:
        *path, last = override.key.split(".")
        node = result
        for name in path:
            child = node.get(name)
            if not isinstance(child, dict):
                child = node[name] = {}
            node = child
        node[last] = override.value
    return result
