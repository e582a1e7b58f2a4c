"""The reference of all keys, made from their declarations: as a page, and as plain lines for a terminal."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.fields import Key, declaration, section_type
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.config.rules import CODECS, LEVELS, LOADERS

_KINDS: Mapping[Any, str] = {
    bool: "yes or no",
    int: "whole number",
    float: "number",
    str: "text",
    Duration: "duration",
    Column: "column",
}

_HEAD = """\
# Configuration reference

Every key that a workload may have, below `workload`. The page is made from the declarations in
`dlio_benchmark/config/model.py` by `python -m dlio_benchmark.config.reference`.

- An unknown value is an error that names the key, the value and what is allowed. An unknown key is a warning with the
  nearest name, and an error under `--strict` or when it was typed on the command line.
- `data_reader` is another name of `reader`; if both are there, `data_reader` counts.
- A *duration* is a number of seconds, or a law: `{mean, stdev}`, `{type: normal, mean, stdev}`,
  `{type: uniform, min, max}`, `{type: gamma, shape, scale}`, `{type: exponential, scale}`, `{type: poisson, lam}`.
- Keys marked *shapes data* are part of what the files are: a data set made with another value is refused.
- Keys marked *no effect* are understood, because workloads of the field have them, but change nothing here.
"""


def page() -> str:
    """Return the reference as a Markdown page."""
    lines = [_HEAD + _offers()]
    for title, section in _sections(Workload, "workload"):
        lines += [f"## {title}", "", (section.__doc__ or "").strip(), ""]
        lines += ["| key | takes | default | meaning |", "|---|---|---|---|"]
        lines += [_row(field, typing.get_type_hints(section)[field.name]) for field in _keys(section)]
        lines.append("")
    return "\n".join(lines)


def _offers() -> str:
    codecs = ", ".join(f"{kind} ({', '.join(map(str, some))})" for kind, some in CODECS.items())
    levels = ", ".join(f"{codec} {low} to {high}" for codec, (low, high) in LEVELS.items())
    return f"""\
- Of the words that the field knows, these are offered here. Formats, with their codecs: {codecs}.
  Levels: {levels}. Loaders: {", ".join(map(str, LOADERS))}.
"""


def listing() -> str:
    """Return one line per key: name, default, meaning."""
    rows = [
        (f"{title}.{field.name}", shown(field.default), _meaning(field))
        for title, section in _sections(Workload, "workload")
        for field in _keys(section)
    ]
    width = max(len(name) for name, _, _ in rows)
    return "".join(f"{name:{width}}  {default:>14}  {meaning}\n" for name, default, meaning in rows)


def shown(default: Any) -> str:
    """Return a default value as a user would write it."""
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, tuple):
        return "[]"
    return f"{default.mean:g}" if isinstance(default, Duration) else str(default)


def _sections(section: type, title: str) -> Iterator[tuple[str, type]]:
    yield title, section
    for field in dataclasses.fields(section):
        nested = section_type(field)
        if nested is not None:
            yield from _sections(nested, f"{title}.{field.name}")
        elif field.name == "columns":
            yield f"{title}.columns[]", Column


def _keys(section: type) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(section) if section_type(field) is None]


def _row(field: dataclasses.Field[Any], hint: Any) -> str:
    return f"| `{field.name}` | {_takes(hint, declaration(field))} | `{shown(field.default)}` | {_meaning(field)} |"


def _takes(hint: Any, key: Key) -> str:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = next(arg for arg in typing.get_args(hint) if arg is not type(None))
        return f"{_takes(inner, key)}, or none"
    if typing.get_origin(hint) is tuple:
        return f"list: {_takes(typing.get_args(hint)[0], key)}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(f"`{member.value}`" for member in hint)
    kind = _KINDS.get(hint, "mapping")
    unit = f" of {key.unit}" if key.unit and kind != "duration" else ""
    return f"{kind}{unit}{_range(key)}"


def _range(key: Key) -> str:
    if key.least is not None and key.most is not None:
        return f" from {key.least:g} to {key.most:g}"
    if key.least is not None:
        return f", at least {key.least:g}"
    return f", at most {key.most:g}" if key.most is not None else ""


def _meaning(field: dataclasses.Field[Any]) -> str:
    key = declaration(field)
    marks = [*(["shapes data"] if key.shapes_data else []), *([] if key.offered else ["no effect"])]
    return f"{key.doc} ({', '.join(marks)})" if marks else key.doc


if __name__ == "__main__":
    sys.stdout.write(page())
