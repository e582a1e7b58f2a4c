"""The product in this process: ranks are threads, bytes are the kernel's count of this process."""

from __future__ import annotations

from pathlib import Path

from dlio_benchmark import __version__
from dlio_benchmark.comm import Simulated
from dlio_benchmark.errors import DlioError
from dlio_benchmark.job import Job
from dlio_benchmark.report.log import Log
from verification.probes import bytes_read
from verification.targets.protocol import BLACK_BOX, OUT, Description, Ended, Tree, placed


class Native:
    """This very `dlio_benchmark`, without starting processes."""

    def describe(self) -> Description:
        """Return the version that was imported."""
        return Description("native", __version__, BLACK_BOX)

    def generate(self, tree: Tree, folder: Path) -> Ended:
        """Generate in this thread's process."""
        return self._run(placed(tree, folder, generate=True), folder, 1)

    def train(self, tree: Tree, folder: Path, *, ranks: int = 1) -> Ended:
        """Train with so many ranks as threads."""
        for path in (folder / OUT).glob("*_output.json"):
            path.unlink()
        return self._run(placed(tree, folder, generate=False), folder, ranks)

    def _run(self, tree: Tree, folder: Path, ranks: int) -> Ended:
        out = folder / OUT
        out.mkdir(parents=True, exist_ok=True)
        said = Ended(0, "")

        def work() -> None:
            nonlocal said
            try:
                Simulated.run(ranks, lambda comm: Job(tree, comm, str(out), Log(quiet=True)).run())
            except DlioError as error:
                said = Ended(int(error.code), str(error))

        count = bytes_read(work)
        return Ended(said.code, said.output, count)
