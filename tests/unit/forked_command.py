"""The command without the time of its imports: a server that has made them forks a process for each start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from verification.mpi.launch import clean_environment
from verification.targets.cli import overrides
from verification.targets.protocol import BLACK_BOX, Description, Ended, Tree, placed

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "tests" / "faults" / "forked.py"


@dataclass(frozen=True, slots=True)
class Commands:
    """A server that runs commands, one after the other; a target, too, but for one process alone."""

    server: subprocess.Popen[str]

    def ended(
        self, argv: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None, *, unprivileged: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, in ``folder``, perhaps without what lets root pass by the modes of files."""
        asked = {
            "argv": list(argv),
            "folder": str(folder),
            "environ": dict(environ or {}),
            "unprivileged": unprivileged,
        }
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps(asked), file=self.server.stdin, flush=True)
        answer = self.server.stdout.readline()
        assert answer, "the server of commands has ended"
        return subprocess.CompletedProcess(argv, *json.loads(answer))

    def describe(self) -> Description:
        """Return who this is."""
        return Description("forked", "own", BLACK_BOX)

    def generate(self, tree: Tree, folder: Path) -> Ended:
        """Generate as a target does."""
        return self._run(placed(tree, folder, generate=True), folder)

    def train(self, tree: Tree, folder: Path, *, ranks: int = 1) -> Ended:
        """Train as a target does, with one process."""
        assert ranks == 1
        return self._run(placed(tree, folder, generate=False), folder)

    def _run(self, tree: Tree, folder: Path) -> Ended:
        said = self.ended(list(overrides(tree)), folder)
        return Ended(said.returncode, said.stdout + said.stderr)


@contextmanager
def served() -> Iterator[Commands]:
    """Have a server for a while."""
    environ = clean_environment({"PYTHONPATH": str(ROOT)})
    with subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as server:
        yield Commands(server)
