"""Probes see what they are made for, and say so when they do not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from verification.contracts.forks import ended_forks, in_forks
from verification.errors import ProbeError
from verification.probes import bytes as read_probe
from verification.probes import descriptors, files, memory
from verification.probes.child import ChildDeathError, ChildFailureError, in_child

MIB = 2**20


def test_every_probe_sees_what_it_is_calibrated_on() -> None:
    assert read_probe.calibrate() >= read_probe.SAMPLE_BYTES
    assert memory.calibrate() >= memory.SAMPLE_BYTES * 0.9
    assert descriptors.calibrate() == 3
    assert files.calibrate() == 3


def test_bytes_are_counted_below_python(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(MIB))
    assert read_probe.bytes_read(path.read_bytes) == pytest.approx(MIB, abs=4096)
    assert read_probe.bytes_read(lambda: None) < 4096


def test_a_blind_byte_probe_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blind = tmp_path / "io"
    blind.write_text("rchar: 7\n")
    monkeypatch.setattr(read_probe, "COUNTERS", blind)
    with pytest.raises(ProbeError, match="cannot be trusted"):
        read_probe.calibrate()
    monkeypatch.setattr(read_probe, "COUNTERS", tmp_path / "absent")
    with pytest.raises(ProbeError, match="needs Linux"):
        read_probe.bytes_read(lambda: None)


def take(mebibytes: int) -> int:
    return len(bytes(range(256)) * (mebibytes * MIB // 256))


def test_memory_that_is_given_back_still_counts_as_peak() -> None:
    small, large = memory.peak_growth(take, 8), memory.peak_growth(take, 40)
    assert large - small == pytest.approx(32 * MIB, rel=0.25)


def test_a_warm_up_does_not_count() -> None:
    assert memory.peak_growth(take, 1, warm_up=(take, (64,))) < 40 * MIB


def fail() -> None:
    raise KeyError("inside")


def die() -> None:
    os.kill(os.getpid(), 11)


def test_the_end_of_a_child_is_a_result() -> None:
    assert in_child(divmod, 7, 2) == (3, 1)
    with pytest.raises(ChildFailureError, match="inside") as failed:
        in_child(fail)
    assert failed.value.kind == "KeyError"
    with pytest.raises(ChildDeathError) as died:
        in_child(die)
    assert died.value.signal == 11


def wait_for_ever() -> None:
    signal.pause()


def test_the_end_of_a_fork_is_a_result_and_an_error_in_it_is_none() -> None:
    assert in_forks(divmod, [(7, 2), (9, 4)]) == [(3, 1), (2, 1)]
    assert ended_forks(die, [()]) == [(-signal.SIGSEGV, None)]
    assert ended_forks(wait_for_ever, [()], limit_s=1) == [(-signal.SIGALRM, None)]
    with pytest.raises(ProbeError, match=r"divmod raised in fork 2 of 2: (?s:.*)ZeroDivisionError"):
        ended_forks(divmod, [(1, 1), (1, 0)])
    with pytest.raises(ProbeError, match="die were ended: 1 of 1 by signal 11"):
        in_forks(die, [()])


def test_open_files_are_seen_once_per_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with path.open(), path.open():
        assert descriptors.open_files(tmp_path) == [str(path)] * 2
    assert descriptors.open_files(tmp_path) == []


def test_a_snapshot_tells_changed_bytes(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"one")
    before = files.snapshot(tmp_path)
    assert list(before) == ["a/b/file"]
    (tmp_path / "a" / "b" / "file").write_bytes(b"two")
    assert files.snapshot(tmp_path) != before
