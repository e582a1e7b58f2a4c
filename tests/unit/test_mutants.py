"""A damaged file is an error that says where, or gives the same rows, or is refused by verification."""

from __future__ import annotations

from fault_experiments import found_by


def test_damaged_files_of_every_codec_never_crash_hang_or_pass_verification() -> None:
    figures = found_by("mutants")
    assert figures["mutants"] == 5 * 60
    assert figures["read with an error"] > figures["read as other rows"] > 0
    assert figures["errors that name row group and column"] > 0
    assert figures["verified"] > 0
