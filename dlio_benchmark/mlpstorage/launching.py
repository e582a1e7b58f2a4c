"""The line that launches the engine: which programs, which workload, which overrides.

Everything is a list of words from end to end; no shell ever reads it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dlio_benchmark.mlpstorage.models import CONFIG_DIR
from dlio_benchmark.mlpstorage.parameters import Override, literal

ENGINE = "dlio_benchmark"
_VARIABLE = "DLIO_SECRET_"
_LAUNCHER_VARIABLE = {"mpirun": "MPI_RUN_BIN", "mpiexec": "MPI_EXEC_BIN"}


def find_engine(folder: str | None) -> str | None:
    """Return the engine's absolute path: in ``folder`` if given, else beside this script or interpreter, or on PATH."""
    if folder is not None:
        found = shutil.which(ENGINE, path=folder)
    else:
        beside = os.pathsep.join(str(Path(program).absolute().parent) for program in (sys.argv[0], sys.executable))
        found = shutil.which(ENGINE, path=beside) or shutil.which(ENGINE)
    return found and os.path.abspath(found)


def find_launcher(name: str, environment: Mapping[str, str]) -> str | None:
    """Return the launcher's path: as the environment names it, else beside this interpreter, else on PATH."""
    named = environment.get(_LAUNCHER_VARIABLE[name])
    if named:
        return shutil.which(named)
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def apart(overrides: Sequence[Override]) -> tuple[tuple[Override, ...], dict[str, str]]:
    """Return the overrides with references in place of secret texts and numbers, and the variables that they refer to.

    Every user of a host sees the command lines on it, but only their own environments.
    """
    variables: dict[str, str] = {}
    given = []
    for override in overrides:
        if override.secret and isinstance(override.value, str | int | float) and not isinstance(override.value, bool):
            name = f"{_VARIABLE}{len(variables)}"
            variables[name] = str(override.value)
            override = replace(override, text=f"${{oc.env:{name}}}")  # noqa: PLW2901 - the same one, said otherwise
        given.append(override)
    return tuple(given), variables


def sought_launcher(name: str, environment: Mapping[str, str]) -> str:
    """Return in words which launcher is looked for, and where."""
    variable = _LAUNCHER_VARIABLE[name]
    named = environment.get(variable)
    return f"'{named}', which {variable} names," if named else f"'{name}', beside this program or on PATH,"


def engine_words(
    engine: str, workload: str, leaf: Path, overrides: Sequence[Override], *, data_folder: Path | None
) -> list[str]:
    """Return the engine's program and arguments, in the order that the engine's other users keep."""
    words = [
        engine,
        f"workload={workload}",
        f"++hydra.run.dir={literal(str(leaf))}",
        "++hydra.output_subdir=dlio_config",
        *(override.argument for override in overrides),
    ]
    if data_folder is not None:
        words.append(Override.of("dataset.data_folder", str(data_folder)).argument)
    return [*words, f"--config-dir={CONFIG_DIR}"]
