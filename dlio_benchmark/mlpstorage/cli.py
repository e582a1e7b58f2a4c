"""The program ``mlpstorage``."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime

from dlio_benchmark.errors import DlioError
from dlio_benchmark.mlpstorage import grammar
from dlio_benchmark.mlpstorage.status import Status, status_of_error


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status of the command line ``argv``."""
    words = list(sys.argv[1:] if argv is None else argv)
    help_text = grammar.incomplete(words)
    if help_text is not None:
        print(help_text, end="", file=sys.stderr)
        return Status.GENERAL
    debug = "--debug" in words
    try:
        return _execute(words)
    except DlioError as error:
        if debug:
            traceback.print_exc()
        print(f"mlpstorage: {error}", file=sys.stderr)
        return status_of_error(error)
    except KeyboardInterrupt:
        print("mlpstorage: interrupted", file=sys.stderr)
        return Status.INTERRUPTED
    except OSError as error:
        if debug:
            traceback.print_exc()
        print(f"mlpstorage: {error}", file=sys.stderr)
        return _STATUS_OF_OS_ERROR.get(type(error), Status.FAILURE)


_STATUS_OF_OS_ERROR = {FileNotFoundError: Status.NOT_FOUND, PermissionError: Status.PERMISSION}


def _execute(words: Sequence[str]) -> int:
    """Parse ``words`` and run the command they name."""
    from dlio_benchmark.mlpstorage import request  # noqa: PLC0415

    args = request.parse(words)
    if args.program != "history":
        _record(words)
    return {"training": _training, "reports": _reports, "history": _history}[args.program](args)


def _record(words: Sequence[str]) -> None:
    from dlio_benchmark.mlpstorage import history  # noqa: PLC0415

    history.record(history.path(os.environ), words, now=datetime.now().astimezone())


def _training(args: Namespace) -> int:
    from dlio_benchmark.mlpstorage import request, training  # noqa: PLC0415

    return training.COMMANDS[args.command](request.decode(args))


def _reports(args: Namespace) -> int:
    from dlio_benchmark.mlpstorage import reports  # noqa: PLC0415

    return reports.reportgen(args.results_dir, args.output_dir)


def _history(args: Namespace) -> int:
    from dlio_benchmark.mlpstorage import history  # noqa: PLC0415

    file = history.path(os.environ)
    if args.command == "show":
        for entry in history.shown(file, limit=args.limit, number=args.id):
            print(entry)
        return Status.SUCCESS
    return main(history.words_of(history.entry_of(file, args.id)))


def console() -> None:
    """Run the program and end the process with its status."""
    sys.exit(main())


if __name__ == "__main__":
    console()
