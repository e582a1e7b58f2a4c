"""Classes by name: ours from a table, others' from entry points; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dlio_benchmark.errors import ConfigError, Issue, shown


def _installed(group: str) -> Iterable[EntryPoint]:
    return entry_points(group=group)


@dataclass(frozen=True, slots=True)
class Registry:
    """The classes of one kind.

    Attributes:
        key: the configuration key that names one.
        group: entry-point group in which installed packages offer theirs.
        ours: name to ``module:Class``; these win over entry points of the same name.
        base: class that all of them derive from.
    """

    key: str
    group: str
    ours: Mapping[str, str]
    base: type
    installed: Callable[[str], Iterable[EntryPoint]] = _installed

    def names(self) -> list[str]:
        """Return the names that `load` accepts."""
        return sorted({*self.ours, *(point.name for point in self.installed(self.group))})

    def load(self, name: object) -> type[Any]:
        """Return the class called ``name``, a word or a member of an enumeration.

        Raises:
            ConfigError: if there is none, it cannot be imported, or it is not of this kind.
        """
        point = self._point(str(name))
        try:
            found = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError([Issue(self.key, f"{point.value} cannot be imported: {error}")]) from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise ConfigError([Issue(self.key, f"{point.value} must be a class derived from {self.base.__name__}")])
        return found

    def _point(self, name: str) -> EntryPoint:
        if name in self.ours:
            return EntryPoint(name, self.ours[name], self.group)
        for point in self.installed(self.group):
            if point.name == name:
                return point
        known = ", ".join(self.names())
        what = (
            f"there is no {shown(name)} here; use one of {known}, or install a package with an entry point for it in "
        )
        raise ConfigError([Issue(self.key, f"{what}{self.group!r}")])
