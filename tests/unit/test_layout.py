"""Names and folders of files, as other tools of the field expect them."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.plan.layout import Layout


@pytest.mark.parametrize(
    ("files", "index", "name"),
    [
        (8, 0, "img_0_of_8.parquet"),
        (8, 7, "img_7_of_8.parquet"),
        (10, 0, "img_00_of_10.parquet"),
        (10, 9, "img_09_of_10.parquet"),
        (64, 0, "img_00_of_64.parquet"),
        (64, 63, "img_63_of_64.parquet"),
        (100, 5, "img_005_of_100.parquet"),
        (100, 99, "img_099_of_100.parquet"),
        (1, 0, "img_0_of_1.parquet"),
    ],
)
def test_numbers_are_padded_to_the_digits_of_the_number_of_files(files: int, index: int, name: str) -> None:
    assert Layout(DatasetType.TRAIN, files).name(index) == name
    assert Layout(DatasetType.TRAIN, files).path(index) == f"train/{name}"


@pytest.mark.parametrize(
    ("subfolders", "index", "folder"),
    [
        (0, 5, "valid"),
        (1, 5, "valid"),
        (3, 0, "valid/0"),
        (3, 5, "valid/2"),
        (9, 8, "valid/8"),
        (10, 0, "valid/00"),
        (10, 19, "valid/09"),
        (100, 7, "valid/007"),
    ],
)
def test_sub_folders_exist_from_two_on_and_are_padded_to_the_digits_of_their_number(
    subfolders: int, index: int, folder: str
) -> None:
    assert Layout(DatasetType.VALID, 1000, subfolders=subfolders).folder(index) == folder


layouts = st.builds(
    Layout,
    st.sampled_from(DatasetType),
    st.integers(1, 3000),
    prefix=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8),
    extension=st.sampled_from(["parquet", "npz", "mmap_indexed_binary"]),
    subfolders=st.integers(0, 120),
)


@given(layout=layouts, data=st.data())
def test_a_path_is_its_folder_and_its_name(layout: Layout, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, layout.files - 1))
    assert posixpath.split(layout.path(index)) == (layout.folder(index), layout.name(index))
    assert layout.folder(index).split("/")[0] == layout.split.value


@given(layout=layouts)
def test_paths_differ_and_names_sort_by_number(layout: Layout) -> None:
    names = [layout.name(index) for index in range(layout.files)]
    assert names == sorted(set(names))


@given(layout=layouts)
def test_sub_folders_share_the_files_evenly(layout: Layout) -> None:
    counts: dict[str, int] = {}
    for index in range(layout.files):
        counts[layout.folder(index)] = counts.get(layout.folder(index), 0) + 1
    assert len(counts) == (min(layout.subfolders, layout.files) if layout.subfolders > 1 else 1)
    assert max(counts.values()) - min(counts.values()) <= 1
