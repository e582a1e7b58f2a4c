"""The workload as typed frozen values: the only list of configuration keys.

Every key of the tree below ``workload`` is declared here once.  Decoding, the faces for outside callers, the
reference page and the help text are derived from these declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dlio_benchmark.common.enumerations import (
    CheckpointLocationType,
    CheckpointModeType,
    ColumnType,
    Compression,
    DataLoaderSampler,
    DataLoaderType,
    FileAccess,
    FormatType,
    FrameworkType,
    Profiler,
    ReadMode,
    ReadType,
    Shuffle,
    ShuffleScope,
    StorageType,
)
from dlio_benchmark.config.duration import Duration
from dlio_benchmark.config.fields import key


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the data set: ``size`` values per row, a fixed-size list if more than one.

    ``size`` 0 is a list whose length differs between files; only the single column of a data set without
    configured columns has it.
    """

    name: str = key("", "name of the column", shapes_data=True)
    dtype: ColumnType = key(ColumnType.FLOAT32, "type of an element", shapes_data=True)
    size: int = key(1, "elements per row; characters of a string, bytes of a binary value", least=1, shapes_data=True)
    read: bool = key(True, "whether training reads the column")


@dataclass(frozen=True, slots=True)
class Workflow:
    """Which phases run."""

    generate_data: bool = key(False, "generate the data set before anything else")
    train: bool = key(True, "run training epochs", legacy="do_train")
    evaluation: bool = key(False, "evaluate after epochs", legacy="do_eval")
    checkpoint: bool = key(False, "write checkpoints during training", legacy="do_checkpoint")
    profiling: bool = key(False, "start the profiler", legacy="do_profiling", offered=False)
    query: str | None = key(None, "key that dlio_benchmark_query prints")


@dataclass(frozen=True, slots=True)
class Parallelism:
    """How the emulated model is spread over ranks."""

    tensor: int = key(1, "tensor parallelism", least=1, legacy="tensor_parallelism", offered=False)
    pipeline: int = key(1, "pipeline parallelism", least=1, legacy="pipeline_parallelism", offered=False)
    data: int = key(-1, "data parallelism; -1 follows from the ranks", legacy="data_parallelism", offered=False)
    zero_stage: int = key(0, "ZeRO stage", least=0, most=3, legacy="zero_stage", offered=False)


@dataclass(frozen=True, slots=True)
class Transformer:
    """Sizes of a transformer model."""

    vocab_size: int = key(32000, "words of the vocabulary", least=1, legacy="vocab_size", offered=False)
    hidden_size: int = key(2048, "width of the hidden state", least=1, legacy="hidden_size", offered=False)
    ffn_hidden_size: int = key(
        8192, "width of the feed-forward layer", least=1, legacy="ffn_hidden_size", offered=False
    )
    num_attention_heads: int = key(32, "attention heads", least=1, legacy="num_attention_heads", offered=False)
    num_kv_heads: int = key(8, "key and value heads", least=1, legacy="num_kv_heads", offered=False)


@dataclass(frozen=True, slots=True)
class Model:
    """The emulated model: a label, and the sizes of its checkpoints."""

    name: str = key("default", "label of the model; part of the default run folder", legacy="model")
    type: str | None = key(None, "kind of the model", legacy="model_type", offered=False)
    model_size_bytes: int = key(
        10240, "model state in a checkpoint", unit="bytes", least=0, legacy="model_size", offered=False
    )
    optimization_groups: tuple[int, ...] = key((), "elements of the optimizer groups", offered=False)
    num_layers: int = key(-1, "layers of the model", offered=False)
    layer_parameters: tuple[int, ...] = key((), "elements of the parameters of a layer", offered=False)
    model_datatype: str = key("fp16", "type of a model parameter", offered=False)
    optimizer_datatype: str = key("fp32", "type of an optimizer value", offered=False)
    parallelism: Parallelism = field(default_factory=Parallelism)
    transformer: Transformer = field(default_factory=Transformer)


@dataclass(frozen=True, slots=True)
class Parquet:
    """Shape of Parquet files, and how they are read."""

    columns: tuple[Column, ...] = key(
        (),
        "columns of the files, as {name, dtype, size, read}; none means the single column 'data'",
        legacy="parquet_columns",
        shapes_data=True,
    )
    row_group_size: int = key(
        1024, "rows per row group", unit="rows", least=1, legacy="parquet_row_group_size", shapes_data=True
    )
    read_mode: ReadMode = key(
        ReadMode.DEFAULT, "blocks of row groups, one row group at a time, or undecoded", legacy="parquet_read_mode"
    )
    partition_by: str | None = key(
        None, "column whose values become hive folders", legacy="parquet_partition_by", shapes_data=True
    )
    generation_batch_size: int = key(
        0,
        "most rows made at a time; 0 leaves it to the page size; row groups do not depend on it",
        unit="rows",
        least=0,
        legacy="parquet_generation_batch_size",
        shapes_data=True,
    )
    verify_checksums: bool = key(False, "check page checksums in the timed pass")
    compressibility: float = key(
        0.0, "share of the generated bytes that repeats", least=0.0, most=0.95, shapes_data=True
    )


@dataclass(frozen=True, slots=True)
class Hdf5:
    """Keys of HDF5 files, which are not offered here."""

    chunk_dims: tuple[int, ...] = key((), "chunk shape", offered=False)
    num_dset_per_record: int = key(1, "data sets per file", offered=False)
    max_shape: tuple[int, ...] = key((), "largest shape", offered=False)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The files: how many, how large, what is in them, and where they lie."""

    format: FormatType = key(FormatType.TFRECORD, "file format", shapes_data=True)
    data_folder: str = key("./data/", "folder of the data set, below storage.storage_root")
    num_files_train: int = key(8, "files to train on; if it is not given, all that the data set has", least=0)
    num_files_eval: int = key(0, "files to evaluate on; likewise", least=0)
    num_files_generated: int | None = key(None, "training files that exist, if more than are read", least=1)
    num_samples_per_file: int = key(1, "rows of a file", unit="rows", least=0, shapes_data=True)
    num_subfolders_train: int = key(0, "sub-folders of the training files", least=0, shapes_data=True)
    num_subfolders_eval: int = key(0, "sub-folders of the evaluation files", least=0, shapes_data=True)
    file_prefix: str = key("img", "first part of a file name", shapes_data=True)
    seed: int = key(10, "seed of the generated values", least=0, legacy="data_seed", shapes_data=True)
    record_length_bytes: float = key(
        65536, "bytes of a sample without columns", unit="bytes", least=1, legacy="record_length", shapes_data=True
    )
    record_length_bytes_stdev: float = key(
        0, "spread of it between files", unit="bytes", least=0, legacy="record_length_stdev", shapes_data=True
    )
    record_length_bytes_resize: float = key(
        0, "bytes of a sample after preprocessing", unit="bytes", least=0, legacy="record_length_resize", offered=False
    )
    record_dims: tuple[int, ...] = key((), "shape of a sample without columns", shapes_data=True)
    record_element_type: str = key("uint8", "element type of such a sample", shapes_data=True)
    compression: Compression = key(Compression.NONE, "codec of every column chunk", shapes_data=True)
    compression_level: int | None = key(None, "level of the codec; absent means its own default", shapes_data=True)
    enable_chunking: bool = key(False, "HDF5 chunks", offered=False)
    chunk_size: int = key(0, "HDF5 chunk size", offered=False)
    generation_buffer_size: int = key(2 * 2**30, "buffer of the indexed_binary generator", offered=False)
    keep_files: bool = key(True, "keep the data set after the run")
    data_gen_method: str | None = key(None, "how values are made upstream; one way here", offered=False)
    verify: bool = key(True, "read the data set back after generating it, and compare digests")
    skip_listing: bool = key(False, "trust computed file names instead of looking for each file")
    listing_validation_interval: int = key(
        1000, "with skip_listing, every n-th file is looked for; 0 means none", least=0
    )
    parquet: Parquet = field(default_factory=Parquet)
    hdf5: Hdf5 = field(default_factory=Hdf5)


@dataclass(frozen=True, slots=True)
class ReaderSection:
    """How training reads."""

    data_loader: DataLoaderType | None = key(None, "what makes batches; absent means threads")
    data_loader_classname: str | None = key(None, "entry point of a loader of your own")
    data_loader_sampler: DataLoaderSampler | None = key(
        None, "how a framework's loader walks the samples", offered=False
    )
    reader_classname: str | None = key(None, "entry point of a reader of your own", offered=False)
    batch_size: int = key(1, "rows per training step and rank", unit="rows", least=1)
    batch_size_eval: int = key(1, "rows per evaluation step and rank", unit="rows", least=1)
    read_threads: int | None = key(
        None, "threads or workers that read; 0 reads in the loop; absent means auto", least=0
    )
    write_threads: int | None = key(None, "threads that generate in a rank; absent means auto", least=0)
    computation_threads: int = key(1, "threads that preprocess", least=0, offered=False)
    prefetch_size: int = key(2, "steps whose rows are read ahead", unit="steps", least=0)
    prefetch_bytes: int = key(2**30, "most decoded bytes in flight per rank", unit="bytes", least=1)
    file_shuffle: Shuffle = key(Shuffle.OFF, "order of the files in an epoch")
    sample_shuffle: Shuffle = key(Shuffle.OFF, "order of row groups and rows in an epoch")
    shuffle_scope: ShuffleScope = key(ShuffleScope.WINDOW, "what a sample shuffle permutes")
    shuffle_window: int = key(1, "row groups whose rows are mixed", unit="row groups", least=1)
    shuffle_size: int = key(1024, "TFRecord shuffle buffer", offered=False)
    read_type: ReadType = key(ReadType.ON_DEMAND, "whether samples are kept in memory")
    file_access: FileAccess = key(FileAccess.MULTI, "how ranks share files", offered=False)
    transfer_size: int | None = key(None, "TFRecord buffer", offered=False)
    preprocess_time: Duration = key(Duration(), "time to preprocess a sample", unit="s")
    preprocess_time_stdev: float | None = key(None, "spread of preprocess_time, in the old spelling", unit="s", least=0)
    multiprocessing_context: str | None = key("spawn", "how loader workers start")
    pin_memory: bool = key(True, "copy batches into pinned memory, where there is a device", offered=False)
    evict_cache: bool = key(True, "ask the kernel to forget the data set's pages before each epoch")
    odirect: bool = key(False, "read around the page cache")
    dont_use_mmap: bool = key(False, "nothing here maps files into memory", offered=False)
    transformed_record_dims: tuple[int, ...] = key((), "shape of a preprocessed sample", offered=False)
    transformed_record_element_type: str = key("uint8", "type of a preprocessed sample", offered=False)


@dataclass(frozen=True, slots=True)
class Train:
    """The training loop."""

    epochs: int = key(1, "epochs to train", least=0)
    total_training_steps: int = key(-1, "most steps of an epoch; -1 means all", least=-1)
    seed_change_epoch: bool = key(True, "whether each epoch has an order of its own")
    computation_time: Duration = key(Duration(), "time of the computation of a step", unit="s")
    computation_time_stdev: float | None = key(
        None, "spread of computation_time, in the old spelling", unit="s", least=0
    )
    seed: int = key(123, "seed of the shuffles", least=0)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluation between training epochs."""

    eval_time: Duration = key(Duration(), "time of the computation of an evaluation step", unit="s")
    eval_time_stdev: float | None = key(None, "spread of eval_time, in the old spelling", unit="s", least=0)
    eval_after_epoch: int = key(1, "first epoch that is followed by an evaluation", least=1)
    epochs_between_evals: int = key(1, "epochs from one evaluation to the next; 0 means every epoch", least=0)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Checkpoints."""

    checkpoint_folder: str = key("./checkpoints/", "folder of the checkpoints", offered=False)
    checkpoint_after_epoch: int = key(1, "first epoch with a checkpoint", least=1, offered=False)
    epochs_between_checkpoints: int = key(1, "epochs from one checkpoint to the next", least=1, offered=False)
    steps_between_checkpoints: int = key(
        -1, "steps from one checkpoint to the next; -1 counts epochs", least=-1, offered=False
    )
    type: CheckpointLocationType = key(CheckpointLocationType.RANK_ZERO, "which ranks write", offered=False)
    mode: CheckpointModeType = key(
        CheckpointModeType.DEFAULT, "whether all ranks of the job exist", legacy="checkpoint_mode", offered=False
    )
    checkpoint_mechanism_classname: str | None = key(
        None, "entry point of a checkpoint writer of your own", offered=False
    )
    fsync: bool = key(False, "force checkpoints to the device", legacy="checkpoint_fsync", offered=False)
    time_between_checkpoints: Duration = key(Duration(), "pause before a checkpoint", unit="s", offered=False)
    num_checkpoints_write: int = key(-1, "checkpoints to write in a checkpoint-only run", least=-1, offered=False)
    num_checkpoints_read: int = key(-1, "checkpoints to read in a checkpoint-only run", least=-1, offered=False)
    rank_sync: bool = key(False, "barrier inside the timed region", legacy="checkpoint_rank_sync", offered=False)
    recovery_rank_shift: bool = key(
        False, "read what another rank wrote", legacy="checkpoint_recovery_rank_shift", offered=False
    )
    randomize_tensor: bool = key(True, "random content", legacy="checkpoint_randomize_tensor", offered=False)
    ksm: Mapping[str, object] | None = key(None, "kernel same-page merging", offered=False)


@dataclass(frozen=True, slots=True)
class OutputMetric:
    """Steps that the metrics leave out, per block."""

    exclude_start_steps: int = key(1, "warm-up steps", least=0, legacy="metric_exclude_start_steps")
    exclude_end_steps: int = key(0, "cool-down steps", least=0, legacy="metric_exclude_end_steps")


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go."""

    folder: str | None = key(None, "folder of the results; absent means Hydra's run folder", legacy="output_folder")
    log_file: str = key("dlio.log", "name of the log file")
    metric: OutputMetric = field(default_factory=OutputMetric)


@dataclass(frozen=True, slots=True)
class Metric:
    """What a good result is."""

    au: float = key(0.90, "accelerator utilization that counts as success", least=0.0, most=1.0)


@dataclass(frozen=True, slots=True)
class StorageSection:
    """Where the data set lies."""

    storage_type: StorageType = key(StorageType.LOCAL_FS, "kind of storage")
    storage_root: str = key("./", "root that data_folder is below")
    storage_library: str | None = key(None, "client library of an object store", offered=False)
    post_generation_settle_seconds: float = key(
        0.0, "pause after generation on a storage that is not local", unit="s", least=0, offered=False
    )
    storage_options: Mapping[str, object] | None = key(None, "options of the storage; 'columns' selects columns")


@dataclass(frozen=True, slots=True)
class Profiling:
    """Tools that watch a run."""

    profiler: Profiler = key(Profiler.IOSTAT, "which tool", offered=False)
    iostat_devices: tuple[str, ...] = key((), "devices that iostat watches", offered=False)


@dataclass(frozen=True, slots=True)
class Workload:
    """A whole workload."""

    framework: FrameworkType = key(FrameworkType.TENSORFLOW, "framework whose pipeline is emulated")
    workflow: Workflow = field(default_factory=Workflow)
    model: Model = field(default_factory=Model)
    dataset: Dataset = field(default_factory=Dataset)
    reader: ReaderSection = field(default_factory=ReaderSection)
    train: Train = field(default_factory=Train)
    evaluation: Evaluation = field(default_factory=Evaluation)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    output: Output = field(default_factory=Output)
    metric: Metric = field(default_factory=Metric)
    storage: StorageSection = field(default_factory=StorageSection)
    profiling: Profiling = field(default_factory=Profiling)
