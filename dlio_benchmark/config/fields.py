"""How a configuration key is declared: once, with all that anybody needs to know about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

_KEY = "dlio_key"


@dataclass(frozen=True, slots=True)
class Key:
    """The declaration of one key.

    Attributes:
        doc: what the key means, in one line.
        unit: unit of a number, or empty.
        least, most: inclusive bounds of a number, or None.
        legacy: attribute name that outside callers of ``ConfigArguments`` use; empty means the key's own name.
        shapes_data: whether files generated with another value are different files.
        offered: False for a key that is understood but has no effect here.
    """

    doc: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    legacy: str = ""
    shapes_data: bool = False
    offered: bool = True


def key(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    legacy: str = "",
    shapes_data: bool = False,
    offered: bool = True,
) -> Any:
    """Return a dataclass field that declares a configuration key; arguments as in `Key`."""
    declared = Key(doc, unit, least, most, legacy, shapes_data, offered)
    return dataclasses.field(default=default, metadata={_KEY: declared})


def declaration(field: dataclasses.Field[Any]) -> Key:
    """Return the declaration of a key's field."""
    return field.metadata[_KEY]  # type: ignore[no-any-return]


@cache
def declared(section: type, prefix: str = "") -> Sequence[tuple[str, dataclasses.Field[Any], Key]]:
    """Return (dotted path, field, declaration) of every key below ``section``, nested sections included."""
    found: list[tuple[str, dataclasses.Field[Any], Key]] = []
    for field in dataclasses.fields(section):
        nested = section_type(field)
        if nested is not None:
            found += declared(nested, f"{prefix}{field.name}.")
        else:
            found.append((f"{prefix}{field.name}", field, declaration(field)))
    return tuple(found)


def section_type(field: dataclasses.Field[Any]) -> type | None:
    """Return the section class of a field that holds a section, or None for a plain key."""
    factory: object = field.default_factory
    return factory if isinstance(factory, type) and dataclasses.is_dataclass(factory) else None
