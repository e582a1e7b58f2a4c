"""Measures storage under the I/O of deep-learning training, with Parquet as a first-class format."""

__version__ = "4.0.0.dev0"
