"""One result, many forms: JSON is the source, everything else is written from it."""

from verification.report.result import Origin, build
from verification.report.write import write

__all__ = ["Origin", "build", "write"]
