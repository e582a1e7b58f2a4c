"""Any ``dlio_benchmark`` by its command line: an interpreter that has it, or a command.

Bytes are those of the kernel's count of a whole process tree: a process that has ended, but was not yet waited for,
still has its counters, and they contain those of the children that it has waited for.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from verification.errors import VerificationError
from verification.mpi import launch
from verification.mpi.supervise import end_group
from verification.targets.protocol import BLACK_BOX, OUT, Description, Ended, Tree, placed

LIMIT_S = 300.0
FOREIGN = ("++workload.reader.data_loader=pytorch",)  # elsewhere the default does not fit the framework
LONGEST_OUTPUT = 40_000
OWN_VERSION = re.compile(r"^dlio_benchmark (\d\S*)$", re.MULTILINE)
ASK = """
import json, importlib.metadata as m
try:
    from dlio_benchmark.common.enumerations import FormatType
    formats = [str(f.value) for f in FormatType]
except Exception:
    formats = []
import dlio_benchmark
try:
    version = m.version("dlio_benchmark")
except m.PackageNotFoundError:
    version = getattr(dlio_benchmark, "__version__", "unknown")
print(json.dumps([version, formats]))
"""


@dataclass(frozen=True, slots=True)
class Cli:
    """A target that is started once per question.

    ``path`` is what its interpreter finds before anything installed; ``more`` are overrides that it needs everywhere.
    """

    name: str
    command: tuple[str, ...]
    python: str = ""
    path: tuple[str, ...] = ()
    more: tuple[str, ...] = FOREIGN

    def describe(self) -> Description:
        """Return name, version and capabilities, as the interpreter says them; a command is taken to offer all.

        A command that does not say its own version is believed to have that of the interpreter which it names.
        """
        if not self.python:
            return Description(self.name, self._version_of_command(), BLACK_BOX)
        version, formats = json.loads(self._answer([self.python, "-c", ASK]).splitlines()[-1])
        return Description(
            self.name, version, BLACK_BOX if "parquet" in formats or not formats else frozenset({"training"})
        )

    def _version_of_command(self) -> str:
        said = OWN_VERSION.search(self._answer([*self.command, "--version"]))  # Hydra says there which Hydra it is
        if said:
            return said[1]
        interpreter = _interpreter(self.command[0])
        return replace(self, python=interpreter).describe().version if interpreter else "unknown"

    def _answer(self, words: Sequence[str]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            told = self._run(words, Path(folder))
        if told.code:
            text = told.output.strip()[-500:]
            raise VerificationError(f"{words[0]}: does not say its version, code {told.code}: {text}")
        return told.output

    def generate(self, tree: Tree, folder: Path) -> Ended:
        """Generate with one process."""
        return self._run([*self.command, *overrides(placed(tree, folder, generate=True)), *self.more], folder)

    def train(self, tree: Tree, folder: Path, *, ranks: int = 1) -> Ended:
        """Train with so many processes, started by the launcher beside the interpreter if there is more than one."""
        launcher = launch.find(self.python or sys.executable) if ranks > 1 else None
        before = launcher.command(ranks) if launcher else []
        for path in (folder / OUT).glob("*_output.json"):
            path.unlink()
        words = [*before, *self.command, *overrides(placed(tree, folder, generate=False)), *self.more]
        return self._run(words, folder, launcher.environment if launcher else {})

    def _run(self, words: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None) -> Ended:
        environment = launch.clean_environment({**(extra or {}), "PYTHONPATH": os.pathsep.join(self.path)})
        with (folder / "said.log").open("w+b") as said:
            try:
                process = subprocess.Popen(
                    words,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise VerificationError(f"{words[0]}: cannot be started: {error}") from None
            code, count = _outcome(process)
            said.seek(0)
            return Ended(code, said.read().decode(errors="replace")[-LONGEST_OUTPUT:], count)


def target(text: str) -> Cli:
    """Return the target that ``[NAME=]PYTHON`` or ``[NAME=]COMMAND`` means; ``native`` is this very interpreter."""
    name, equals, rest = text.partition("=")
    try:
        words = shlex.split(rest if equals else text)
    except ValueError as error:
        raise VerificationError(f"{text!r}: is no command: {error}") from None
    if words == ["native"]:
        return _own("native")
    if not words:
        raise VerificationError(f"{text!r}: a target is native, [NAME=]PYTHON or [NAME=]COMMAND")
    if len(words) > 1 or not Path(words[0]).name.startswith("python"):
        return Cli(name if equals else Path(words[0]).name, tuple(words))
    python = os.path.abspath(words[0])
    title = name if equals else words[0]
    if python == os.path.abspath(sys.executable):
        return _own(title)
    return Cli(title, (python, "-m", "dlio_benchmark.main"), python)


def _interpreter(program: str) -> str:
    """Return the interpreter that a program is, or that its first line names; nothing if it is another program."""
    found = shutil.which(program)
    if found is None or Path(found).name.startswith("python"):
        return found or ""
    with open(found, "rb") as file:
        first = os.fsdecode(file.readline(LONGEST_OUTPUT)).partition("#!")
    named = first[2].split()[:1] if not first[0] else []
    return "".join(word for word in named if Path(word).name.startswith("python"))


def _own(name: str) -> Cli:
    root = str(Path(__file__).resolve().parents[2])  # where this harness, and the product beside it, is found
    return Cli(name, (sys.executable, "-m", "dlio_benchmark.main"), sys.executable, (root,), more=())


def overrides(tree: Tree, below: str = "workload") -> Iterator[str]:
    """Yield ``tree`` in Hydra's grammar, one override per key."""
    yield from ["workload=default"] if below == "workload" else []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from overrides(value, f"{below}.{key}")
        else:
            yield f"++{below}.{key}={spelled(value)}"


def spelled(value: Any) -> str:
    """Return ``value`` as Hydra's grammar writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{spelled(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(spelled, value)) + "]"
    return str(value)


def _outcome(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Wait for the end; return the code, and what the process and its children had read."""
    alarm = threading.Timer(LIMIT_S, end_group, [process])
    alarm.start()
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        counters = Path(f"/proc/{process.pid}/io").read_text(encoding="ascii").splitlines()
        count = next(int(line.split()[1]) for line in counters if line.startswith("rchar:"))
    except OSError:
        count = 0
    finally:
        alarm.cancel()
    return process.wait(), count
