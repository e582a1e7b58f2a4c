"""Output of a child is moved line by line to its end, whatever becomes of the places it goes to."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.mlpstorage.processes import Ended, Sink, run

LINES = 20_000


def ended(code: str, out: Path, err: Path, *, secrets: tuple[str, ...] = ()) -> tuple[Ended, bytes, bytes]:
    shown_out, shown_err = io.BytesIO(), io.BytesIO()
    end = run([sys.executable, "-c", code], Sink(shown_out, out), Sink(shown_err, err), secrets=secrets)
    return end, shown_out.getvalue(), shown_err.getvalue()


def test_both_streams_are_shown_and_kept_apart(tmp_path: Path) -> None:
    code = "import sys; print('to stdout'); print('to stderr', file=sys.stderr); print('no newline', end='')"
    out, err = tmp_path / "out", tmp_path / "err"
    end, shown_out, shown_err = ended(code, out, err)
    assert (end.code, end.interrupted_by, end.unkept) == (0, None, None)
    assert shown_out == out.read_bytes() == b"to stdout\nno newline"
    assert shown_err == err.read_bytes() == b"to stderr\n"


@pytest.mark.parametrize(
    ("code", "expected"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_the_exit_code_is_the_childs(tmp_path: Path, code: str, expected: int) -> None:
    assert ended(code, tmp_path / "out", tmp_path / "err")[0].code == expected


def test_a_full_disk_does_not_hang_the_child_and_is_said(tmp_path: Path) -> None:
    end, shown, _ = ended(f"for _ in range({LINES}): print('x' * 80)", Path("/dev/full"), tmp_path / "err")
    assert end.code == 0
    assert shown.count(b"\n") == LINES
    assert "space" in (end.unkept or "")


def test_a_closed_terminal_does_not_hang_the_child(tmp_path: Path) -> None:
    closed = io.BytesIO()
    closed.close()
    words = [sys.executable, "-c", f"for _ in range({LINES}): print('x' * 80)"]
    end = run(words, Sink(closed, tmp_path / "out"), Sink(io.BytesIO(), tmp_path / "err"))
    assert (end.code, (tmp_path / "out").read_bytes().count(b"\n")) == (0, LINES)


def test_a_secret_is_neither_shown_nor_kept(tmp_path: Path) -> None:
    _, shown, _ = ended("print('key=hunter2, hunter2')", tmp_path / "out", tmp_path / "err", secrets=("hunter2",))
    assert shown == (tmp_path / "out").read_bytes() == b"key=***, ***\n"


@given(
    words=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12), max_size=4)
)
def test_no_shell_reads_the_words(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    folder = tmp_path_factory.mktemp("words")
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    shown = io.BytesIO()
    argv = [sys.executable, "-I", "-S", "-c", code, *words]
    assert run(argv, Sink(shown, folder / "out"), Sink(io.BytesIO(), folder / "err")).code == 0
    assert json.loads(shown.getvalue()) == words


def test_a_hangup_that_is_ignored_does_not_end_the_child(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code = f"import os; os.kill({os.getpid()}, 1); print('on')"
        end, shown, _ = ended(code, tmp_path / "out", tmp_path / "err")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (end.code, end.interrupted_by, shown) == (0, None, b"on\n")


def test_each_launch_has_a_mark_of_its_own(tmp_path: Path) -> None:
    code = "import os; print(os.environ['DLIO_LAUNCH_ID'])"
    ends = [ended(code, tmp_path / "out", tmp_path / "err") for _ in range(2)]
    assert [shown.decode().strip() for _, shown, _ in ends] == [end.launch for end, _, _ in ends]
    assert ends[0][0].launch != ends[1][0].launch


def test_results_cannot_be_moved_elsewhere_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLIO_OUTPUT_FOLDER", "/elsewhere")
    code = "import os; print('DLIO_OUTPUT_FOLDER' in os.environ)"
    assert ended(code, tmp_path / "out", tmp_path / "err")[1] == b"False\n"
