"""Values that stand in the path of a file: ``.../name=value/...``, percent-encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from dlio_benchmark.common.enumerations import ColumnType
from dlio_benchmark.config.model import Column
from dlio_benchmark.errors import SchemaMismatchError, listed
from dlio_benchmark.schema import ELEMENTS, is_list
from dlio_benchmark.values import Values

_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise ValueError(text)
    return _TRUTHS[text.lower()]


def _number(kind: ColumnType) -> Callable[[str], Any]:
    dtype = np.dtype(kind.value)
    return partial(_whole, dtype) if dtype.kind in "iu" else dtype.type


def _whole(dtype: np.dtype[Any], text: str) -> Any:
    number, limits = int(text), np.iinfo(dtype)
    if not limits.min <= number <= limits.max:  # NumPy 1 would wrap it around
        raise OverflowError(text)
    return dtype.type(number)


_PARSERS: Mapping[ColumnType, Callable[[str], Any]] = {
    **{
        kind: _number(kind)
        for kind in ELEMENTS
        if pa.types.is_primitive(ELEMENTS[kind]) and kind.value in np.sctypeDict
    },
    ColumnType.BOOL: _truth,
    ColumnType.STRING: str,
    ColumnType.BINARY: str.encode,
}


def partition_values(path: str, columns: Iterable[Column]) -> dict[str, Any]:
    """Return the value of each of ``columns`` that ``path`` gives, typed as the column.

    Raises:
        SchemaMismatchError: naming each column that the path has no value for, or one of another type.
    """
    folders = dict(part.split("=", 1) for part in path.split("/")[:-1] if "=" in part)
    texts = {unquote(name): unquote(text) for name, text in folders.items()}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for column in columns:
        if column.name not in texts:
            problems.append(f"{column.name!r}: neither a column of the file nor a folder '{column.name}=...'")
            continue
        text = texts[column.name]
        try:
            if is_list(column):
                raise ValueError(text)
            values[column.name] = _PARSERS[column.dtype](text)
        except (ValueError, OverflowError):
            problems.append(f"{column.name!r}: {text!r} in the path is no {column.dtype} of size {column.size}")
    if problems:
        raise SchemaMismatchError(listed("partition columns do not come from the path", problems))
    return values


def repeated(value: Any, rows: int) -> Values:
    """Return a column of ``rows`` times ``value``."""
    if isinstance(value, (str, bytes)):
        return pa.repeat(pa.scalar(value), rows)
    return np.full(rows, value)
