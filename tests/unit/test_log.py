"""The log of a run is written where it is said to be, or the run says why not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from dlio_benchmark.errors import CannotCreateError
from dlio_benchmark.report.log import LEVELS, Log


def test_a_message_goes_to_the_stream_and_to_the_file_if_its_level_is_wanted(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = Log(stream=stream, level=LEVELS["warning"])
    log.open(str(tmp_path), "dlio.log")
    log.line("warning", "near the end")
    log.line("info", "not wanted")
    log.close()
    assert stream.getvalue() == (tmp_path / "dlio.log").read_text(encoding="utf-8") == "[WARNING] near the end\n"


def test_a_full_disk_is_said_with_the_path_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "dlio.log").symlink_to("/dev/full")
    log = Log(stream=io.StringIO())
    log.open(str(tmp_path), "dlio.log")
    with pytest.raises(CannotCreateError, match=r"dlio\.log: cannot write the log: No space left"):
        log.line("warning", "too much")
    log.line("warning", "only to the stream")
    log.close()
