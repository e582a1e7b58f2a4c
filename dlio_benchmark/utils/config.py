"""DLIO's configuration interface, as a view of the declared keys.

`ConfigArguments` has an attribute for every key, under the name that callers of DLIO know.  They may set any of them;
`ConfigArguments.workload` reads them back through the decoder, so that what the benchmark uses is always a valid
`Workload`.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dlio_benchmark import session
from dlio_benchmark.common.enumerations import DataLoaderType, StorageType
from dlio_benchmark.config.decode import at, decode, decode_given
from dlio_benchmark.config.duration import LAWS, Duration
from dlio_benchmark.config.fields import declared
from dlio_benchmark.config.model import Column, Workload
from dlio_benchmark.errors import ConfigError, Issue, shown
from dlio_benchmark.utils import derived

PATHS: Mapping[str, str] = {key.legacy or field.name: path for path, field, key in declared(Workload)}
ATTRIBUTES: Mapping[str, str] = {path: name for name, path in PATHS.items()}

_MAY_BE_NONE = {ATTRIBUTES[path] for path, field, _ in declared(Workload) if str(field.type).endswith("| None")}

# What DLIO shows where a key is absent here.
_SHOWN_FOR_ABSENT: Mapping[str, Any] = {
    "reader.read_threads": 1,
    "reader.write_threads": 1,
    "reader.data_loader": DataLoaderType.TENSORFLOW,
    "dataset.compression_level": 4,
}

_OTHER_NAMES = {"checkpoint.checkpoint_rank_sync": "checkpoint.rank_sync"}


class ConfigArguments:
    """The configuration as attributes with DLIO's names; setting one changes what `workload` returns.

    An attribute that has its default, or that is None where its key cannot be, counts as absent.
    """

    def __init__(self) -> None:
        workload = session.current_workload()
        for name, path in PATHS.items():
            setattr(self, name, _shown(path, at(workload, path)))
        for name, value in derived.PLACEHOLDERS.items():
            setattr(self, name, copy.copy(value))
        comm = session.known_comm()
        self.my_rank = 0 if comm is None else comm.world.rank
        self.comm_size = 1 if comm is None else comm.world.size

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        near = difflib.get_close_matches(name, [*PATHS, *derived.PLACEHOLDERS], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        msg = f"ConfigArguments has no attribute {name!r}{hint}"
        raise AttributeError(msg)

    @classmethod
    def get_instance(cls) -> Self:
        """Return this process's arguments, made on the first call from the workload of the session."""
        return session.face(cls)

    @classmethod
    def reset(cls) -> None:
        """Drop this process's arguments; the next `get_instance` makes new ones."""
        session.forget(cls)

    def workload(self) -> Workload:
        """Return the workload that the attributes describe.

        Raises:
            ConfigError: naming every attribute whose value is not one of its key.
        """
        tree: dict[str, Any] = {}
        for name, path in PATHS.items():
            value = getattr(self, name)
            if value != _DEFAULTS[name] and (value is not None or name in _MAY_BE_NONE):
                _put(tree, path, _plain(value))
        return decode(tree).workload

    def validate(self) -> None:
        """Check the attributes; raises `ConfigError` as `workload` does."""
        self.workload()

    def derive_configurations(
        self, file_list_train: Sequence[str] | None = None, file_list_eval: Sequence[str] | None = None
    ) -> None:
        """Set the attributes that follow from others; with both file lists also those that follow from the files."""
        derived.derive(self)
        if file_list_train is not None and file_list_eval is not None:
            derived.derive_steps(self, file_list_train, file_list_eval)

    def build_sample_map_iter(
        self, file_list: Sequence[str], total_samples: int, epoch_number: int
    ) -> tuple[dict[int, list[tuple[int, str, int]]], int]:
        """Return, per reading thread, (sample, path, sample in the file) of this rank, and the sum of the samples."""
        return derived.sample_map(self, file_list, total_samples, epoch_number)

    def get_global_map_index(
        self, file_list: Sequence[str], total_samples: int, epoch_number: int
    ) -> tuple[VirtualIndexMap, int]:
        """Return the map of this rank's samples to (path, sample in the file), and the sum of the samples."""
        first, last, seed = derived.share(self, total_samples, epoch_number)
        out = VirtualIndexMap(list(file_list), self.num_samples_per_file, first, last, seed, self.storage_type)
        return out, derived.sum_below(last + 1) - derived.sum_below(first)


def LoadConfig(args: ConfigArguments, config: Any) -> None:  # noqa: N802 - DLIO's name
    """Set the attributes of ``args`` for the keys that ``config``, plain or of OmegaConf, gives.

    ``dataset.skip_listing`` is false for any text that is not a yes, as in DLIO.

    Raises:
        ConfigError: naming every value that is not one of its key.
    """
    tree = _plain(config)
    if not isinstance(tree, dict):
        raise ConfigError([Issue("workload", f"must be a mapping, got {shown(tree)}")])
    dataset = tree.get("dataset")
    if isinstance(dataset, dict) and isinstance(dataset.get("skip_listing"), str):
        dataset["skip_listing"] = dataset["skip_listing"].strip().lower() in ("true", "1", "yes", "on")
    for path, value in decode_given(tree).items():
        setattr(args, ATTRIBUTES[path], _shown(path, value))


def GetConfig(args: ConfigArguments, key: str) -> str | None:  # noqa: N802 - DLIO's name
    """Return the value of a key, dotted and below ``workload``, as text; None if it is unknown or has none.

    A duration is shown by its mean.
    """
    path = f"reader.{key.removeprefix('data_reader.')}" if key.startswith("data_reader.") else key
    path = _OTHER_NAMES.get(path, path)
    if path not in ATTRIBUTES:
        return None
    value = getattr(args, ATTRIBUTES[path])
    mean = path.removesuffix("_stdev")
    if value is None and path != mean and mean in ATTRIBUTES:
        spread = getattr(args, ATTRIBUTES[mean])
        value = spread.get("stdev") if isinstance(spread, dict) else None
    if isinstance(value, dict) and isinstance(at(Workload(), path), Duration):
        value = value.get("mean", _mean(value))
    return None if value is None or value == "" else str(value)


class VirtualIndexMap:
    """A map from sample numbers to (path, sample in the file) that keeps eight bytes per sample.

    ``start_sample`` and ``end_sample`` are the first and the last number of this rank; iteration follows their order,
    shuffled if there is a seed.
    """

    def __init__(  # noqa: PLR0917 - DLIO's order of arguments
        self,
        file_list: list[str],
        num_samples_per_file: int,
        start_sample: int,
        end_sample: int,
        shuffle_seed: int | None = None,
        storage_type: object = None,
    ) -> None:
        self._files = file_list
        self._rows = num_samples_per_file
        self._first, self._last = start_sample, end_sample
        self._local = storage_type == StorageType.LOCAL_FS
        self._sample_list = np.arange(start_sample, end_sample + 1, dtype=np.int64)
        if shuffle_seed is not None:
            np.random.Generator(np.random.PCG64(shuffle_seed)).shuffle(self._sample_list)

    def __getitem__(self, sample: int) -> tuple[str, int]:
        if sample not in self:
            raise KeyError(sample)
        path = self._files[int(sample) // self._rows]
        return os.path.abspath(path) if self._local else path, int(sample) % self._rows

    def __contains__(self, sample: object) -> bool:
        return isinstance(sample, int | np.integer) and bool(self._first <= sample <= self._last)

    def __len__(self) -> int:
        return len(self._sample_list)

    def __iter__(self) -> "Iterator[int]":  # noqa: UP037 - the class is also executed without its module
        return (int(sample) for sample in self._sample_list)

    def items(self) -> "Iterator[tuple[int, tuple[str, int]]]":  # noqa: UP037
        """Yield (sample, (path, sample in the file)) in the order of iteration."""
        return ((sample, self[sample]) for sample in self)

    def __repr__(self) -> str:
        return f"VirtualIndexMap({len(self)} samples of {len(self._files)} files)"


def _apply_env_overrides(args: ConfigArguments, dotenv: Mapping[str, str]) -> None:
    """Fill storage attributes that are not set from the environment, then from ``dotenv``."""
    found = {name: os.environ.get(name) or dotenv.get(name) for name in (*_OPTIONS, "DLIO_BUCKET", "DLIO_STORAGE_TYPE")}
    options = dict(args.storage_options or {})
    for name, option in _OPTIONS.items():
        if found[name]:
            options.setdefault(option, found[name])
    if options:
        args.storage_options = options
    if args.storage_root is None and found["DLIO_BUCKET"]:
        args.storage_root = found["DLIO_BUCKET"]
    if args.storage_type is None and found["DLIO_STORAGE_TYPE"]:
        args.storage_type = decode_given({"storage": {"storage_type": found["DLIO_STORAGE_TYPE"]}})[
            "storage.storage_type"
        ]


_OPTIONS = {
    "DLIO_STORAGE_LIBRARY": "storage_library",
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_ENDPOINT_URL": "endpoint_url",
    "AWS_REGION": "region",
}


def _shown(path: str, value: Any) -> Any:
    if value is None:
        return _SHOWN_FOR_ABSENT.get(path)
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Column):
        shown = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return shown | {"dtype": str(value.dtype)}
    if isinstance(value, tuple):
        return [_shown(path, one) for one in value]
    if isinstance(value, Duration):
        kind = {} if value.law in ("constant", "normal") else {"type": value.law}
        return kind | dict(zip(LAWS[value.law], value.parameters, strict=True))
    return dict(value) if isinstance(value, Mapping) else value


_DEFAULTS = {name: _shown(path, at(Workload(), path)) for name, path in PATHS.items()}


def _mean(law: Mapping[str, Any]) -> Any:
    duration = decode_given({"train": {"computation_time": law}})["train.computation_time"]
    return duration.mean


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *sections, name = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


def _plain(value: Any) -> Any:
    """Return ``value`` in plain containers; those of OmegaConf are mappings and sequences that resolve as one reads."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(one) for one in value]
    return value


__all__ = ["ATTRIBUTES", "PATHS", "ConfigArguments", "GetConfig", "LoadConfig", "VirtualIndexMap"]
