"""Gives the functions of an imported module other code.

A function is known by its qualified name and its first line.  Every function object that is alive is found, so that it
does not matter who imported it under which name, or what wraps it.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType

Key = tuple[str, int]
Functions = Mapping[str, Mapping[Key, list[FunctionType]]]


def functions_below(folder: str) -> Functions:
    """Return the living functions of all files below ``folder``, by file."""
    found: dict[str, dict[Key, list[FunctionType]]] = {}
    for one in gc.get_objects():
        # The exact type: isinstance would ask foreign objects for their class, and some answer with a warning.
        if type(one) is FunctionType and one.__code__.co_filename.startswith(folder):
            code = one.__code__
            place = found.setdefault(code.co_filename, {})
            place.setdefault((code.co_qualname, code.co_firstlineno), []).append(one)
    return found


def replace(tree: ast.Module, path: str, living: Functions) -> bool:
    """Give the living functions of the file ``path`` their code in ``tree``; return whether any is another.

    False means that the change cannot be made in place: the function is not alive, or closes over other names.
    """
    changed = False
    mine = living.get(path, {})
    for code in _codes(compile(tree, path, "exec", dont_inherit=True)):
        for function in mine.get((code.co_qualname, code.co_firstlineno), ()):
            if function.__code__ != code:
                if len(function.__code__.co_freevars) != len(code.co_freevars):
                    return False
                function.__code__ = code
                changed = True
    return changed


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)
