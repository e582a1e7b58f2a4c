"""Names of the parts of DLIO, as plugins pass them to `Profile`."""

from __future__ import annotations

MODULE_DATA_LOADER = "data_loader"
MODULE_AI_FRAMEWORK = "ai_framework"
MODULE_CHECKPOINT = "checkpoint"
MODULE_DATA_READER = "reader"
MODULE_DATA_GENERATOR = "generator"
MODULE_STORAGE = "storage"
MODULE_CONFIG = "config"
MODULE_DLIO_BENCHMARK = "dlio_benchmark"
