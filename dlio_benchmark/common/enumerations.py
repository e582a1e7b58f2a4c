"""Closed vocabularies of the configuration and the files, with the field's names and values."""

from __future__ import annotations

from enum import Enum


class _Word(Enum):
    """An enumeration whose members print as the word a user types."""

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def words(cls) -> list[str]:
        """Return the accepted values in the order of declaration."""
        return [str(member.value) for member in cls]


class FrameworkType(_Word):
    """The training framework whose input pipeline is emulated."""

    TENSORFLOW = "tensorflow"
    PYTORCH = "pytorch"


class FormatType(_Word):
    """File formats of a data set."""

    TFRECORD = "tfrecord"
    HDF5 = "hdf5"
    CSV = "csv"
    NPZ = "npz"
    NPY = "npy"
    HDF5_OPT = "hdf5_opt"
    JPEG = "jpeg"
    PNG = "png"
    INDEXED_BINARY = "indexed_binary"
    MMAP_INDEXED_BINARY = "mmap_indexed_binary"
    SYNTHETIC = "synthetic"
    PARQUET = "parquet"

    @staticmethod
    def get_enum(value: str) -> FormatType | None:
        """Return the member with this value, or None if there is none."""
        return next((member for member in FormatType if member.value == value), None)


class Compression(_Word):
    """Codecs of a data set; which of them apply depends on the format."""

    NONE = "none"
    GZIP = "gzip"
    LZF = "lzf"
    BZIP2 = "bz2"
    ZIP = "zip"
    XZ = "xz"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


class DataLoaderType(_Word):
    """What turns files into batches; ``threads`` and ``direct`` need no framework."""

    TENSORFLOW = "tensorflow"
    PYTORCH = "pytorch"
    DALI = "dali"
    NATIVE_DALI = "native_dali"
    CUSTOM = "custom"
    NONE = "none"
    SYNTHETIC = "synthetic"
    THREADS = "threads"
    DIRECT = "direct"


class DataLoaderSampler(_Word):
    """How a framework's loader walks the samples."""

    ITERATIVE = "iterative"
    INDEX = "index"
    NONE = "none"


class Shuffle(_Word):
    """Whether and how an order changes: not at all, by the seed, or differently in each run."""

    OFF = "off"
    SEED = "seed"
    RANDOM = "random"


class ShuffleScope(_Word):
    """What a sample shuffle permutes: row groups, also rows inside a window of them, or every row."""

    ROW_GROUP = "row_group"
    WINDOW = "window"
    GLOBAL = "global"


class ReadMode(_Word):
    """How a Parquet file is read: in blocks of row groups, one row group at a time, or undecoded."""

    DEFAULT = "default"
    ROW_GROUP = "row_group"
    BYTES = "bytes"


class ColumnType(_Word):
    """Element types of a configured Parquet column."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"
    STRING = "string"
    BINARY = "binary"
    LIST = "list"


class ReadType(_Word):
    """Whether samples are kept in memory or read when needed."""

    IN_MEMORY = "memory"
    ON_DEMAND = "on_demand"


class FileAccess(_Word):
    """How ranks share files."""

    MULTI = "multi"
    SHARED = "shared"
    COLLECTIVE = "collective"
    MPIO = "mpio"
    POSIX = "posix"

    @staticmethod
    def get_enum(value: str) -> FileAccess | None:
        """Return the member with this value, or None if there is none."""
        return next((member for member in FileAccess if member.value == value), None)


class DatasetType(_Word):
    """The two splits of a data set; the values are also the folder names."""

    TRAIN = "train"
    VALID = "valid"

    @staticmethod
    def get_enum(value: str) -> DatasetType | None:
        """Return the member with this value, or None if there is none."""
        return next((member for member in DatasetType if member.value == value), None)


class StorageType(_Word):
    """Where the data set lies."""

    LOCAL_FS = "local_fs"
    DIRECT_FS = "direct_fs"
    PARALLEL_FS = "parallel_fs"
    S3 = "s3"
    AISTORE = "aistore"


class MetadataType(_Word):
    """What a path names."""

    FILE = "file"
    DIRECTORY = "directory"
    S3_OBJECT = "s3_object"


class NamespaceType(_Word):
    """Whether a storage has folders."""

    FLAT = "flat"
    HIERARCHICAL = "Hierarchical"


class CheckpointMechanismType(_Word):
    """What writes checkpoints."""

    NONE = "none"
    CUSTOM = "custom"
    TF_SAVE = "tf_save"
    PT_SAVE = "pt_save"
    PT_S3_SAVE = "pt_s3_save"
    PT_OBJ_SAVE = "pt_obj_save"


class CheckpointLocationType(_Word):
    """Which ranks write checkpoints."""

    RANK_ZERO = "rank_zero"
    ALL_RANKS = "all_ranks"


class CheckpointModeType(_Word):
    """Whether all ranks of the emulated job exist."""

    SUBSET = "subset"
    DEFAULT = "default"


class Profiler(_Word):
    """Tools that can watch a run."""

    NONE = "none"
    IOSTAT = "iostat"
    DARSHAN = "darshan"
    TENSORBOARD = "tensorboard"


class LoggerType(_Word):
    """Kinds of log."""

    DEFAULT = "default"
    DFTRACER = "dftracer"


class ComputationType(_Word):
    """How computation overlaps reading."""

    NONE = "none"
    SYNC = "sync"
    ASYNC = "async"


class MPIState(Enum):
    """Where a process stands in the life of MPI."""

    UNINITIALIZED = 0
    MPI_INITIALIZED = 1
    CHILD_INITIALIZED = 2

    @staticmethod
    def get_enum(value: int) -> MPIState:
        """Return the member with this number; ValueError if there is none."""
        return MPIState(value)
