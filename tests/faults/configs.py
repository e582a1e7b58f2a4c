"""Hostile configurations: nothing in one is run, imported, evaluated or unpickled, and none takes long to refuse.

Each is run as the console script would run it.  A canary is a file that is made when planted code runs: by the shell,
by a function, or by the import of a module that lies on the module path.  What is not refused must do its work and
nothing else.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import time
from collections.abc import Callable, Iterator

from findings import Finding

from dlio_benchmark.errors import Exit
from dlio_benchmark.main import run as command

_MOST_S = 10.0
_KNOWN = {int(code) for code in Exit}
BASE = """
framework: pytorch
model: {name: hostile}
workflow: {generate_data: true, train: true}
dataset: {format: parquet, num_files_train: 1, num_samples_per_file: 4, data_folder: data}
"""
_SECTIONS = ("dataset", "reader", "train", "storage", "checkpoint", "model", "workflow", "output")
_CLASSES = ("reader.reader_classname", "reader.data_loader_classname", "checkpoint.checkpoint_mechanism_classname")


def _called(dice: random.Random, fire: str) -> str:
    """Return the name of something that would run code."""
    return dice.choice(("os.system", "canary.fire", "subprocess.run", "builtins.eval", "canary", "pathlib.Path.touch"))


def _target(dice: random.Random, fire: str) -> str:
    section, name = dice.choice(_SECTIONS), _called(dice, fire)
    return f"{BASE}\n{section}_: {{x: 1}}\nlogging: {{_target_: {name}, _args_: ['{fire}']}}\n"


def _target_in_section(dice: random.Random, fire: str) -> str:
    return f"framework: pytorch\n{dice.choice(_SECTIONS)}:\n  _target_: {_called(dice, fire)}\n  _args_: ['{fire}']\n"


def _python_tag(dice: random.Random, fire: str) -> str:
    tag = dice.choice(("object/apply:os.system", "object/new:canary.fire", "name:canary.fire", "module:canary"))
    return f"{BASE}\ntrain: {{seed: !!python/{tag} ['{fire}']}}\n"


def _class_name(dice: random.Random, fire: str) -> str:
    section, _, key = dice.choice(_CLASSES).partition(".")
    loader = ", data_loader: custom" if "loader" in key else ""
    name = dice.choice(("canary.Fire", "canary:Fire", "canary", "os.system", "../canary.py", "canary.fire()"))
    return f"{BASE}\n{section}: {{{key}: '{name}'{loader}}}\n"


def _bomb(dice: random.Random, fire: str) -> str:
    width = dice.randint(6, 12)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, width)]
    return f"{BASE}\n" + "\n".join(lines) + "\n"


def _deep(dice: random.Random, fire: str) -> str:
    depth = dice.choice((60, 1000, 100_000))
    left, right = dice.choice((("[", "]"), ("{a: ", "}")))
    return f"{BASE}\nx: {left * depth}{right * depth}\n"


def _large(dice: random.Random, fire: str) -> str:
    return f"{BASE}\nx: [{'1, ' * dice.choice((200_000, 2_000_000))}1]\n"


def _interpolation(dice: random.Random, fire: str) -> str:
    text = dice.choice(
        (
            "${oc.env:CANARY_COMMAND}",
            f"${{eval:{fire}}}",
            "${oc.create:{_target_: canary.fire}}",
            "${oc.decode:'{_target_: canary.fire}'}",
            "${python:canary.fire}",
            "${workload.model.name}",
            "${hydra:runtime.cwd}",
            "${x.${x.${x}}}",
            "${" * 200,
        )
    )
    return f"{BASE}\ntrain: {{epochs: 1}}\nlogging: {{x: \"{text}\"}}\nmodel_: '{text}'\n".replace("hostile", text, 1)


def _evaluated(dice: random.Random, fire: str) -> str:
    key = dice.choice(("num_samples_per_file", "record_length_bytes", "seed", "record_dims", "compression", "format"))
    text = dice.choice(
        ("__import__('canary').fire()", "os.system('x')", "1+1", "lambda: 0", "{{7*7}}", "canary.fire()")
    )
    return BASE.replace("data_folder: data", f'data_folder: data, {key}: "{text}"')


def _options(dice: random.Random, fire: str) -> str:
    return f"{BASE}\nstorage: {{storage_options: {{_target_: {_called(dice, fire)}, columns: ['{fire}']}}}}\n"


def _types(dice: random.Random, fire: str) -> str:
    value = dice.choice(
        ("[]", "{}", "1", "x", "null", "true", ".nan", "2023-01-01", "!!binary aGk=", "!!set {a}", "1e999")
    )
    return f"framework: pytorch\n{dice.choice(_SECTIONS)}: {value}\n"


def _broken(dice: random.Random, fire: str) -> str:
    ends = ("\n\t- x: [", "\n&a *a\n", "\nx: *nowhere\n", "\n\x00\n", "\n? [\n", "\n%YAML 9.9\n", "\na: 1\na: 2\n")
    return BASE + dice.choice(ends)


FILES: tuple[Callable[[random.Random, str], str], ...] = (
    *(_target, _target_in_section, _python_tag, _class_name, _bomb, _deep, _large),
    *(_interpolation, _evaluated, _options, _types, _broken),
)
OVERRIDES = (
    "+hydra.callbacks.x._target_=canary.fire",
    "hydra.searchpath=[pkg://canary]",
    "+hydra.launcher._target_=canary.fire",
    "hydra/launcher=canary",
    "+hydra.job_logging.handlers.x.class=canary.Fire",
    "hydra/job_logging=colorlog",
    "hydra.output_subdir=../../outside",
    "++workload._target_=canary.fire",
    "++workload.reader.reader_classname=canary.Fire",
    "++workload.dataset=${oc.env:CANARY_COMMAND}",
    "++workload.x=" + "[" * 80 + "]" * 80,
    "++workload.x=" + "a" * (2 << 20),
    "workload=../../../etc/passwd",
    "workload=/etc/passwd",
    "++workload.output.folder=/proc/canary",
    "++workload.dataset.data_folder=../../outside",
    "++workload.dataset.file_prefix=../../outside/x",
    "++workload.output.log_file=../../outside/x.log",
    "--config-dir=/",
    "--multirun",
)


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what ``many`` hostile configurations showed."""
    dice, found = random.Random(seed), Finding()
    fired, work = os.path.join(folder, "fired"), os.path.join(folder, "work")
    _plant(os.path.join(folder, "modules"), fired)
    os.makedirs(os.path.join(work, "configs", "workload"))
    os.makedirs(os.path.join(folder, "outside"))
    os.chdir(work)
    fire = f"touch {fired}"
    os.environ["CANARY_COMMAND"] = "{_target_: canary.fire}"
    for number in range(many):
        made = OVERRIDES[number // 3 % len(OVERRIDES)] if number % 3 == 0 else FILES[number % len(FILES)](dice, fire)
        argv = _prepared(made, is_override=number % 3 == 0)
        _one(argv, made, (fired, os.path.join(folder, "outside")), found)
    os.chdir("/")
    return found


def _plant(folder: str, fired: str) -> None:
    os.makedirs(folder)
    with open(os.path.join(folder, "canary.py"), "w", encoding="utf-8") as file:
        file.write(f"open({fired!r}, 'w').close()\ndef fire(*_, **__): open({fired!r}, 'w').close()\nFire = fire\n")
    sys.path.insert(0, folder)


def _prepared(made: str, *, is_override: bool) -> list[str]:
    with open("configs/workload/evil.yaml", "w", encoding="utf-8") as file:
        file.write(BASE if is_override else made)
    argv = ["workload=evil", "hydra.run.dir=out", "--config-dir", "configs"]
    return [*argv, made] if is_override else argv


def _one(argv: list[str], made: str, canaries: tuple[str, str], found: Finding) -> None:
    fired, outside = canaries
    where = made[:150] if made in OVERRIDES else made.replace(BASE, "")[:150]
    begin = time.monotonic()
    with _quiet() as said:
        try:
            code = command(argv, os.environ)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException as error:
            found.wrong(f"{where!r}: {error!r}")
            code = -1
    spent = time.monotonic() - begin
    found.count("configurations")
    found.count("did their work" if code == 0 else "refused")
    found.figures["slowest, s"] = max(found.figures.get("slowest, s", 0), round(spent, 2))
    if os.path.exists(fired) or os.listdir(outside) or sys.modules.pop("canary", None) is not None:
        found.wrong(f"{where!r}: the canary fired")
        for path in (fired, *(os.path.join(outside, name) for name in os.listdir(outside))):
            with contextlib.suppress(OSError):
                os.remove(path)
    if spent > _MOST_S:
        found.wrong(f"{where!r}: took {spent:.1f} s")
    if code not in _KNOWN or code == Exit.INTERNAL or "Traceback" in said.getvalue():
        found.wrong(f"{where!r}: ended with {code}: {said.getvalue()[-500:]}")


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep what is said; the guard speaks to the file descriptor, so that is kept away, too."""
    said = io.StringIO()
    kept = os.dup(2)
    with open("stderr", "w+b") as aside:
        os.dup2(aside.fileno(), 2)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            aside.seek(0)
            said.write(aside.read().decode(errors="replace"))
