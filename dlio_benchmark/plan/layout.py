"""Names and folders of the files of a data set.

``{split}/[{sub}/]{prefix}_{i}_of_{n}.{extension}``: ``i`` is padded with zeros to the digits of ``n``, and the
sub-folder ``i mod k`` to the digits of ``k``, which exists when k > 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from dlio_benchmark.common.enumerations import DatasetType


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one split, by number."""

    split: DatasetType
    files: int
    prefix: str = "img"
    extension: str = "parquet"
    subfolders: int = 0

    def folder(self, index: int) -> str:
        """Return the folder of file ``index``, relative to the data set."""
        if self.subfolders < 2:
            return self.split.value
        width = len(str(self.subfolders))
        return f"{self.split.value}/{index % self.subfolders:0{width}d}"

    def name(self, index: int) -> str:
        """Return the name of file ``index`` without its folder."""
        width = len(str(self.files))
        return f"{self.prefix}_{index:0{width}d}_of_{self.files}.{self.extension}"

    def path(self, index: int) -> str:
        """Return the path of file ``index``, relative to the data set."""
        return f"{self.folder(index)}/{self.name(index)}"
