"""A walk through an installed package, as a process: `python -m verification.contracts.walk FOLDER`.

It generates and trains as the command does, asks the query command, and goes through the doors that DLIO's callers
know.  What it saw is one line of JSON on standard output; whatever is broken on the way ends it with an error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dlio_benchmark import main, session
from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import DatasetType, FormatType
from dlio_benchmark.data_generator.generator_factory import GeneratorFactory
from dlio_benchmark.reader.reader_factory import ReaderFactory
from dlio_benchmark.utils.config import ConfigArguments, GetConfig, LoadConfig
from verification import oracle
from verification.contracts.job import tree_of

SETTINGS = {
    "dataset.compression": "zstd",
    "dataset.num_files_train": "3",
    "dataset.num_samples_per_file": "64",
    "dataset.parquet.row_group_size": "16",
    "reader.batch_size": "8",
    "train.epochs": "2",
    "train.computation_time": "0",
}


def walk(folder: Path) -> dict[str, object]:
    """Return what was seen on a walk through generation, training, configuration, reader and generator."""
    words = [f"++workload.{key}={value}" for key, value in SETTINGS.items()]
    places = [f"++workload.dataset.data_folder={folder / 'data'}", f"++hydra.run.dir={folder / 'out'}"]
    code = main.run(["workload=first_run", *words, *places], {})
    files = sorted((folder / "data" / "train").rglob("*.parquet"))
    summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    return {
        "code": code,
        "codecs": sorted(oracle.codecs(files)),
        "row_groups": sorted({oracle.footer(path).row_groups for path in files}),
        "rows": [epoch["rows"] for epoch in summary["dlio"]["epochs"]],
        **_doors(folder),
    }


def _doors(folder: Path) -> dict[str, object]:
    arguments = ConfigArguments.get_instance()
    LoadConfig(arguments, tree_of(folder / "doors", compression="lz4"))
    session.begin(arguments.workload(), Solo())
    GeneratorFactory.get_generator(FormatType.PARQUET).generate()
    files = sorted((folder / "doors").rglob("img*.parquet"))
    reader = ReaderFactory.get_reader(FormatType.PARQUET, DatasetType.TRAIN, 0, 1)
    sample = reader.get_sample(str(files[0]), 39)
    reader.finalize()
    return {
        "answer": GetConfig(ConfigArguments.get_instance(), "dataset.parquet.row_group_size"),
        "codecs_by_door": sorted(oracle.codecs(files)),
        "sample": sorted(sample),
        "sample_is_right": bool(sample["b"] == oracle.rows(files[0])[39]["b"]),
    }


SEEN = {
    "code": 0,
    "codecs": ["zstd"],
    "row_groups": [[16, 16, 16, 16]],
    "rows": [192, 192],
    "answer": "10",
    "codecs_by_door": ["lz4"],
    "sample": ["a", "b", "flag"],
    "sample_is_right": True,
}

if __name__ == "__main__":
    print(json.dumps(walk(Path(sys.argv[1]))))
