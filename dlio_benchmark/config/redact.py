"""Secrets kept out of everything that is written: by the key that holds them, and by value wherever they turn up.

A key is secret by its name; its value never leaves in a tree.  The values of secret keys and of secret variables of the
environment are also looked for in text, as they are and as messages quote them.  What stands before the ``@`` of a URL
is always hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from dlio_benchmark.errors import shown

HIDDEN = "****"
_LEAST = 6  # shorter values are words and numbers that stand everywhere
_PARTS = (
    *("secret", "token", "passw", "passphrase", "credential", "accesskey", "apikey", "privatekey", "accountkey"),
    *("authorization", "connectionstring", "signature"),
)
_WORDS = frozenset({"pass", "pw", "pat", "psk", "auth", "sas"})
_HARMLESS = ("file", "path", "dir", "parallelism", "type", "expiration")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/\s@'\"]+|[^/\s@:'\"]*:[^\s@'\"]*)@")
_ASSIGNED = re.compile(r"([A-Za-z_][\w.\-]*)(['\"]?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;{}\[\]\"']+)")


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Return whether a key or a variable of this name holds a secret."""
    last = name.rpartition(".")[2].lower()
    words = re.split(r"[^a-z0-9]+", last)
    if words[-1] in _HARMLESS:
        return False
    plain = "".join(words)
    return any(part in plain for part in _PARTS) or not _WORDS.isdisjoint(words)


@dataclass(frozen=True, slots=True)
class Redactor:
    """Hides secrets; ``secrets`` are the values that are known, the longest first."""

    secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str], overrides: Iterable[str] = (), *trees: Any) -> Redactor:
        """Return what hides the secrets of an environment, of a command line and of configurations."""
        found = {value for name, value in environ.items() if is_secret(name)}
        found.update(value.strip("'\"") for text in overrides for name, value in _assigned(text) if is_secret(name))
        leaves = [leaf for tree in trees for leaf in _leaves(tree, secret=False)]
        found.update(value for value, secret in leaves if secret)
        found = {value for value in found if len(value) >= _LEAST and not _is_plain(value)}
        plain = cls(_longest_first(found))
        cut = {shown(value)[1:-1] for value, _ in leaves if len(value) > 100 and plain.text(value) != value}
        return cls(_longest_first({form for value in found for form in _forms(value)} | cut))

    def text(self, text: str) -> str:
        """Return a message without the secrets in it."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        text = _URL.sub(rf"\1{HIDDEN}@", text)
        return _ASSIGNED.sub(lambda match: _hidden(match, "="), text)

    def tree(self, tree: Any) -> Any:
        """Return plain containers without the secrets in them; keys and their order stay."""
        if tree is None or isinstance(tree, int | float):  # as almost all leaves of a result
            return tree
        if isinstance(tree, list | tuple):
            return [self.tree(one) for one in tree]
        if isinstance(tree, Mapping):
            return {name: self._value(name, value) for name, value in tree.items()}
        return _ASSIGNED.sub(lambda match: _hidden(match, "=:"), self.text(tree)) if isinstance(tree, str) else tree

    def _value(self, name: Any, value: Any) -> Any:
        if not is_secret(str(name)) or value is None or _is_reference(value):
            return self.tree(value)
        return HIDDEN


def _assigned(text: str) -> Iterator[tuple[str, str]]:
    for match in _ASSIGNED.finditer(text):
        yield match[1], match[3]
        if match[3][0] in "'\"":
            yield from _assigned(match[3][1:-1])


def _hidden(match: re.Match[str], signs: str) -> str:
    if is_secret(match[1]) and match[2].strip(" '\"") in signs and not _is_reference(match[3]):
        return f"{match[1]}{match[2]}{HIDDEN}"
    return match[0]


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\$\{[\w.:]+\}", value) is not None


def _leaves(tree: Any, *, secret: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _leaves(value, secret=secret or is_secret(str(name)))
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _leaves(value, secret=secret)
    elif tree is not None and not isinstance(tree, bool):
        yield str(tree), secret


def _is_plain(value: str) -> bool:
    return value.lower() in ("default", "disabled", "enabled", "required") or value.strip("+-0123456789.eE") == ""


def _forms(value: str) -> set[str]:
    return {value, repr(value)[1:-1], shown(value)[1:-1], json.dumps(value)[1:-1], quote(value, safe="")}


def _longest_first(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(values, key=lambda value: (-len(value), value)))
